"""The answer without features."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from metamine.episode import Support
from metamine.methods.baseline.base import Baseline, majority


class Majority(Baseline):
    """The class frequencies of the support, for every query row alike; the mean in regression."""

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        return majority(support).expand(-1, query_x.shape[1], -1)
