"""Model-agnostic meta-learning."""

from __future__ import annotations

from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.episode import Support
from metamine.methods.base import Method, only_present
from metamine.methods.optimization.inner_loop import clipped, descend
from metamine.methods.optimization.network import Network, Weights


class MAML(Method):
    """Chelsea Finn, Pieter Abbeel, Sergey Levine: "Model-Agnostic Meta-Learning for Fast Adaptation
    of Deep Networks" (2017), algorithm 2.

    From the same theta, each task takes K steps of gradient descent on its support rows, and the
    loss of the adapted weights on the query rows is differentiated back to theta:

        phi_0 = theta,    phi_(j+1) = phi_j - alpha grad L_support(phi_j)
        min over theta of L_query(phi_K)

    encoder: with a linear head, the network.
    inner_lr: alpha.
    inner_steps: K.
    inner_clip: bound on the norm of each task's gradient; null is the paper's algorithm.
    first_order: drop the second derivatives (section 5.2).

    Good for any network and both kinds of task; several times the cost of a metric learner.
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
        return {name: weight - self.inner_lr * slopes[name] for name, weight in phi.items()}
