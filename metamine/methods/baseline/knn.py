"""k nearest neighbours."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from metamine.episode import Support
from metamine.methods.baseline.base import Baseline, log_probability
from metamine.methods.baseline.geometry import distances


class KNN(Baseline):
    """The vote, or the mean target, of the k nearest support rows (all rows if there are fewer).

    weights: "uniform", or "distance": a neighbour counts 1 / distance, and rows at distance 0, if
        there are any, alone.
    p: order of the Minkowski distance; 1 sums absolute differences, 2 is Euclidean.
    """

    def __init__(
        self,
        k: PositiveInt,
        weights: Literal["uniform", "distance"],
        p: Annotated[float, Field(ge=1)],
    ) -> None:
        super().__init__()
        self.k, self.weights, self.p = k, weights, p

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        distance_TQS = distances(query_x, support, self.p)
        k = min(self.k, distance_TQS.shape[2])
        distance_TQK, nearest_TQK = distance_TQS.topk(k, dim=2, largest=False)
        weight_TQK = torch.ones_like(distance_TQK)
        if self.weights == "distance":
            same_TQK = distance_TQK == 0
            some_same_TQ1 = same_TQK.any(dim=2, keepdim=True)
            weight_TQK = torch.where(some_same_TQ1, same_TQK.double(), 1 / distance_TQK)
        weight_TQK = weight_TQK / weight_TQK.sum(dim=2, keepdim=True)
        vote_TQS = torch.zeros_like(distance_TQS).scatter(2, nearest_TQK, weight_TQK)
        if support.kind == "regression":
            return vote_TQS @ support.y[..., None].double()
        return log_probability(vote_TQS @ support.member_TSC.double())
