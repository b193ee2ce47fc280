"""Whole tasks as vectors, learned."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamine.encoders.layers import mlp
from metamine.encoders.ranks import ranks
from metamine.episode import Support


class Dataset2Vec(nn.Module):
    """Hadi Jomaa, Lars Schmidt-Thieme, Josif Grabocka: "Dataset2Vec: Learning Dataset
    Meta-Features" (2021), equation 5.

    A task of N rows with columns x_f and responses y_c (classes, one-hot; or the target) is a set
    of columns and responses, and each of these pairs a set of rows:

        d = h(pool_fc g(pool_n f(x_nf, rank_nf, y_nc), about_f)),    pool v = mean (v, v^2)

    Beyond the paper, whose pools are means and whose f sees x and y alone: squares, and the rank of
    a cell in its column, tell spread and ties; about_f is the share of missing cells and whether
    the column is categorical. Plain meta-features know these, and tell tables apart by them.

    Rows, columns and classes may come in any order and number. Missing cells are left out of the
    pool over rows, columns without any cell and classes without any row out of that over pairs.

    hidden: width of f, g and h; width: of d.
    """

    def __init__(self, hidden: PositiveInt, width: PositiveInt) -> None:
        super().__init__()
        self.width = width
        self.row = mlp(3, hidden, hidden, layer_norm=True)  # f
        self.pair = mlp(2 * hidden + 2, hidden, hidden, layer_norm=True)  # g
        self.task = mlp(2 * hidden, hidden, width, layer_norm=True)  # h

    def forward(self, support: Support) -> Float[Tensor, "T D"]:
        real_TF = support.feature_mask
        seen_TSF = ~support.x.isnan() & real_TF[:, None]
        share_TSF = seen_TSF.to(support.x) / seen_TSF.sum(dim=1, keepdim=True).clamp(min=1)
        cell_TSF2 = torch.stack([support.x.nan_to_num(), ranks(support.x, support.x)], dim=-1)
        if support.kind == "regression":
            rows_TFH = self._rows(cell_TSF2, support.y[..., None], share_TSF).sum(dim=1)
            rows_TCFH, present_TC = rows_TFH[:, None], real_TF.any(dim=1, keepdim=True)
        else:
            # One-hot responses have two values, so f is needed for two, not for each class.
            others_TSFH, own_TSFH = (
                self._rows(cell_TSF2, support.x.new_full((), label), share_TSF)
                for label in (0.0, 1.0)
            )
            member_TSC, present_TC = support.member_TSC.to(support.x), support.present_TC
            rows_TCFH = torch.einsum("tsc,tsfh->tcfh", member_TSC, own_TSFH - others_TSFH)
            rows_TCFH = rows_TCFH + others_TSFH.sum(dim=1)[:, None]
        about_TF2 = torch.stack([1 - seen_TSF.to(support.x).mean(dim=1), support.categorical], -1)
        about_TCF2 = about_TF2[:, None].expand(-1, rows_TCFH.shape[1], -1, -1)
        v_TCFH = _with_square(self.pair(torch.cat([rows_TCFH, about_TCF2], dim=-1)))
        pair_TCF = (present_TC[..., None] & seen_TSF.any(dim=1)[:, None]).to(v_TCFH)
        share_TCF = pair_TCF / pair_TCF.sum(dim=(1, 2), keepdim=True).clamp(min=1)
        return self.task((v_TCFH * share_TCF[..., None]).sum(dim=(1, 2)))

    def _rows(self, cell_TSF2: Tensor, y: Tensor, share_TSF: Tensor) -> Float[Tensor, "T S F H"]:
        """f of every cell and its square, times its share in the mean over rows."""
        y_TSF1 = y.expand(cell_TSF2.shape[:-1])[..., None]
        return _with_square(self.row(torch.cat([cell_TSF2, y_TSF1], -1))) * share_TSF[..., None]


def _with_square(v: Float[Tensor, "*N H"]) -> Float[Tensor, "*N 2*H"]:
    return torch.cat([v, v.square()], dim=-1)
