"""Tables whose target is a linear function of a few columns."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Generator, Tensor

from metamine.sources.synthetic.classes import target_of
from metamine.sources.synthetic.drawing import (
    Counts,
    LogRange,
    Probability,
    correlated,
    in_order,
    log_uniform,
    sparse_weights,
    standardise_,
    uniform,
)
from metamine.sources.synthetic.prior import Drawn, Prior


class Linear(Prior):
    """Correlated normal columns x = A z + u, scores W x + e with W sparse.

    factors: how many hidden factors z the columns share.
    unique: standard deviation of each column's own part u, where the shared one has 1.
    relevant: share of the columns that a score depends on.
    noise: standard deviation of a score's noise e, where W x has 1.
    ordinal, pieces: how scores become classes; see `classes.target_of`.
    """

    def __init__(
        self,
        factors: Counts,
        unique: LogRange,
        relevant: tuple[Probability, Probability],
        noise: LogRange,
        ordinal: Probability,
        pieces: Counts,
    ) -> None:
        in_order(factors=factors, unique=unique, relevant=relevant, noise=noise, pieces=pieces)
        self.factors = factors
        self.unique = unique
        self.relevant = relevant
        self.noise = noise
        self.ordinal = ordinal
        self.pieces = pieces

    def draw(
        self,
        n_rows: int,
        n_features_T: Int64[Tensor, " T"],
        class_size_TC: Int64[Tensor, "T C"] | None,
        generator: Generator,
    ) -> Drawn:
        n_tasks, width = len(n_features_T), int(n_features_T.max())
        n_scores = 1 if class_size_TC is None else class_size_TC.shape[1]

        x_TFM = correlated(self.factors, self.unique, (n_tasks, width, n_rows), generator)

        real_T1F = (torch.arange(width) < n_features_T[:, None])[:, None]
        relevant_T11 = uniform(self.relevant, (n_tasks, 1, 1), generator)
        weight_TKF = sparse_weights(relevant_T11, real_T1F, n_scores, generator)
        score_TKM = standardise_(weight_TKF @ x_TFM)
        noise_T11 = log_uniform(self.noise, (n_tasks, 1, 1), generator)
        score_TKM += noise_T11 * torch.randn(score_TKM.shape, generator=generator)
        return x_TFM, target_of(score_TKM, class_size_TC, self.ordinal, self.pieces, generator)
