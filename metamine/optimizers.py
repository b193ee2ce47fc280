"""Optimisers of the meta-parameters, with their learning-rate schedules."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

Fraction = Annotated[float, Field(ge=0, le=1)]


class MetaOptimizer(ABC):
    """How meta-training moves the parameters. Subclasses are final."""

    clip: float | None  # greatest norm of the gradient

    @abstractmethod
    def over(
        self, parameters: Iterable[nn.Parameter], steps: int
    ) -> tuple[torch.optim.Optimizer, LRScheduler]:
        """The optimiser and schedule for a run of `steps` steps."""


class Adam(MetaOptimizer):
    """AdamW (Loshchilov & Hutter 2019) with linear warm-up and cosine decay.

    lr: highest learning rate, reached after `warmup` steps; `final_lr`: its share at the end (1: no
    decay). clip: greatest norm of the gradient, null for none.
    """

    def __init__(
        self,
        lr: PositiveFloat,
        betas: tuple[Fraction, Fraction],
        weight_decay: NonNegativeFloat,
        warmup: NonNegativeInt,
        final_lr: Fraction,
        clip: PositiveFloat | None,
    ) -> None:
        self.lr, self.betas, self.weight_decay = lr, betas, weight_decay
        self.warmup, self.final_lr, self.clip = warmup, final_lr, clip

    def over(
        self, parameters: Iterable[nn.Parameter], steps: int
    ) -> tuple[torch.optim.Optimizer, LRScheduler]:
        optimizer = torch.optim.AdamW(
            parameters, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay
        )

        def share(step: int) -> float:
            rise = min(1.0, (step + 1) / (self.warmup + 1))
            fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))
            return rise * (self.final_lr + (1 - self.final_lr) * fall)

        return optimizer, LambdaLR(optimizer, share)
