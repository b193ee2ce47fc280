"""Tables whose target follows rules."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from metamine.sources.synthetic.classes import target_of
from metamine.sources.synthetic.drawing import (
    Counts,
    LogRange,
    Probability,
    correlated,
    in_order,
    integers,
    log_uniform,
    standardise_,
)
from metamine.sources.synthetic.prior import Drawn, Prior


class Trees(Prior):
    """Correlated normal columns, scores that are sums of random decision trees of few columns.

    All nodes of one depth ask the same of the same column (oblivious trees, as CatBoost's:
    Prokhorenkova et al. 2018, section 4), so that a tree is a table of leaves.

    factors: how many hidden factors the columns share.
    unique: standard deviation of each column's own part, where the shared one has 1.
    columns: how many columns the trees of a table look at.
    trees, depth: of a score, and of each tree.
    noise: standard deviation of a score's noise, where the trees give it 1.
    ordinal, pieces: how scores become classes; see `classes.target_of`.
    """

    def __init__(
        self,
        factors: Counts,
        unique: LogRange,
        columns: Counts,
        trees: Counts,
        depth: Counts,
        noise: LogRange,
        ordinal: Probability,
        pieces: Counts,
    ) -> None:
        in_order(factors=factors, unique=unique, columns=columns, trees=trees, depth=depth)
        in_order(noise=noise, pieces=pieces)
        self.factors = factors
        self.unique = unique
        self.columns = columns
        self.trees = trees
        self.depth = depth
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

        score_TKM = standardise_(self._scores(x_TFM, n_features_T, n_scores, generator))
        noise_T11 = log_uniform(self.noise, (n_tasks, 1, 1), generator)
        score_TKM += noise_T11 * torch.randn(score_TKM.shape, generator=generator)
        return x_TFM, target_of(score_TKM, class_size_TC, self.ordinal, self.pieces, generator)

    def _scores(
        self,
        x_TFM: Float[Tensor, "T F M"],
        n_features_T: Int64[Tensor, " T"],
        n_scores: int,
        generator: Generator,
    ) -> Float[Tensor, "T K M"]:
        n_tasks, _, n_rows = x_TFM.shape
        n_trees, depth = self.trees[1], self.depth[1]
        # The first columns are as good as any: the order of columns means nothing.
        n_seen_T = integers(self.columns, (n_tasks,), generator).minimum(n_features_T)
        place_TG = torch.rand(n_tasks, n_trees * depth, generator=generator)
        column_TG = (place_TG * n_seen_T[:, None]).long()
        value_TGM = x_TFM.gather(1, column_TG[..., None].expand(-1, -1, n_rows))
        cut_TG1 = 0.7 * torch.randn(n_tasks, n_trees * depth, 1, generator=generator)
        goes_right_TEDM = (value_TGM > cut_TG1).long().unflatten(1, (n_trees, depth))
        depth_TE1 = integers(self.depth, (n_tasks, n_trees, 1), generator)
        goes_right_TEDM *= (torch.arange(depth) < depth_TE1)[..., None]
        leaf_TEM = (goes_right_TEDM * 2 ** torch.arange(depth)[:, None]).sum(dim=2)
        there_TE = torch.arange(n_trees) < integers(self.trees, (n_tasks, 1), generator)
        score_TEKL = torch.randn(n_tasks, n_trees, n_scores, 2**depth, generator=generator)
        score_TEKL *= there_TE[..., None, None]
        leaf_TEKM = leaf_TEM[:, :, None].expand(-1, -1, n_scores, -1)
        return score_TEKL.gather(3, leaf_TEKM).sum(dim=1)
