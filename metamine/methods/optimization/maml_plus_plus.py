"""MAML with a rate for each layer and step, and a loss after every step."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.episode import Episodes, Support
from metamine.methods.base import Method, only_present, query_loss
from metamine.methods.optimization.inner_loop import clipped, descend
from metamine.methods.optimization.network import Network, Weights


class MAMLPlusPlus(Method):
    """Antreas Antoniou, Harrison Edwards, Amos Storkey: "How to Train Your MAML" (2019), section 4.

    MAML that learns a rate for each tensor of weights at each step, and whose loss is that of the
    query rows after every step, not the last one alone:

        phi_0 = theta,    phi_(j+1) = phi_j - alpha_j * grad L_support(phi_j)
        min over theta, alpha of sum over j of v_j L_query(phi_j)

    The paper moves v from all steps to the last in the course of training; here it stays as it is.
    First-order steps early in training, and all that concerns batch normalisation, are left out.

    encoder: with a linear head, the network.
    inner_lr: alpha at the start, for every tensor and step.
    inner_steps: K.
    inner_clip: bound on the norm of each task's gradient; null is the paper's algorithm.
    every_step: share of v that is spread over all steps; the last has the rest.
    first_order: drop the second derivatives, as in first-order MAML.

    Good for steadier training than MAML's, at a little more than its cost.
    """

    def __init__(
        self,
        encoder: Encoder,
        inner_lr: PositiveFloat,
        inner_steps: PositiveInt,
        inner_clip: PositiveFloat | None,
        every_step: Annotated[float, Field(ge=0, le=1)],
        first_order: bool,
    ) -> None:
        super().__init__()
        self.network = Network(encoder)
        n_tensors = len(list(self.network.parameters()))
        self.rates = nn.Parameter(torch.full((inner_steps, n_tensors), inner_lr))
        self.inner_steps, self.inner_clip = inner_steps, inner_clip
        self.every_step, self.first_order = every_step, first_order

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        phi = self._path(support)[-1]
        return only_present(self.network.outputs(phi, support, query_x), support)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        support, query_x = episodes.support, episodes.query_x
        answers = [self.network.outputs(phi, support, query_x) for phi in self._path(support)]
        losses = [query_loss(only_present(each, support), episodes) for each in answers]
        return torch.stack(losses).mean().lerp(losses[-1], 1 - self.every_step)

    def _path(self, support: Support) -> list[Weights]:
        """phi_1 to phi_K."""
        path: list[Weights] = []

        def update(step: int, phi: Weights, slopes: Weights) -> Weights:
            slopes = clipped(slopes, self.inner_clip)
            alpha = dict(zip(phi, self.rates[step], strict=True))
            path.append({name: phi[name] - alpha[name] * slopes[name] for name in phi})
            return path[-1]

        descend(
            lambda phi: self.network.losses(phi, support),
            self.network.initial(support),
            update,
            self.inner_steps,
            second_order=not self.first_order,
        )
        return path
