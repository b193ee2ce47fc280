"""Gradient descent with a learned rate for every weight."""

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


class MetaSGD(Method):
    """Zhenguo Li, Fengwei Zhou, Fei Chen, Hang Li: "Meta-SGD: Learning to Learn Quickly for
    Few-Shot Learning" (2017), algorithm 1.

    MAML that learns, beside the initial weights, a rate for each of them, and so the direction of
    a step as well as its length:

        phi_0 = theta,    phi_(j+1) = phi_j - alpha * grad L_support(phi_j)    (elementwise)
        min over theta, alpha of L_query(phi_K)

    A rate may become negative. The paper takes one step; all steps share the rates here.

    encoder: with a linear head, the network.
    inner_lr: alpha at the start, for every weight.
    inner_steps: K.
    inner_clip: bound on the norm of each task's gradient; null is the paper's algorithm.
    first_order: drop the second derivatives, as in first-order MAML.

    Good for adapting in very few steps; costs as much as MAML, with twice the parameters.
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
        self.rates = nn.ParameterList(
            torch.full_like(weight, inner_lr) for weight in self.network.parameters()
        )
        self.inner_steps = inner_steps
        self.inner_clip, self.first_order = inner_clip, first_order

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        names = [name for name, _ in self.network.named_parameters()]
        alpha = self.network.spread(dict(zip(names, self.rates, strict=True)), support)

        def update(step: int, phi: Weights, slopes: Weights) -> Weights:
            slopes = clipped(slopes, self.inner_clip)
            return {name: weight - alpha[name] * slopes[name] for name, weight in phi.items()}

        phi = descend(
            lambda phi: self.network.losses(phi, support),
            self.network.initial(support),
            update,
            self.inner_steps,
            second_order=not self.first_order,
        )
        return only_present(self.network.outputs(phi, support, query_x), support)
