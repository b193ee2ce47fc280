"""Adapting a few context parameters, which the network reads beside the row."""

from __future__ import annotations

from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.encoders.layers import Linear, mlp
from metamine.episode import Support
from metamine.methods.base import Method, only_present
from metamine.methods.optimization.inner_loop import clipped, descend
from metamine.methods.optimization.network import Weights, support_losses


class CAVIA(Method):
    """Luisa Zintgraf, Kyriacos Shiarlis, Vitaly Kurin, Katja Hofmann, Shimon Whiteson: "Fast
    Context Adaptation via Meta-Learning" (2019), section 3.

    The network theta is the same for all tasks; what adapts is its input phi, from 0 for each task:

        phi_0 = 0,    phi_(j+1) = phi_j - alpha grad_phi L_support(phi_j, theta)
        min over theta of L_query(phi_K, theta)

    phi scales and shifts the embedding z of a row (FiLM, as the paper has it for images), and a
    network reads the result:

        answer = g((1 + A phi) * z + B phi)

    There may be any number of classes: each has a phi of its own, and the answer is its logit. So
    has each column where an encoder keeps them apart; the answers of the columns are added up.

    encoder: its embedding is z, which takes no part in adapting.
    hidden: width of g.
    context: numbers in phi.
    inner_lr: alpha.
    inner_steps: K.
    inner_clip: bound on the norm of each task's gradient; null is the paper's algorithm.
    first_order: drop the second derivatives, as in first-order MAML.

    Good for nonlinear answers at a few steps; costs grow with rows times classes times columns.
    """

    def __init__(
        self,
        encoder: Encoder,
        hidden: PositiveInt,
        context: PositiveInt,
        inner_lr: PositiveFloat,
        inner_steps: NonNegativeInt,
        inner_clip: PositiveFloat | None,
        first_order: bool,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.scale = Linear(context, encoder.width, bias=False)  # A
        self.shift = Linear(context, encoder.width, bias=False)  # B
        self.answer = mlp(encoder.width, hidden, 1)  # g
        self.context = context
        self.inner_lr, self.inner_steps = inner_lr, inner_steps
        self.inner_clip, self.first_order = inner_clip, first_order

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        z_TSD, z_TQD = self.encoder(support, None), self.encoder(support, query_x)
        n_columns = support.x.shape[2] if self.encoder.per_column else 1
        shape = (support.n_tasks, support.n_outputs, n_columns, self.context)
        phi = descend(
            lambda phi: support_losses(self._answers(phi, z_TSD, support), support),
            {"context": z_TSD.new_zeros(shape, requires_grad=True)},
            self._step,
            self.inner_steps,
            second_order=not self.first_order,
        )
        return only_present(self._answers(phi, z_TQD, support), support)

    def _answers(
        self, phi: Weights, z_TND: Float[Tensor, "T N D"], support: Support
    ) -> Float[Tensor, "T N C"]:
        phi_TCFK = phi["context"]
        z_TNFW = z_TND.unflatten(-1, (-1, self.encoder.width))
        real_TF = support.feature_mask.to(z_TND)
        if not self.encoder.per_column:
            real_TF = real_TF.amax(dim=1, keepdim=True)
        # An encoder that keeps columns apart divides by this, lest a sum over them grow with their
        # number. Undone before g, which is not linear, and done again after it.
        root_T1 = real_TF.sum(dim=1, keepdim=True).sqrt()
        z_TNFW = z_TNFW * root_T1[:, None, :, None]
        scale_TCFW, shift_TCFW = 1 + self.scale(phi_TCFK), self.shift(phi_TCFK)
        told_TNCFW = z_TNFW[:, :, None] * scale_TCFW[:, None] + shift_TCFW[:, None]
        return (self.answer(told_TNCFW)[..., 0] * (real_TF / root_T1)[:, None, None]).sum(dim=-1)

    def _step(self, step: int, phi: Weights, slopes: Weights) -> Weights:
        slopes = clipped(slopes, self.inner_clip)
        return {name: weight - self.inner_lr * slopes[name] for name, weight in phi.items()}
