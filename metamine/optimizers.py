"""Optimisers of the meta-parameters, with their learning-rate schedules."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from metamine.muon import MatrixMuon

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
        return optimizer, _up_and_down(optimizer, self.warmup, self.final_lr, steps)


class Muon(MetaOptimizer):
    """Muon (Jordan et al. 2024) for matrices, AdamW for vectors and numbers.

    Steps of a matrix are its momentum with all singular values made equal, about. Few steps of it
    do what takes AdamW many, at a cost that counts for small batches only.

    lr: highest learning rate of the matrices; momentum: theirs.
    vector_lr: of all other parameters; betas: theirs.
    weight_decay, warmup, final_lr, clip: as for `Adam`.
    """

    def __init__(
        self,
        lr: PositiveFloat,
        momentum: Fraction,
        vector_lr: PositiveFloat,
        betas: tuple[Fraction, Fraction],
        weight_decay: NonNegativeFloat,
        warmup: NonNegativeInt,
        final_lr: Fraction,
        clip: PositiveFloat | None,
    ) -> None:
        self.lr, self.momentum = lr, momentum
        self.vector_lr, self.betas = vector_lr, betas
        self.weight_decay = weight_decay
        self.warmup, self.final_lr, self.clip = warmup, final_lr, clip

    def over(
        self, parameters: Iterable[nn.Parameter], steps: int
    ) -> tuple[torch.optim.Optimizer, LRScheduler]:
        every = list(parameters)
        matrices = [each for each in every if each.dim() == 2]
        others = [each for each in every if each.dim() != 2]
        parts: list[torch.optim.Optimizer] = []
        if matrices:
            parts.append(
                MatrixMuon(
                    matrices, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
                )
            )
        if others:
            parts.append(
                torch.optim.AdamW(
                    others, lr=self.vector_lr, betas=self.betas, weight_decay=self.weight_decay
                )
            )
        optimizer = _Together(parts)
        return optimizer, _up_and_down(optimizer, self.warmup, self.final_lr, steps)


class _Together(torch.optim.Optimizer):
    """Several optimisers of different parameters, as one."""

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share_groups()

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

    def _share_groups(self) -> None:
        """The parts' own groups, so that a learning rate set here is set there."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def _up_and_down(
    optimizer: torch.optim.Optimizer, warmup: int, final_lr: float, steps: int
) -> LRScheduler:
    """Linear warm-up, then a cosine down to `final_lr` of the highest rate."""

    def share(step: int) -> float:
        rise = min(1.0, (step + 1) / (warmup + 1))
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))
        return rise * (final_lr + (1 - final_lr) * fall)

    return LambdaLR(optimizer, share)
