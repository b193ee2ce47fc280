"""Sets of sets: cells inform columns, columns inform rows, rows inform columns again."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.encoders.layers import mlp
from metamine.episode import Support


class Set(Encoder):
    """Tomoharu Iwata, Atsutoshi Kumagai: "Meta-learning from Tasks with Heterogeneous Attribute
    Spaces" (2020), equations 1 to 5.

    Of N support rows with I attributes x and J responses y (here the classes, one-hot), with one
    network for each f and g:

        v_i = g1(mean_n f1(x_ni)),                        c_j = g2(mean_n f2(y_nj))
        u_n = g3(mean_i f3(v_i, x_ni) + mean_j f4(c_j, y_nj))
        v_i = g5(mean_n f5(u_n, x_ni))
        z_n = g6(mean_i f6(v_i, x_ni))

    z embeds support and query rows alike: it reads the attributes alone, in the light of what the
    support has told about them. The paper embeds the responses c anew as well, for its predictor;
    here methods have their own. Missing cells are left out of every mean. Rows, columns and
    classes may come in any order. f1 also sees whether a column holds categories.

    hidden: width of the networks; width: of the embedding.
    """

    any_column_order = True

    def __init__(self, hidden: PositiveInt, width: PositiveInt) -> None:
        super().__init__()
        self.width = width
        self.attribute = _DeepSet(2, hidden, hidden)  # f1, g1
        self.response = _DeepSet(2, hidden, hidden)  # f2, g2
        self.cell = mlp(hidden + 1, hidden, hidden)  # f3
        self.label = mlp(hidden + 2, hidden, hidden)  # f4
        self.row = mlp(hidden, hidden, hidden)  # g3
        self.attribute_again = _DeepSet(hidden + 1, hidden, hidden)  # f5, g5
        self.embedding = _DeepSet(hidden + 1, hidden, width)  # f6, g6

    def forward(self, support: Support, x: Float[Tensor, "T N F"] | None) -> Float[Tensor, "T N D"]:
        x = support.x if x is None else x
        v_TFH = self._attributes(support)
        return self.embedding(_beside(v_TFH[:, None], _cells(x)), _seen(x, support), dim=2)

    def _attributes(self, support: Support) -> Float[Tensor, "T F H"]:
        """v_i: what the support tells of each column."""
        x_TSF1, seen_TSF = _cells(support.x), _seen(support.x, support)
        categorical_TSF1 = support.categorical.to(x_TSF1)[:, None, :, None].expand_as(x_TSF1)
        v_TFH = self.attribute(torch.cat([x_TSF1, categorical_TSF1], dim=-1), seen_TSF, dim=1)
        y_TSC2, real_TSC = _responses(support)
        c_TCH = self.response(y_TSC2, real_TSC, dim=1)
        of_cells_TSH = _mean(self.cell(_beside(v_TFH[:, None], x_TSF1)), seen_TSF, dim=2)
        of_labels_TSH = _mean(self.label(_beside(c_TCH[:, None], y_TSC2)), real_TSC, dim=2)
        u_TSH = self.row(of_cells_TSH + of_labels_TSH)
        return self.attribute_again(_beside(u_TSH[:, :, None], x_TSF1), seen_TSF, dim=1)


class _DeepSet(nn.Module):
    """g(mean f): a set of any size to one vector."""

    def __init__(self, n_in: int, hidden: int, n_out: int) -> None:
        super().__init__()
        self.element, self.whole = mlp(n_in, hidden, hidden), mlp(hidden, hidden, n_out)

    def forward(self, values: Tensor, member: Bool[Tensor, "T N M"], dim: int) -> Tensor:
        return self.whole(_mean(self.element(values), member, dim))


def _mean(
    values: Float[Tensor, "T N M H"], member: Bool[Tensor, "T N M"], dim: int
) -> Float[Tensor, "T L H"]:
    """The mean along `dim` over the members; 0 where there are none."""
    share = member.to(values) / member.sum(dim=dim, keepdim=True).clamp(min=1)
    return (values * share[..., None]).sum(dim=dim)


def _beside(known: Tensor, values: Float[Tensor, "T N M K"]) -> Float[Tensor, "T N M L"]:
    """A vector, repeated, beside every value."""
    return torch.cat([known.expand(*values.shape[:-1], -1), values], dim=-1)


def _cells(x_TNF: Tensor) -> Float[Tensor, "T N F 1"]:
    return x_TNF.nan_to_num()[..., None]


def _seen(x_TNF: Tensor, support: Support) -> Bool[Tensor, "T N F"]:
    """Which cells are there: neither missing nor padding."""
    return ~x_TNF.isnan() & support.feature_mask[:, None]


def _responses(support: Support) -> tuple[Float[Tensor, "T S C 2"], Bool[Tensor, "T S C"]]:
    """y_nj and the kind of task; and which responses there are: all classes that have a row."""
    if support.kind == "regression":
        y_TSC = support.y[..., None]
        real_TSC = torch.ones_like(y_TSC, dtype=torch.bool)
    else:
        y_TSC = support.member_TSC.to(support.x)
        real_TSC = support.present_TC[:, None].expand_as(support.member_TSC)
    is_class = torch.full_like(y_TSC, float(support.kind == "classification"))
    return torch.stack([y_TSC, is_class], dim=-1), real_TSC
