"""Moving towards the weights that training on a task ends in."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.episode import Episodes, Support
from metamine.methods.base import Method, only_present, query_loss
from metamine.methods.optimization.inner_loop import clipped, descend
from metamine.methods.optimization.network import Network, Weights, support_losses


class Reptile(Method):
    """Alex Nichol, Joshua Achiam, John Schulman: "On First-Order Meta-Learning Algorithms" (2018),
    algorithm 2.

    The initial weights theta move towards where K steps on each task lead, and nothing is
    differentiated through them:

        phi_0 = theta,    phi_(j+1) = phi_j - alpha grad L_j(phi_j)
        theta <- theta + epsilon mean over tasks of (phi_K - theta)

    That is a step down the slope of 1/2 mean ||theta - phi_K||^2 with phi_K held fixed. The loss
    has this slope, so that any optimizer may take the step, but its value, to be read and compared,
    is that of phi_K on the query rows. As in the paper, a task has no query rows in training, only
    minibatches L_j to train on: the two parts of an episode take turns. Answering, all K steps are
    on the support rows.

    encoder: with a linear head, the network.
    inner_lr: alpha.
    inner_steps: K.
    inner_clip: bound on the norm of each task's gradient; null is the paper's algorithm.

    Good for many inner steps: memory does not grow with them.
    """

    def __init__(
        self,
        encoder: Encoder,
        inner_lr: PositiveFloat,
        inner_steps: NonNegativeInt,
        inner_clip: PositiveFloat | None,
    ) -> None:
        super().__init__()
        self.network = Network(encoder)
        self.inner_lr, self.inner_steps, self.inner_clip = inner_lr, inner_steps, inner_clip

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        phi = descend(
            lambda phi: self.network.losses(phi, support),
            self.network.initial(support),
            self._step,
            self.inner_steps,
            second_order=False,
        )
        return only_present(self.network.outputs(phi, support, query_x), support)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        support, theta = episodes.support, self.network.initial(episodes.support)
        with torch.no_grad():
            phi = self._trained(theta, episodes)
            answers_TQC = self.network.outputs(phi, support, episodes.query_x)
            value = query_loss(only_present(answers_TQC, support), episodes)
        gaps = [(theta[name] - phi[name]).square().sum() for name in theta]
        distance = torch.stack(gaps).sum() / (2 * episodes.n_tasks)
        return value + distance - distance.detach()

    def _trained(self, phi: Weights, episodes: Episodes) -> Weights:
        """phi_K: after steps on all rows of a task, which the support rows describe throughout."""
        support, query_x = episodes.support, episodes.query_x
        query = replace(support, x=query_x, y=episodes.query_y)
        minibatches = (
            lambda phi: self.network.losses(phi, support),
            lambda phi: support_losses(self.network.outputs(phi, support, query_x), query),
        )
        for step in range(self.inner_steps):
            phi = descend(minibatches[step % 2], phi, self._step, 1, second_order=False)
        return phi

    def _step(self, step: int, phi: Weights, slopes: Weights) -> Weights:
        slopes = clipped(slopes, self.inner_clip)
        return {name: weight - self.inner_lr * slopes[name] for name, weight in phi.items()}
