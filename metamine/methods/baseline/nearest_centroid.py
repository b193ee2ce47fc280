"""Nearest centroid: prototypical networks without the network."""

from __future__ import annotations

from typing import Annotated, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import Baseline
from metamine.methods.baseline.geometry import centroid_scores


class NearestCentroid(Baseline):
    """`p(c | q) = softmax_c(-||q - m_c||^2 / temperature)`, m_c the mean of class c.

    temperature: 2 is a Gaussian of unit variance around each centroid; no accuracy depends on it.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def __init__(self, temperature: Annotated[float, Field(gt=0)]) -> None:
        super().__init__()
        self.temperature = temperature

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        return centroid_scores(query_x, support) * (2 / self.temperature)
