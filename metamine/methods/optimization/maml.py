"""Model-agnostic meta-learning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor, nn
from torch.func import functional_call

from metamine.encoders.base import Encoder
from metamine.episode import Support
from metamine.methods.base import Method, only_present

Weights = dict[str, Tensor]  # each with a leading task axis


class MAML(Method):
    """Chelsea Finn, Pieter Abbeel, Sergey Levine: "Model-Agnostic Meta-Learning for Fast Adaptation
    of Deep Networks" (2017), algorithm 2.

    From the same theta, each task takes `inner_steps` steps of gradient descent on its support
    rows, and the loss of the adapted weights on the query rows is differentiated back to theta:

        phi_0 = theta,    phi_(j+1) = phi_j - alpha grad L_support(phi_j),    min_theta
        L_query(phi_K)

    alpha is `inner_lr`, K is `inner_steps`; `first_order` drops the second derivatives (section
    5.2). `inner_clip` bounds the norm of each task's grad, for on tables of any kind some task soon
    diverges, and takes the meta-gradient along; null is the paper's algorithm.

    Tasks have any number of classes, so the head's initial weights are one vector for all of them,
    as Ye & Chao 2022 ("How to Train Your MAML to Excel in Few-Shot Learning", section 5) recommend:
    an unadapted network is at chance, and the names of classes do not matter. The support is its
    own description: an encoder that reads it does so in every inner step.
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
        self.encoder = encoder
        self.inner_lr, self.inner_steps = inner_lr, inner_steps
        self.inner_clip, self.first_order = inner_clip, first_order
        self.head = nn.Parameter(torch.randn(encoder.width) / encoder.width**0.5)
        self.bias = nn.Parameter(torch.zeros(()))

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        meta_training = torch.is_grad_enabled()
        second_order = meta_training and not self.first_order
        with torch.enable_grad():  # adapting takes gradients, also where answering needs none
            phi = self._theta(support)
            for _ in range(self.inner_steps):
                loss = self._support_losses(phi, support).sum()
                slopes = torch.autograd.grad(loss, list(phi.values()), create_graph=second_order)
                rate_T = self._rates(slopes)
                phi = {
                    name: weight - _each(rate_T, slope) * slope
                    for (name, weight), slope in zip(phi.items(), slopes, strict=True)
                }
                if not meta_training:
                    phi = {name: weight.detach().requires_grad_() for name, weight in phi.items()}
        return only_present(self._outputs(phi, support, query_x), support)

    def _rates(self, slopes: Sequence[Tensor]) -> Float[Tensor, " T"]:
        """alpha of each task, less where its gradient is clipped."""
        square_T = torch.stack([slope.flatten(1).square().sum(dim=1) for slope in slopes]).sum(
            dim=0
        )
        if self.inner_clip is None:
            return torch.full_like(square_T, self.inner_lr)
        return self.inner_lr * (square_T / self.inner_clip**2).clamp(min=1).rsqrt()

    def _theta(self, support: Support) -> Weights:
        """The initial weights, once for each task."""
        theta: Weights = {
            f"encoder.{name}": value for name, value in self.encoder.named_parameters()
        }
        theta["head"] = self.head.expand(support.n_outputs, -1)
        theta["bias"] = self.bias.expand(support.n_outputs)
        phi = {name: value.expand(support.n_tasks, *value.shape) for name, value in theta.items()}
        if self.encoder.per_column:  # as many copies of the head's weights as a task has columns
            n_columns_T11 = support.feature_mask.sum(dim=1)[:, None, None].to(self.head)
            copies = phi["head"].repeat(1, 1, support.x.shape[2])
            phi["head"] = copies / n_columns_T11.sqrt()
        return phi

    def _outputs(self, phi: Weights, support: Support, x_TNF: Tensor) -> Float[Tensor, "T N C"]:
        prefix = "encoder."
        weights = {k.removeprefix(prefix): v for k, v in phi.items() if k.startswith(prefix)}
        z_TND = functional_call(self.encoder, weights, (support, x_TNF))
        return torch.baddbmm(phi["bias"][:, None], z_TND, phi["head"].mT)

    def _support_losses(self, phi: Weights, support: Support) -> Float[Tensor, " T"]:
        """Mean loss of each task's adapted weights over its support rows."""
        outputs_TSC = self._outputs(phi, support, support.x)
        if support.kind == "regression":
            return (outputs_TSC[..., 0] - support.y).square().mean(dim=1)
        logits_TCS = only_present(outputs_TSC, support).mT
        return F.cross_entropy(logits_TCS, support.y, reduction="none").mean(dim=1)


def _each(rate_T: Tensor, slope: Tensor) -> Tensor:
    """The rates, shaped to multiply what has a leading task axis."""
    return rate_T.view(-1, *[1] * (slope.dim() - 1))
