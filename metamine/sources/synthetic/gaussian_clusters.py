"""Tables whose classes are clusters."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from pydantic import PositiveInt
from torch import Generator, Tensor

from metamine.sources.synthetic.classes import classes_in_order
from metamine.sources.synthetic.drawing import (
    Counts,
    LogRange,
    Probability,
    in_order,
    integers,
    log_uniform,
    sparse_weights,
    standardise_,
    uniform,
)
from metamine.sources.synthetic.prior import Drawn, Prior


class GaussianClusters(Prior):
    """Each class is one or more normal clusters in a latent space; columns are mixtures of latents.

    Like scikit-learn's `make_classification`, after Guyon, "Design of experiments for the NIPS
    2003 variable selection benchmark": some latents tell clusters apart, others are shared noise;
    columns that mix several are redundant, those that see none of the first irrelevant.
    For regression each cluster has a level of its own, and all of them one slope.

    latents: dimensions of the latent space; one to all of them tell clusters apart.
    clusters: how many clusters a class has.
    one_against_rest: probability that the first class has one cluster, all others the most.
    compact: of tables of more than two classes (parts of classes count), the share in which each
        has one cluster, whatever the two above say.
    separation: standard deviation of the centres along a latent that tells clusters apart.
    stretch: standard deviation of a cluster along a latent.
    mixing: share of the latents that a column sees.
    noise: standard deviation of a column's own noise, where the latents give it 1.
    """

    def __init__(
        self,
        latents: PositiveInt,
        clusters: Counts,
        one_against_rest: Probability,
        compact: Probability,
        separation: LogRange,
        stretch: LogRange,
        mixing: tuple[Probability, Probability],
        noise: LogRange,
    ) -> None:
        in_order(clusters=clusters, separation=separation, stretch=stretch, mixing=mixing)
        in_order(noise=noise)
        self.latents = latents
        self.clusters = clusters
        self.one_against_rest = one_against_rest
        self.compact = compact
        self.separation = separation
        self.stretch = stretch
        self.mixing = mixing
        self.noise = noise

    def draw(
        self,
        n_rows: int,
        n_features_T: Int64[Tensor, " T"],
        class_size_TC: Int64[Tensor, "T C"] | None,
        generator: Generator,
    ) -> Drawn:
        n_tasks, width = len(n_features_T), int(n_features_T.max())
        one_class_T1 = torch.full((n_tasks, 1), n_rows)
        size_TC = one_class_T1 if class_size_TC is None else class_size_TC
        class_TM = classes_in_order(size_TC)
        member_TGM = self._member(class_TM, size_TC.shape[1], generator)
        latent_TDM = self._latent(member_TGM, generator)

        mixing_T11 = uniform(self.mixing, (n_tasks, 1, 1), generator)
        every_T1D = torch.ones(n_tasks, 1, self.latents, dtype=torch.bool)
        weight_TFD = sparse_weights(mixing_T11, every_T1D, width, generator)
        x_TFM = standardise_(weight_TFD @ latent_TDM)
        noise_T11 = log_uniform(self.noise, (n_tasks, 1, 1), generator)
        x_TFM += noise_T11 * torch.randn(x_TFM.shape, generator=generator)
        if class_size_TC is not None:
            return x_TFM, class_TM
        level_T1G = torch.randn(n_tasks, 1, member_TGM.shape[1], generator=generator)
        slope_T1D = torch.randn(n_tasks, 1, self.latents, generator=generator)
        slope_T1D /= self.latents**0.5
        y_TM = (level_T1G @ member_TGM + slope_T1D @ latent_TDM)[:, 0]
        return x_TFM, y_TM + noise_T11[:, 0] * torch.randn(y_TM.shape, generator=generator)

    def _member(
        self, class_TM: Int64[Tensor, "T M"], way: int, generator: Generator
    ) -> Float[Tensor, "T G M"]:
        """Which cluster each row belongs to, one-hot; a class's clusters are equally likely."""
        n_tasks, most = len(class_TM), self.clusters[1]
        n_clusters_TC = integers(self.clusters, (n_tasks, way), generator)
        if way > 1:
            alone_TC = torch.where(torch.arange(way) == 0, 1, most)
            chosen_T1 = torch.rand(n_tasks, 1, generator=generator) < self.one_against_rest
            n_clusters_TC = torch.where(chosen_T1, alone_TC, n_clusters_TC)
        if self.compact:
            compact_T1 = torch.rand(n_tasks, 1, generator=generator) < self.compact
            more_T1 = (class_TM.amax(dim=1, keepdim=True) > 1) & compact_T1
            n_clusters_TC = n_clusters_TC.masked_fill(more_T1, 1)
        number_TM = torch.rand(class_TM.shape, generator=generator)
        number_TM = (number_TM * n_clusters_TC.gather(1, class_TM)).long()
        group_T1M = (class_TM * most + number_TM)[:, None]
        return (group_T1M == torch.arange(way * most)[:, None]).float()

    def _latent(
        self, member_TGM: Float[Tensor, "T G M"], generator: Generator
    ) -> Float[Tensor, "T D M"]:
        n_tasks, n_groups, n_rows = member_TGM.shape
        shape = (n_tasks, self.latents, n_groups)
        n_telling_T11 = integers((1, self.latents), (n_tasks, 1, 1), generator)
        separation_T11 = log_uniform(self.separation, (n_tasks, 1, 1), generator)
        centre_TDG = torch.randn(shape, generator=generator).mul_(separation_T11)
        centre_TDG *= torch.arange(self.latents)[:, None] < n_telling_T11
        stretch_TDG = log_uniform(self.stretch, shape, generator)
        latent_TDM = torch.randn(n_tasks, self.latents, n_rows, generator=generator)
        return latent_TDM.mul_(stretch_TDG @ member_TGM).baddbmm_(centre_TDG, member_TGM)
