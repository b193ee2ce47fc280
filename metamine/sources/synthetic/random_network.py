"""Tables read off random networks of causes and effects."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import PositiveInt
from torch import Generator, Tensor

from metamine.sources.synthetic.classes import target_of
from metamine.sources.synthetic.drawing import (
    Counts,
    LogRange,
    Probability,
    Range,
    Scale,
    in_order,
    integers,
    log_uniform,
    sparse_weights,
    standardise_,
    uniform,
)
from metamine.sources.synthetic.prior import Drawn, Prior

# Each works in place.
ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda z: z,
    torch.tanh_,
    torch.sin_,
    torch.abs_,
    torch.square_,
    torch.relu_,
    lambda z: z.gt_(0),
    lambda z: z.square_().neg_().exp_(),
)


class RandomNetwork(Prior):
    """A structural causal model: nodes are activations of a few earlier nodes.

    Columns are nodes picked at random, so some are causes of the target, some effects of its
    causes, and some have nothing to do with it; scores are sums of few nodes. After Hollmann et
    al., "TabPFN" (ICLR 2023), section 4.

    causes: how many root nodes there are; those that no column shows are the network's noise.
    clusters, spread: rows fall into so many clusters, whose centres differ by `spread` standard
        deviations in every cause.
    depth, width: layers of nodes after the roots, and nodes of each.
    activations: probability that a table uses an activation (it uses one at least).
    parents: expected number of parents of a node, which may lie in any earlier layer.
    gain, bias: a node is activation(gain * weighted parents + bias).
    noise: standard deviation of what is added to columns and scores, where these have 1.
    ordinal, pieces: how scores become classes; see `classes.target_of`.
    """

    def __init__(
        self,
        causes: Counts,
        clusters: Counts,
        spread: Scale,
        depth: Counts,
        width: PositiveInt,
        activations: Probability,
        parents: LogRange,
        gain: LogRange,
        bias: Range,
        noise: LogRange,
        ordinal: Probability,
        pieces: Counts,
    ) -> None:
        in_order(causes=causes, clusters=clusters, spread=spread, depth=depth, parents=parents)
        in_order(gain=gain, bias=bias, noise=noise, pieces=pieces)
        self.causes = causes
        self.clusters = clusters
        self.spread = spread
        self.depth = depth
        self.width = width
        self.activations = activations
        self.parents = parents
        self.gain = gain
        self.bias = bias
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
        there_TN = self._there(n_tasks, generator)
        parents_T11 = log_uniform(self.parents, (n_tasks, 1, 1), generator)
        chance_T11 = parents_T11 / there_TN.sum(dim=1)[:, None, None]
        node_TNM = self._nodes(n_rows, there_TN, chance_T11, generator)

        picked_TF = there_TN.float().multinomial(width, replacement=True, generator=generator)
        picked_TF += torch.arange(n_tasks)[:, None] * there_TN.shape[1]
        x_FM = node_TNM.flatten(0, 1).index_select(0, picked_TF.flatten())
        weight_TKN = sparse_weights(chance_T11, there_TN[:, None], n_scores, generator)

        seen_TPM = torch.randn(n_tasks, width + n_scores, n_rows, generator=generator)
        seen_TPM *= log_uniform(self.noise, (n_tasks, width + n_scores, 1), generator)
        x_TFM, score_TKM = seen_TPM.split([width, n_scores], dim=1)
        x_TFM += x_FM.view_as(x_TFM)
        score_TKM += standardise_(weight_TKN @ node_TNM)
        return x_TFM, target_of(score_TKM, class_size_TC, self.ordinal, self.pieces, generator)

    def _there(self, n_tasks: int, generator: Generator) -> Bool[Tensor, "T N"]:
        """Which nodes each task has: some causes, and the first layers."""
        n_causes_T1 = integers(self.causes, (n_tasks, 1), generator)
        depth_T1 = integers(self.depth, (n_tasks, 1), generator)
        causes_TR = torch.arange(self.causes[1]) < n_causes_T1
        layers_TL = torch.arange(self.depth[1]) < depth_T1
        return torch.cat([causes_TR, layers_TL.repeat_interleave(self.width, dim=1)], dim=1)

    def _nodes(
        self, n_rows: int, there_TN: Tensor, chance_T11: Tensor, generator: Generator
    ) -> Float[Tensor, "T N M"]:
        """The values of all nodes, layer after layer; those that are not there mean nothing."""
        n_tasks, n_nodes = there_TN.shape
        used_TA = torch.rand(n_tasks, len(ACTIVATIONS), generator=generator)
        used_TA = used_TA <= used_TA.amin(dim=1, keepdim=True).clamp(min=self.activations)
        node_TNM = torch.empty(n_tasks, n_nodes, n_rows)
        node_TNM[:, : self.causes[1]] = self._causes(n_tasks, n_rows, generator)
        for first in range(self.causes[1], n_nodes, self.width):
            weight_THN = sparse_weights(
                chance_T11, there_TN[:, None, :first], self.width, generator
            )
            weight_THN *= log_uniform(self.gain, (n_tasks, self.width, 1), generator)
            value_THM = weight_THN @ node_TNM[:, :first]
            value_THM += uniform(self.bias, (n_tasks, self.width, 1), generator)
            kind_TH = used_TA.float().multinomial(self.width, replacement=True, generator=generator)
            layer = slice(first, first + self.width)
            node_TNM[:, layer] = standardise_(_activated(value_THM, kind_TH))
        return node_TNM

    def _causes(self, n_tasks: int, n_rows: int, generator: Generator) -> Float[Tensor, "T R M"]:
        most = self.clusters[1]
        cause_TRM = torch.randn(n_tasks, self.causes[1], n_rows, generator=generator)
        n_clusters_T11 = integers(self.clusters, (n_tasks, 1, 1), generator)
        cluster_T1M = torch.rand(n_tasks, 1, n_rows, generator=generator).mul_(n_clusters_T11)
        member_TKM = (cluster_T1M.long() == torch.arange(most)[:, None]).float()
        centre_TRK = torch.randn(n_tasks, self.causes[1], most, generator=generator)
        centre_TRK *= uniform(self.spread, (n_tasks, 1, 1), generator)
        return standardise_(cause_TRM.baddbmm_(centre_TRK, member_TKM))


def _activated(
    value_THM: Float[Tensor, "T H M"], kind_TH: Int64[Tensor, "T H"]
) -> Float[Tensor, "T H M"]:
    """Each node's own activation: nodes are sorted by it, so that each works on one block."""
    kind_P, order_P = kind_TH.flatten().sort()
    value_PM = value_THM.flatten(0, 1).index_select(0, order_P)
    sizes = kind_P.bincount(minlength=len(ACTIVATIONS)).tolist()
    for activate_, block in zip(ACTIVATIONS, value_PM.split(sizes), strict=True):
        activate_(block)
    return torch.empty_like(value_PM).index_copy_(0, order_P, value_PM).view_as(value_THM)
