"""Each column on its own, read in the light of what the support shows of it."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.encoders.layers import Linear, mlp
from metamine.episode import Support


class Columnwise(Encoder):
    """Sets of cells, of classes and of columns, each pooled by a mean.

    After the attribute embeddings of Iwata & Kumagai 2020, "Meta-learning from Tasks with
    Heterogeneous Attribute Spaces" (equations 1 to 5), with two changes: cells are pooled class by
    class, so that v_i tells how well column i separates the classes whatever their names; and the
    columns of a row are kept apart instead of being averaged, so that wide tables lose nothing:

        m_ci = mean over rows n of class c of f(x_ni, y_n)      a class, seen in one column
        v_i  = g(mean_c h(m_ci, m_i), mean_i m_i)               a column
        z_ni = s(a(v_i)) (x_ni, b(x_ni, v_i)) / sqrt(columns)  a cell

    where s is a softplus that starts at 1. Columns may come in any order, and there may be any
    number: the same networks read them all.

    hidden: width of f, g, h and b; width: numbers per cell in the embedding.
    """

    per_column: ClassVar[bool] = True
    any_column_order = True

    def __init__(self, hidden: PositiveInt, width: PositiveInt) -> None:
        super().__init__()
        self.width = width
        self.cell = mlp(4, hidden, hidden)  # f
        self.klass = mlp(2 * hidden + 1, hidden, hidden)  # h
        self.column = mlp(4 * hidden + 1, hidden, hidden)  # g
        self.weight = Linear(hidden, width)  # a
        self.value = mlp(hidden + 2, hidden, width - 1) if width > 1 else None  # b
        nn.init.zeros_(self.weight.weight)
        nn.init.constant_(self.weight.bias, math.log(math.e - 1))  # softplus of it is 1

    def forward(self, support: Support, x: Float[Tensor, "T N F"] | None) -> Float[Tensor, "T N D"]:
        x = support.x if x is None else x
        column_TFH = self._columns(support)
        missing_TNF1 = x.isnan().to(x)[..., None]
        x_TNF1 = x.nan_to_num()[..., None]
        z_TNFK = x_TNF1
        if self.value is not None:
            told_TNFH = column_TFH[:, None].expand(-1, x.shape[1], -1, -1)
            value = self.value(torch.cat([x_TNF1, missing_TNF1, told_TNFH], dim=-1))
            z_TNFK = torch.cat([x_TNF1, value], dim=-1)
        real_TF1 = support.feature_mask.to(x)[..., None]
        n_columns_T11 = real_TF1.sum(dim=1, keepdim=True)
        weight_TFK = F.softplus(self.weight(column_TFH)) * real_TF1 * n_columns_T11.rsqrt()
        return (z_TNFK * weight_TFK[:, None]).flatten(2)

    def _columns(self, support: Support) -> Float[Tensor, "T F H"]:
        """v: what the support shows of each column."""
        x_TSF = support.x
        if support.kind == "regression":
            member_TSC = torch.ones_like(support.y)[..., None]
            y_TSF = support.y[..., None].expand_as(x_TSF)
        else:
            member_TSC = support.member_TSC.to(x_TSF)
            y_TSF = torch.zeros_like(x_TSF)
        categorical_TSF = support.categorical.to(x_TSF)[:, None].expand_as(x_TSF)
        cell_TSF4 = torch.stack(
            [x_TSF.nan_to_num(), y_TSF, x_TSF.isnan().to(x_TSF), categorical_TSF], dim=-1
        )
        count_TC = member_TSC.sum(dim=1)
        share_TSC = member_TSC / count_TC.clamp(min=1)[:, None]
        class_TCFH = torch.einsum("tsc,tsfh->tcfh", share_TSC, self.cell(cell_TSF4))
        present_TC = (count_TC > 0).to(x_TSF)
        present_TC11 = (present_TC / present_TC.sum(dim=1, keepdim=True))[..., None, None]
        mean_TFH = (class_TCFH * present_TC11).sum(dim=1)
        rows_TC11 = count_TC.log1p()[..., None, None].expand(-1, -1, x_TSF.shape[2], 1)
        seen_TCFH = self.klass(
            torch.cat([class_TCFH, mean_TFH[:, None].expand_as(class_TCFH), rows_TC11], dim=-1)
        )
        told_TFH = torch.cat([(seen_TCFH * present_TC11).sum(dim=1), mean_TFH], dim=-1)
        real_TF1 = support.feature_mask.to(x_TSF)[..., None]
        n_columns_T11 = real_TF1.sum(dim=1, keepdim=True)
        table_T1H = (told_TFH * real_TF1).sum(dim=1, keepdim=True) / n_columns_T11
        return self.column(
            torch.cat(
                [
                    told_TFH,
                    table_T1H.expand_as(told_TFH),
                    n_columns_T11.log().expand(-1, told_TFH.shape[1], 1),
                ],
                dim=-1,
            )
        )
