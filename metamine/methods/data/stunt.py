"""STUNT: tasks made of rows without labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field, PositiveInt
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.episode import Episodes, Kind, Support
from metamine.methods.base import Method, query_loss
from metamine.methods.data.kmeans import kmeans
from metamine.methods.metric.protonet import ProtoNet

Share = Annotated[float, Field(gt=0, le=1)]


class STUNT(Method):
    """Jaehyun Nam, Jihoon Tack, Kyungmin Lee, Hankook Lee, Jinwoo Shin: "STUNT: Few-shot Tabular
    Learning with Self-generated Tasks from Unlabeled Tables" (2023), section 3.

    Some columns, standing in for the label that nobody gave, say what the others are to predict:

        m: a random part of the columns,    y = k-means of the rows, by the columns in m
        x' = x, the columns in m shuffled over the rows, each by itself
        min over theta of the loss of a prototypical network on (x', y), cut in support and query

    The true labels are used by `predict` alone. The paper learns from the unlabelled rows of the
    very table it is tested on; here they are the rows of the training episodes, so that held-out
    tables stay unseen. The support takes a row of each cluster in turn, instead of the same number
    of each, since with few rows some clusters are small.

    encoder: of the prototypical network.
    clusters: pseudo-classes of a task (fewer where rows are few).
    columns: least and greatest share of the columns in m.
    iterations: of k-means.

    Good for many tables of which few have labels; with labels, prototypical networks learn more.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})
    ordered_loss: ClassVar[bool] = True

    def __init__(
        self,
        encoder: Encoder,
        clusters: Annotated[int, Field(ge=2)],
        columns: tuple[Share, Share],
        iterations: PositiveInt,
    ) -> None:
        super().__init__()
        if columns[0] > columns[1]:
            raise ValueError(f"columns {list(columns)}: the least share is above the greatest")
        self.protonet = ProtoNet(encoder)
        self.clusters, self.columns, self.iterations = clusters, columns, iterations

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        return self.protonet.predict(support, query_x)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        made = self.self_generated(episodes)
        return query_loss(self.predict(made.support, made.query_x), made)

    @torch.no_grad()
    def self_generated(self, episodes: Episodes) -> Episodes:
        """Tasks of the same size on the same rows, which do not depend on the labels."""
        support, n_support = episodes.support, episodes.support.x.shape[1]
        x_TNF = torch.cat([support.x, episodes.query_x], dim=1)
        order_TN = torch.rand(x_TNF.shape[:2], device=x_TNF.device).argsort(dim=1)
        x_TNF = x_TNF.gather(1, order_TN[..., None].expand_as(x_TNF))
        way = min(self.clusters, x_TNF.shape[1])
        chosen_T1F = self._chosen(support)[:, None]
        seen_TNF = x_TNF.nan_to_num().where(chosen_T1F, 0.0)
        y_TN = kmeans(seen_TNF, seen_TNF[:, :way], self.iterations)
        shuffled_TNF = x_TNF.gather(1, torch.rand_like(x_TNF).argsort(dim=1))
        x_TNF = shuffled_TNF.where(chosen_T1F, x_TNF)

        order_TN = _place_in_cluster(y_TN, way).argsort(dim=1, stable=True)
        x_TNF = x_TNF.gather(1, order_TN[..., None].expand_as(x_TNF))
        y_TN = y_TN.gather(1, order_TN)
        x_TSF, x_TQF = x_TNF[:, :n_support], x_TNF[:, n_support:]
        n_classes = torch.full_like(support.n_classes, way)
        support = replace(support, x=x_TSF, y=y_TN[:, :n_support], n_classes=n_classes, way=way)
        return replace(episodes, support=support, query_x=x_TQF, query_y=y_TN[:, n_support:])

    def _chosen(self, support: Support) -> Bool[Tensor, "T F"]:
        """m: of the real columns, a share drawn for each task; one at least."""
        real_TF, like = support.feature_mask, support.x
        low, high = self.columns
        share_T1 = low + (high - low) * torch.rand_like(like[:, 0, :1])
        n_chosen_T1 = (share_T1 * real_TF.sum(dim=1, keepdim=True)).floor().clamp(min=1)
        key_TF = torch.rand_like(like[:, 0]).masked_fill(~real_TF, 2.0)
        return key_TF.argsort(dim=1).argsort(dim=1) < n_chosen_T1


def _place_in_cluster(y_TN: Int64[Tensor, "T N"], way: int) -> Int64[Tensor, "T N"]:
    """How many rows before it are of a row's own cluster."""
    member_TNC = y_TN[..., None] == torch.arange(way, device=y_TN.device)
    return member_TNC.cumsum(dim=1).gather(2, y_TN[..., None])[..., 0] - 1
