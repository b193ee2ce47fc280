"""What the neural processes share: rows to representations, representations to answers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from metamine.encoders.layers import mlp
from metamine.episode import Support


class Rows(nn.Module):
    """h: a support row and its target to r_i. A class shows by which rows are pooled."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.network = mlp(width + 1, hidden, hidden, hidden)

    def forward(self, z_TSD: Float[Tensor, "T S D"], support: Support) -> Float[Tensor, "T S H"]:
        y_TS = support.y if support.kind == "regression" else torch.zeros_like(z_TSD[..., 0])
        return self.network(torch.cat([z_TSD, y_TS[..., None]], dim=-1))


class Decoder(nn.Module):
    """g: a query row, what was seen of a class and of all, to two numbers.

    The first is the class's logit or the mean of the target, the second tells its deviation.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.network = mlp(width + 2 * hidden, hidden, hidden, hidden, 2)

    def forward(
        self,
        z_TQD: Float[Tensor, "T Q D"],
        of_class_TQCH: Float[Tensor, "T Q C H"],
        of_all_TH: Float[Tensor, "T H"],
    ) -> Float[Tensor, "T Q C 2"]:
        shape = of_class_TQCH.shape[:3]
        z_TQCD = z_TQD[:, :, None].expand(*shape, -1)
        of_all_TQCH = of_all_TH[:, None, None].expand(*shape, -1)
        return self.network(torch.cat([z_TQCD, of_class_TQCH, of_all_TQCH], dim=-1))


def overall_mean(r_TCH: Float[Tensor, "T C H"], support: Support) -> Float[Tensor, "T H"]:
    """The mean over the classes that have rows; in regression, r itself."""
    if support.kind == "regression":
        return r_TCH[:, 0]
    present_TC = support.present_TC.to(r_TCH)
    share_TC = present_TC / present_TC.sum(dim=1, keepdim=True)
    return torch.einsum("tc,tch->th", share_TC, r_TCH)


def gaussian(
    out_TQ2: Float[Tensor, "T Q 2"], least_sigma: float
) -> tuple[Float[Tensor, "T Q"], Float[Tensor, "T Q"]]:
    """Mean and standard deviation, never below `least_sigma`."""
    mean_TQ, raw_TQ = out_TQ2.unbind(dim=-1)
    return mean_TQ, least_sigma + (1 - least_sigma) * F.softplus(raw_TQ)


def gaussian_loss(
    mean_TQ: Float[Tensor, "T Q"], sigma_TQ: Float[Tensor, "T Q"], y_TQ: Float[Tensor, "T Q"]
) -> Float[Tensor, ""]:
    """Mean of -log N(y; mean, sigma^2)."""
    square_TQ = ((y_TQ - mean_TQ) / sigma_TQ).square()
    return (0.5 * square_TQ + sigma_TQ.log()).mean() + 0.5 * math.log(2 * math.pi)
