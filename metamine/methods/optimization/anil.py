"""Almost no inner loop: adapting the head alone."""

from __future__ import annotations

from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.episode import Support
from metamine.methods.base import Method, only_present
from metamine.methods.optimization.inner_loop import clipped, descend
from metamine.methods.optimization.network import Network, Weights, support_losses


class ANIL(Method):
    """Aniruddh Raghu, Maithra Raghu, Samy Bengio, Oriol Vinyals: "Rapid Learning or Feature Reuse?
    Towards Understanding the Effectiveness of MAML" (2020), section 4.

    MAML whose inner loop leaves the body theta alone and adapts the head w, so that the support
    rows are embedded once and not at every step:

        w_0 = w,    w_(j+1) = w_j - alpha grad_w L_support(theta, w_j)
        min over theta, w of L_query(theta, w_K)

    encoder: the body; the head is linear.
    inner_lr: alpha.
    inner_steps: K.
    inner_clip: bound on the norm of each task's gradient; null is the paper's algorithm.
    first_order: drop the second derivatives, as in first-order MAML.

    Good for what MAML is good for, at little more than the cost of a metric learner.
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
        encoder, theta = self.network.encoder, self.network.initial(support)
        z_TSD, z_TQD = encoder(support, None), encoder(support, query_x)
        head = descend(
            lambda head: support_losses(self.network.read(head, z_TSD), support),
            {name: theta[name] for name in ("head", "bias")},
            self._step,
            self.inner_steps,
            second_order=not self.first_order,
        )
        return only_present(self.network.read(head, z_TQD), support)

    def _step(self, step: int, head: Weights, slopes: Weights) -> Weights:
        slopes = clipped(slopes, self.inner_clip)
        return {name: weight - self.inner_lr * slopes[name] for name, weight in head.items()}
