"""A transformer over the cells of labelled and unlabelled rows."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from metamine.encoders.layers import LayerNorm, Linear, mlp
from metamine.encoders.ranks import ranks
from metamine.encoders.subsets import column_order, dealt, dealt_mask, mean_over_subsets
from metamine.encoders.transformer import FAR
from metamine.episode import Support
from metamine.methods.base import Method, only_present

APART = 3.0  # standard deviations; cells further from each other are as unlike as cells get
SAME = 1e-4  # standard deviations; closer cells hold the same value


class CellTransformer(Method):
    """Noah Hollmann, Samuel Müller, Lennart Purucker, Arjun Krishnakumar, Max Körfer, Shi Bin Hoo,
    Robin Tibor Schirrmeister, Frank Hutter: "Accurate predictions on small data with a tabular
    foundation model" (2025), figure 1.

    A prior-fitted network that reads a table cell by cell:

        z_if = e(x_if) + v(y_i)        of a labelled row i, in every cell; u for v of other rows
        z <- z + down(z)               a cell attends to its column's cells in the labelled rows
        z <- z + along(z)              a cell attends to the cells of its row
        z <- z + mlp(z)                all three in each block
        p(y = k | x) = softmax_k(q(z_x) . mean of k(z_i) over y_i = k),    z_i = mean of z_if over f

    e reads a cell's value, its rank among the labelled rows', and whether it is missing or a
    category. Unlike in the paper, attention down the column also goes by how far two cells lie
    apart, in value and in rank, and whether they are the same: each head learns how much, so that
    a kernel need not be learned from scratch. Classes are told by the labelled rows that have them,
    so there may be any number. v is a vector for each of `max_classes` (beyond, classes share), or
    linear in a regression's target, whose answer is a number. Blocks begin as the identity.

    Query rows attend to the support only, so that one answer does not depend on the other queries.
    Tables wider than `max_features` are read in subsets of their columns, and rows averaged.

    width: of a token; heads: of the attention; depth: blocks.
    max_features: columns read at once.
    max_classes: label vectors.

    Good for a handful of labelled rows, once trained for long on tables of all kinds.
    """

    any_class_names: ClassVar[bool] = False

    def __init__(
        self,
        width: PositiveInt,
        heads: PositiveInt,
        depth: PositiveInt,
        max_features: PositiveInt,
        max_classes: Annotated[int, Field(ge=2)],
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width ({width}) must be a multiple of heads ({heads})")
        self.max_features = max_features
        self.cell = nn.Sequential(Linear(5, width), nn.GELU(), Linear(width, width))
        self.klass, self.target = Linear(max_classes, width, bias=False), Linear(1, width)
        self.unknown = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.last = LayerNorm(width)
        self.query, self.key = Linear(width, width), Linear(width, width, bias=False)
        self.answer = mlp(width, width, 1)
        nn.init.normal_(self.klass.weight)

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        z_TSD, z_TQD = self._rows(support, query_x)
        if support.kind == "regression":
            return self.answer(z_TQD)
        member_TSC = support.member_TSC.to(z_TSD)
        share_TSC = member_TSC / member_TSC.sum(dim=1, keepdim=True).clamp(min=1)
        class_TCD = share_TSC.mT @ self.key(z_TSD)
        scale = z_TSD.shape[-1] ** -0.5
        return only_present(scale * self.query(z_TQD) @ class_TCD.mT, support)

    def _rows(
        self, support: Support, query_x: Float[Tensor, "T Q F"]
    ) -> tuple[Float[Tensor, "T S D"], Float[Tensor, "T Q D"]]:
        """What is known of each row once all cells have been read."""
        n_support, size = support.x.shape[1], min(self.max_features, support.x.shape[2])
        order_TF = column_order(support, size)
        real_TGK = dealt_mask(support, order_TF, size)
        x_TNF = torch.cat([support.x, query_x], dim=1)
        value_TGKN, rank_TGKN, missing_TGKN, categorical_TGKN = (
            dealt(each, order_TF, size).permute(0, 2, 3, 1)
            for each in (
                x_TNF.nan_to_num().clamp(-FAR, FAR),
                ranks(x_TNF, support.x),
                x_TNF.isnan().to(x_TNF),
                support.categorical.to(x_TNF)[:, None].expand_as(x_TNF),
            )
        )
        root_TGKN = value_TGKN.sign() * value_TGKN.abs().sqrt()
        told = (value_TGKN, rank_TGKN, missing_TGKN, categorical_TGKN, root_TGKN)
        z_TGKND = self.cell(torch.stack(told, dim=-1)) + self._labels(support, x_TNF)
        unlike_TGKNS3 = _unlike(value_TGKN, rank_TGKN, n_support)
        hidden_TGK = torch.zeros_like(real_TGK, dtype=z_TGKND.dtype)
        hidden_TGK = hidden_TGK.masked_fill(~real_TGK, torch.finfo(z_TGKND.dtype).min)
        for block in self.blocks:
            z_TGKND = block(z_TGKND, n_support, unlike_TGKNS3, hidden_TGK)
        share_TGK = real_TGK.to(z_TGKND) / real_TGK.sum(dim=-1, keepdim=True).clamp(min=1)
        z_TNGD = (z_TGKND * share_TGK[..., None, None]).sum(dim=2).transpose(1, 2)
        z_TSD, z_TQD = self.last(mean_over_subsets(z_TNGD, real_TGK)).split(
            [n_support, query_x.shape[1]], dim=1
        )
        return z_TSD, z_TQD

    def _labels(
        self, support: Support, x_TNF: Float[Tensor, "T N F"]
    ) -> Float[Tensor, "T 1 1 N D"]:
        if support.kind == "regression":
            label_TSD = self.target(support.y[..., None])
        else:
            n_vectors = self.klass.in_features
            label_TSD = self.klass(F.one_hot(support.y % n_vectors, n_vectors).to(x_TNF))
        n_query = x_TNF.shape[1] - support.x.shape[1]
        unknown_TQD = self.unknown.expand(support.n_tasks, n_query, -1)
        return torch.cat([label_TSD, unknown_TQD], dim=1)[:, None, None]


def _unlike(value_TGKN: Tensor, rank_TGKN: Tensor, n_support: int) -> Float[Tensor, "T G K N S 3"]:
    """How far each cell lies from the labelled rows' cells of its column."""
    value, rank = (
        (each[..., :, None] - each[..., None, :n_support]).abs() for each in (value_TGKN, rank_TGKN)
    )
    return torch.stack([value.clamp(max=APART), rank, (value < SAME).to(value)], dim=-1)


