"""A token per cell, which attends down its column and along its row."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from metamine.encoders.attention import Attention
from metamine.encoders.base import Encoder
from metamine.encoders.layers import LayerNorm, Linear, mlp
from metamine.encoders.ranks import ranks
from metamine.encoders.subsets import column_order, dealt, dealt_mask, mean_over_subsets
from metamine.episode import Support

FAR = 5.0  # standard deviations; beyond, only the rank tells cells apart


class Transformer(Encoder):
    """Attention over the rows of a column, then over the columns of a row, after Hollmann et al.
    2025, "Accurate predictions on small data with a tabular foundation model" (figure 1).

    A cell is told by its value, its rank among the support's cells of the column, and whether it
    is missing or a category; cells of the support by their row's label too, every one of them, for
    a label that has to travel is learned late. All cells attend to the support's cells only, so
    that query rows know nothing of each other. A row is the mean of its cells. The support's own
    rows, asked for as None, are read without their labels and without attending to themselves.

    A class is told by a learned vector, of which there are `max_classes`; beyond, classes share.
    Tables wider than `max_features` are read in several subsets of their columns, and the
    embeddings averaged.

    width: of a token and of the embedding; heads: of the attention; depth: blocks.
    """

    max_features: int
    any_column_order = True
    any_class_names = False

    def __init__(
        self,
        width: PositiveInt,
        heads: PositiveInt,
        depth: NonNegativeInt,
        max_features: PositiveInt,
        max_classes: Annotated[int, Field(ge=2)],
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width ({width}) must be a multiple of heads ({heads})")
        self.width, self.max_features = width, max_features
        self.cell = mlp(4, width, width)
        self.klass = Linear(max_classes, width, bias=False)
        self.target = Linear(1, width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.last = LayerNorm(width)

    def forward(self, support: Support, x: Float[Tensor, "T N F"] | None) -> Float[Tensor, "T N D"]:
        size = min(self.max_features, support.x.shape[2])
        order_TF = column_order(support, size)
        real_TGK = dealt_mask(support, order_TF, size)
        own = x is None
        row_TNGKD = self._tokens(support, support.x if x is None else x, order_TF, size)
        label_TSD = self._labels(support)
        seen_TSGKD = self._tokens(support, support.x, order_TF, size) + label_TSD[:, :, None, None]
        for block in self.blocks:
            row_TNGKD = block(row_TNGKD, seen_TSGKD, real_TGK, own)
            seen_TSGKD = block(seen_TSGKD, seen_TSGKD, real_TGK, False)
        share_TGK = real_TGK.to(row_TNGKD) / real_TGK.sum(dim=-1, keepdim=True).clamp(min=1)
        z_TNGD = (row_TNGKD * share_TGK[:, None, ..., None]).sum(dim=3)
        return self.last(mean_over_subsets(z_TNGD, real_TGK))

    def _tokens(
        self, support: Support, x_TNF: Tensor, order_TF: Tensor, size: int
    ) -> Float[Tensor, "T N G K D"]:
        told = (
            x_TNF.nan_to_num().clamp(-FAR, FAR),
            ranks(x_TNF, support.x),
            x_TNF.isnan().to(x_TNF),
            support.categorical.to(x_TNF)[:, None].expand_as(x_TNF),
        )
        return self.cell(torch.stack([dealt(each, order_TF, size) for each in told], dim=-1))

    def _labels(self, support: Support) -> Float[Tensor, "T S D"]:
        if support.kind == "regression":
            return self.target(support.y[..., None])
        max_classes = self.klass.in_features
        return self.klass(F.one_hot(support.y % max_classes, max_classes).to(support.x))


class _Block(nn.Module):
    """Attention down the column, along the row, then a network on every cell."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.down, self.along = Attention(width, heads), Attention(width, heads)
        self.norm_down, self.norm_along = LayerNorm(width), LayerNorm(width)
        self.network = nn.Sequential(LayerNorm(width), mlp(width, 2 * width, width))

    def forward(
        self,
        row: Float[Tensor, "T N G K D"],
        seen: Float[Tensor, "T S G K D"],
        real_TGK: Bool[Tensor, "T G K"],
        own: bool,
    ) -> Float[Tensor, "T N G K D"]:
        """Rows after attending to the support's; `own`: they are the support's, each but itself."""
        others = None
        if own:
            others = ~torch.eye(row.shape[1], dtype=torch.bool, device=row.device)
        column, support = self.norm_down(row).movedim(1, 3), self.norm_down(seen).movedim(1, 3)
        row = row + self.down(column, support, others).movedim(3, 1)
        cells = self.norm_along(row)
        row = row + self.along(cells, cells, real_TGK[:, None, :, None, None])
        return row + self.network(row)
