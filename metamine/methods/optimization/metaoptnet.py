"""Support vector machines on learned features."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.episode import Kind, Support
from metamine.methods.base import Method, only_present


class MetaOptNet(Method):
    """Kwonjoon Lee, Subhransu Maji, Avinash Ravichandran, Stefano Soatto: "Meta-Learning with
    Differentiable Convex Optimization" (2019), section 3.2, the SVM head.

    Each task is a multi-class support vector machine (Crammer & Singer) on learned features, solved
    in its dual; the query loss is differentiated through the solution to the features:

        max over alpha of sum_i alpha_(i,y_i) - 1/2 sum_k ||w_k||^2,    w_k = sum_i alpha_ik f(x_i)
        subject to alpha_ik <= C where k = y_i, else <= 0,    sum_k alpha_ik = 0
        logit_k(x) = gamma <w_k, f(x)>

    The paper solves the program with an interior-point method and differentiates its optimality
    conditions; here a fixed number of accelerated projected gradient steps is differentiated as it
    stands, which needs matrix products and sorting only, for all tasks at once. <., .> is a mean
    over the numbers of an embedding, where the paper sums: C means the same at any width. f(x) is
    taken from the mean over support rows, for the planes have no bias and must pass through 0.

    encoder: f.
    slack_cost: C; small counts every row, large only those between classes.
    iterations: steps towards the solution.

    Good for classes that a plane separates where means do not tell; dearer than ProtoNet.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def __init__(
        self, encoder: Encoder, slack_cost: PositiveFloat, iterations: PositiveInt
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.log_scale = nn.Parameter(torch.tensor(4.0))  # of gamma
        self.slack_cost, self.iterations = slack_cost, iterations

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        z_TSD, z_TQD = self.encoder(support, None), self.encoder(support, query_x)
        centre_T1D = z_TSD.mean(dim=1, keepdim=True)
        z_TSD, z_TQD = z_TSD - centre_T1D, z_TQD - centre_T1D
        member_TSC, present_TC = support.member_TSC, support.present_TC
        kernel_TSS = self._kernel(z_TSD, z_TSD, support)
        alpha_TSC = dual(kernel_TSS, member_TSC, present_TC, self.slack_cost, self.iterations)
        margin_TQC = self._kernel(z_TQD, z_TSD, support) @ alpha_TSC
        return only_present(self.log_scale.exp() * margin_TQC, support)

    def _kernel(
        self, a_TND: Float[Tensor, "T N D"], b_TSD: Float[Tensor, "T S D"], support: Support
    ) -> Float[Tensor, "T N S"]:
        size_T = torch.full_like(a_TND[:, 0, 0], self.encoder.width)
        if self.encoder.per_column:
            size_T = size_T * support.feature_mask.sum(dim=1)
        return a_TND @ b_TSD.mT / size_T[:, None, None]


def dual(
    kernel_TSS: Float[Tensor, "T S S"],
    member_TSC: Bool[Tensor, "T S C"],
    present_TC: Bool[Tensor, "T C"],
    slack_cost: float,
    iterations: int,
) -> Float[Tensor, "T S C"]:
    """alpha, by Nesterov's accelerated projected gradient; 0 for classes that are not present."""
    member_TSC = member_TSC.to(kernel_TSS)
    # The row sums bound the kernel: K <= diag(sum_j |K_ij|), so each row has a step of its own.
    step_TS1 = 1 / kernel_TSS.detach().abs().sum(dim=2, keepdim=True).clamp(min=1e-3)
    alpha_TSC = ahead_TSC = torch.zeros_like(member_TSC)
    for iteration in range(iterations):
        ascent_TSC = member_TSC - kernel_TSS @ ahead_TSC
        before_TSC = alpha_TSC
        # How far alpha stays below its bound is in a simplex: 0 or more, in sum C.
        room_TSC = slack_cost * member_TSC - ahead_TSC - step_TS1 * ascent_TSC
        room_TSC = room_TSC.masked_fill(~present_TC[:, None], float("-inf"))
        alpha_TSC = slack_cost * member_TSC - on_simplex(room_TSC, slack_cost)
        ahead_TSC = alpha_TSC + iteration / (iteration + 3) * (alpha_TSC - before_TSC)
    return alpha_TSC


def on_simplex(x: Float[Tensor, "... C"], total: float) -> Float[Tensor, "... C"]:
    """The nearest point without negative numbers whose sum is `total`."""
    falling = x.sort(dim=-1, descending=True).values
    rank = torch.arange(1, x.shape[-1] + 1, device=x.device)
    surplus = (falling.cumsum(dim=-1) - total) / rank  # of the largest numbers, each
    n_positive = (falling > surplus).sum(dim=-1, keepdim=True).clamp(min=1)
    return (x - surplus.gather(-1, n_positive - 1)).relu()