class _Block(nn.Module):
    """Attention down the column, along the row, then a network on every cell."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_down, self.norm_along = LayerNorm(width), LayerNorm(width)
        self.down, self.along = _Attention(width, heads), _Attention(width, heads)
        self.unlike = Linear(3, heads, bias=False)
        change = Linear(2 * width, width)
        self.network = nn.Sequential(LayerNorm(width), Linear(width, 2 * width), nn.GELU(), change)
        for last in (self.down.out, self.along.out, change):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        nn.init.zeros_(self.unlike.weight)

    def forward(
        self,
        z_TGKND: Float[Tensor, "T G K N D"],
        n_support: int,
        unlike_TGKNS3: Float[Tensor, "T G K N S 3"],
        hidden_TGK: Float[Tensor, "T G K"],
    ) -> Float[Tensor, "T G K N D"]:
        column = self.norm_down(z_TGKND)
        closeness_TGKHNS = self.unlike(unlike_TGKNS3).movedim(-1, -3)
        z_TGKND = z_TGKND + self.down(column, column[..., :n_support, :], closeness_TGKHNS)
        row_TGNKD = self.norm_along(z_TGKND).transpose(2, 3)
        along_TGNKD = self.along(row_TGNKD, row_TGNKD, hidden_TGK[:, :, None, None, None])
        z_TGKND = z_TGKND + along_TGNKD.transpose(2, 3)
        return z_TGKND + self.network(z_TGKND)


class _Attention(nn.Module):
    """Multi-head attention whose scores are added to."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.seen = Linear(width, width), Linear(width, 2 * width)
        self.out = Linear(width, width)

    def forward(
        self,
        tokens: Float[Tensor, "... N D"],
        seen: Float[Tensor, "... M D"],
        bias: Float[Tensor, "*#B #H #N M"],
    ) -> Float[Tensor, "... N D"]:
        query = self.query(tokens).unflatten(-1, (self.heads, -1)).transpose(-2, -3)
        both = self.seen(seen).unflatten(-1, (2 * self.heads, -1)).transpose(-2, -3)
        key, value = both.split(self.heads, dim=-3)
        score = query @ key.mT * query.shape[-1] ** -0.5 + bias
        return self.out((score.softmax(dim=-1) @ value).transpose(-2, -3).flatten(-2))
