"""FLAT: a graph attention network over the columns, its weights generated for the task."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamine.encoders.layers import mlp
from metamine.episode import Kind, Support
from metamine.methods.base import Method, only_present
from metamine.methods.model.graph_attention import GeneratedAttention


class FLAT(Method):
    """Max Zhu, Katarzyna Kobalczyk, Andrija Petrovic, Mladen Nikolic, Mihaela van der Schaar, Boris
    Delibasic, Pietro Lio: "Tabular Few-Shot Generalization Across Heterogeneous Feature Spaces"
    (2023), section 3.

    A row is a graph whose nodes are its columns, each joined to all. What the support shows of a
    column tells nodes apart, what it shows of the table generates the network that reads them:

        m_ci = mean over rows n of class c of f(x_ni)    a class, seen in one column
        v_ci = k(m_ci, mean_c m_ci)
        e_i  = p(mean_c v_ci),    d = h(mean_i g(mean_c v_ci))    a column, the table
        z_i  = GAT(x_i, e_i; W(d))
        logit_c = sum_i <w(v_ci, d), z_i> / sqrt(columns)

    The paper pools f(x, y) over all rows, with y in {0, 1}, and multiplies sum_i z_i by two rows of
    weights made from d alone. Here cells are pooled class by class and every class gets its weights
    from what was seen of it, column by column: so there may be any number of classes, under any
    names. A node also keeps its own value beside what it attends to, without which columns are
    blurred into each other and learning is slow. The GAT's weights are normalised to a learned
    length, as in the authors' code.

    hidden: width of f, k, g, h and p; column: of e.
    width: of z and of the GAT's layers; heads: of its attention; layers: how many.

    Good for tables of any width and few rows: adapts in one pass, without gradients.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def __init__(
        self,
        hidden: PositiveInt,
        column: PositiveInt,
        width: PositiveInt,
        heads: PositiveInt,
        layers: PositiveInt,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width ({width}) must be a multiple of heads ({heads})")
        self.cell = mlp(3, hidden, hidden)  # f
        self.klass = mlp(2 * hidden + 1, hidden, hidden)  # k
        self.column = mlp(2 * hidden, hidden, column)  # p
        self.part = mlp(2 * hidden, hidden, hidden)  # g
        self.table = mlp(hidden + 1, hidden, hidden)  # h
        self.gat = nn.ModuleList(
            GeneratedAttention(hidden, width if layer else column + 2, width, heads)
            for layer in range(layers)
        )
        # w: without a last bias, which would be the same for all classes.
        self.head = nn.Sequential(
            mlp(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, width, False)
        )

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        seen_TCFH, column_TFE, table_TH = self._encode(support)
        cells_TQF2 = torch.stack([query_x.nan_to_num(), query_x.isnan().to(query_x)], dim=-1)
        told_TQFE = column_TFE[:, None].expand(*cells_TQF2.shape[:-1], -1)
        z_TQFD = torch.cat([cells_TQF2, told_TQFE], dim=-1)
        for layer in self.gat:
            z_TQFD = layer(z_TQFD, table_TH, support.feature_mask)
        known_TCFH = table_TH[:, None, None].expand_as(seen_TCFH)
        head_TCFD = self.head(torch.cat([seen_TCFH, known_TCFH], dim=-1))
        real_TF = support.feature_mask.to(query_x)
        share_TF = real_TF * real_TF.sum(dim=1, keepdim=True).rsqrt()
        head_TCFD = head_TCFD * share_TF[:, None, :, None]
        return only_present(z_TQFD.flatten(2) @ head_TCFD.flatten(2).mT, support)

    def _encode(
        self, support: Support
    ) -> tuple[Float[Tensor, "T C F H"], Float[Tensor, "T F E"], Float[Tensor, "T H"]]:
        """v, e and d: what the support shows of classes in columns, of columns, of the table."""
        x_TSF = support.x
        categorical_TSF = support.categorical.to(x_TSF)[:, None].expand_as(x_TSF)
        cell_TSF3 = torch.stack(
            [x_TSF.nan_to_num(), x_TSF.isnan().to(x_TSF), categorical_TSF], dim=-1
        )
        member_TSC = support.member_TSC.to(x_TSF)
        count_TC = member_TSC.sum(dim=1)
        share_TSC = member_TSC / count_TC.clamp(min=1)[:, None]
        class_TCFH = torch.einsum("tsc,tsfh->tcfh", share_TSC, self.cell(cell_TSF3))
        mean_TFH = _mean(class_TCFH, support.present_TC)
        rows_TCF1 = count_TC.log1p()[..., None, None].expand(-1, -1, x_TSF.shape[2], 1)
        all_TCFH = mean_TFH[:, None].expand_as(class_TCFH)
        seen_TCFH = self.klass(torch.cat([class_TCFH, all_TCFH, rows_TCF1], dim=-1))
        told_TFH = torch.cat([_mean(seen_TCFH, support.present_TC), mean_TFH], dim=-1)
        n_columns_T1 = support.feature_mask.sum(dim=1, keepdim=True).to(x_TSF)
        table_TH = _mean(self.part(told_TFH), support.feature_mask)
        table_TH = self.table(torch.cat([table_TH, n_columns_T1.log()], dim=-1))
        return seen_TCFH, self.column(told_TFH), table_TH


def _mean(
    values: Float[Tensor, "T N ... H"], member: Bool[Tensor, "T N"]
) -> Float[Tensor, "T ... H"]:
    """The mean over the members along axis 1."""
    share = member.to(values) / member.sum(dim=1, keepdim=True)
    return torch.einsum("tn,tn...->t...", share, values)
