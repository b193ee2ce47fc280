"""Muon's step, for many small matrices at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Of Jordan et al.: after five iterations singular values lie between 0.7 and 1.2.
COEFFICIENTS = (3.4445, -4.775, 2.0315)
ITERATIONS = 5


class MatrixMuon(torch.optim.Optimizer):
    """Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).

    A matrix of r rows and c columns moves by lr * sqrt(max(1, r / c)) along its Nesterov momentum,
    made orthogonal. What torch.optim.Muon does, but matrices of one shape are one batched product,
    and in float32: torch's is in bfloat16, which most CPUs only emulate.
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(matrices, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            of_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for each in group["params"]:
                if each.grad is not None:
                    of_shape.setdefault(each.shape, []).append(each)
            for alike in of_shape.values():
                self._move(alike, group)

    def _move(self, alike: list[nn.Parameter], group: dict[str, Any]) -> None:
        gradient_MRC = torch.stack([each.grad for each in alike if each.grad is not None])
        for each in alike:
            self.state[each].setdefault("momentum", torch.zeros_like(each))
        momenta = [self.state[each]["momentum"] for each in alike]
        momentum_MRC = torch.stack(momenta).lerp_(gradient_MRC, 1 - group["momentum"])
        step_MRC = orthogonal(gradient_MRC.lerp(momentum_MRC, group["momentum"]))
        n_rows, n_columns = step_MRC.shape[1:]
        rate = group["lr"] * max(1, n_rows / n_columns) ** 0.5
        for each, old, new, step in zip(alike, momenta, momentum_MRC, step_MRC, strict=True):
            old.copy_(new)
            each.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=rate)


def orthogonal(matrix_MRC: Float[Tensor, "M R C"]) -> Float[Tensor, "M R C"]:
    """U V^T of each matrix U S V^T, nearly: by Newton-Schulz iterations."""
    a, b, c = COEFFICIENTS
    wide = matrix_MRC.shape[1] <= matrix_MRC.shape[2]
    x = matrix_MRC if wide else matrix_MRC.mT
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT
