"""Random numbers as the priors want them."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Generator, Tensor

# [lowest, highest], both ends count.
Counts = tuple[PositiveInt, PositiveInt]
Range = tuple[float, float]
Scale = tuple[NonNegativeFloat, NonNegativeFloat]
LogRange = tuple[PositiveFloat, PositiveFloat]
Probability = Annotated[float, Field(ge=0, le=1)]


def in_order(**ranges: tuple[float, float]) -> None:
    """Raise ValueError for a range that does not run from low to high, by its name."""
    for name, (low, high) in ranges.items():
        if low > high:
            raise ValueError(f"{name} runs from {low} to {high}: put the smaller first")


def integers(bounds: Counts, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Uniform over the whole numbers of the range."""
    return torch.randint(bounds[0], bounds[1] + 1, shape, generator=generator)


def uniform(bounds: Range, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Uniform over the range."""
    return torch.empty(shape).uniform_(bounds[0], bounds[1], generator=generator)


def log_uniform(bounds: LogRange, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Uniform over the range on a logarithmic scale."""
    low, high = (math.log(bound) for bound in bounds)
    return torch.empty(shape).uniform_(low, high, generator=generator).exp_()


def sparse_weights(
    probability: Float[Tensor, "T 1 1"],
    allowed: Bool[Tensor, "T 1 N"],
    n_outputs: int,
    generator: Generator,
) -> Float[Tensor, "T K N"]:
    """Normal weights from N inputs to K outputs, each there with the probability given.

    Every output keeps one allowed input at least, and has weights of length 1.
    """
    shape = (len(allowed), n_outputs, allowed.shape[2])
    key = torch.rand(shape, generator=generator).masked_fill_(~allowed, 2.0)
    kept = key <= key.amin(dim=2, keepdim=True).maximum(probability)
    return F.normalize(torch.randn(shape, generator=generator).mul_(kept), dim=2)


def correlated(
    factors: Counts, unique: LogRange, shape: tuple[int, int, int], generator: Generator
) -> Float[Tensor, "T F M"]:
    """Standard normal columns that share `factors` hidden factors.

    unique: standard deviation of each column's own part, where the shared one has 1.
    """
    n_tasks, width, n_rows = shape
    n_factors_T = integers(factors, (n_tasks,), generator)
    factor_TRM = torch.randn(n_tasks, factors[1], n_rows, generator=generator)
    loading_TFR = torch.randn(n_tasks, width, factors[1], generator=generator)
    loading_TFR *= torch.arange(factors[1]) < n_factors_T[:, None, None]
    x_TFM = torch.randn(n_tasks, width, n_rows, generator=generator)
    x_TFM *= log_uniform(unique, (n_tasks, 1, 1), generator)
    return standardise_(x_TFM.baddbmm_(F.normalize(loading_TFR, dim=2), factor_TRM))


def standardise_(x: Float[Tensor, "... M"]) -> Float[Tensor, "... M"]:
    """Mean 0 and standard deviation 1 along the last dimension, in place; constants become 0."""
    x.sub_(x.mean(dim=-1, keepdim=True))
    # A fifth of the time of torch.var_mean.
    sd = torch.linalg.vector_norm(x, dim=-1, keepdim=True).div_(x.shape[-1] ** 0.5)
    return x.div_(sd.clamp_(min=1e-3))
