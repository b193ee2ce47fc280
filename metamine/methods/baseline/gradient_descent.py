"""Linear regression by a given number of gradient steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer, RMSprop

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import Baseline, complete

RULES: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "momentum": partial(SGD, momentum=0.9, nesterov=True),
    "rmsprop": RMSprop,
    "adam": Adam,
}


class GradientDescent(Baseline):
    """Steps from w = 0 down the gradient of `||Xw - y||^2 / S`, S rows in the support; x'w answers.

    The steps are those of PyTorch's optimizer with its defaults (momentum: 0.9, Nesterov's). Each
    treats a weight by itself, and so all tasks at once. Categories are given by their codes.
    Falls back where the loss leaves the range of float32: the rate was far too high for that task.

    optimizer: sgd, momentum, rmsprop or adam.
    lr: its learning rate.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"regression"})

    def __init__(
        self,
        optimizer: Literal["sgd", "momentum", "rmsprop", "adam"],
        lr: PositiveFloat,
        steps: NonNegativeInt,
    ) -> None:
        super().__init__()
        self.optimizer, self.lr, self.steps = optimizer, lr, steps

    def falls_back(self, support: Support) -> Bool[Tensor, " T"]:
        misfit_TS = self._misfit(self._fitted(support), support)
        return ~misfit_TS.square().sum(dim=1).float().isfinite()

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q 1"]:
        return complete(query_x, support) @ self._fitted(support)[..., None]

    def _fitted(self, support: Support) -> Float[Tensor, "T F"]:
        """w after all steps; no number where it grew too large for one."""
        x_TSF = complete(support.x, support)
        w_TF = torch.zeros_like(x_TSF[:, 0])
        stepping = RULES[self.optimizer]([w_TF], lr=self.lr)
        for _ in range(self.steps):
            misfit_TS1 = self._misfit(w_TF, support)[..., None]
            w_TF.grad = (x_TSF.mT @ misfit_TS1)[..., 0] * (2 / x_TSF.shape[1])
            stepping.step()
        return w_TF

    def _misfit(self, w_TF: Float[Tensor, "T F"], support: Support) -> Float[Tensor, "T S"]:
        """Xw - y."""
        return (complete(support.x, support) @ w_TF[..., None])[..., 0] - support.y.double()
