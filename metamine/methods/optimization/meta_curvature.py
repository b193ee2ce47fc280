"""Gradient descent along gradients that learned matrices transform."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.episode import Support
from metamine.methods.base import Method, only_present
from metamine.methods.optimization.inner_loop import clipped, descend
from metamine.methods.optimization.network import Network, Weights


class MetaCurvature(Method):
    """Eunbyung Park, Junier B. Oliva: "Meta-Curvature" (2019), section 3.

    MAML whose gradients are multiplied by matrices learned with the initial weights. A layer with
    the gradient G has one for its outputs and one for its inputs, a curvature of Kronecker's form:

        MC(G) = M_o G M_i
        phi_0 = theta,    phi_(j+1) = phi_j - alpha MC(grad L_support(phi_j))
        min over theta, M_o, M_i of L_query(phi_K)

    All matrices start at the identity, where this is MAML. The gradient of a vector has one matrix.
    The head has M_i only, for there may be any number of classes; where an encoder keeps columns
    apart, all of them share it. The head's bias, a number for each class, keeps its gradient.

    encoder: with a linear head, the network.
    inner_lr: alpha.
    inner_steps: K.
    inner_clip: bound on the norm of each task's gradient; null is the paper's algorithm.
    first_order: drop the second derivatives, as in first-order MAML.

    Good for adapting in few steps where weights act together; costs a little more than MAML.
    """

    def __init__(
        self,
        encoder: Encoder,
        inner_lr: PositiveFloat,
        inner_steps: NonNegativeInt,
        inner_clip: PositiveFloat | None,
        first_order: bool,
    ) -> None:
        super().__init__()
        self.network = Network(encoder)
        self.matrices = nn.ModuleList(  # of each parameter, for each of its axes
            nn.ParameterList(torch.eye(size) for size in weight.shape)
            for weight in self.network.parameters()
        )
        self.inner_lr, self.inner_steps = inner_lr, inner_steps
        self.inner_clip, self.first_order = inner_clip, first_order

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        phi = descend(
            lambda phi: self.network.losses(phi, support),
            self.network.initial(support),
            self._step,
            self.inner_steps,
            second_order=not self.first_order,
        )
        return only_present(self.network.outputs(phi, support, query_x), support)

    def _step(self, step: int, phi: Weights, slopes: Weights) -> Weights:
        slopes = clipped(slopes, self.inner_clip)
        names = [name for name, _ in self.network.named_parameters()]
        curved = {
            name: _curved(slopes[name], list(matrices.parameters()))
            for name, matrices in zip(names, self.matrices, strict=True)
        }
        return {name: weight - self.inner_lr * curved[name] for name, weight in phi.items()}


def _curved(slope: Tensor, matrices: list[Tensor]) -> Tensor:
    """M_o G M_i, or with one matrix G M_i; an axis longer than M_i holds blocks, one a column."""
    if matrices:
        inner = matrices[-1]
        slope = (slope.unflatten(-1, (-1, len(inner))) @ inner).flatten(-2)
    return matrices[0] @ slope if len(matrices) == 2 else slope
