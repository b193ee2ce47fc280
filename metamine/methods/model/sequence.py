"""Layers along a sequence of rows, which look back only.

Both take the support rows and all query rows at once: each query row stands right after the
support, as if it were alone there, so that the support rows are computed once for all.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from metamine.encoders.layers import Linear


class Convolution(nn.Module):
    """Gated, over a row and that `back` rows before; before the first row there are zeros."""

    def __init__(self, n_in: int, n_out: int, back: int) -> None:
        super().__init__()
        self.back = back
        self.before, self.now = Linear(n_in, 2 * n_out, bias=False), Linear(n_in, 2 * n_out)

    def forward(self, h_TNH: Float[Tensor, "T N H"], n_support: int) -> Float[Tensor, "T N G"]:
        before_TPG = F.pad(self.before(h_TNH[:, :n_support]), (0, 0, self.back, 0))
        place_N = torch.arange(h_TNH.shape[1], device=h_TNH.device).clamp(max=n_support)
        value_TNG, gate_TNG = (before_TPG[:, place_N] + self.now(h_TNH)).chunk(2, dim=-1)
        return value_TNG.tanh() * gate_TNG.sigmoid()


class CausalAttention(nn.Module):
    """By a single head, to the rows before and the row itself."""

    def __init__(self, n_in: int, keys: int, values: int) -> None:
        super().__init__()
        self.query, self.key = Linear(n_in, keys), Linear(n_in, keys)
        self.value = Linear(n_in, values)

    def forward(self, h_TNH: Float[Tensor, "T N H"], n_support: int) -> Float[Tensor, "T N G"]:
        query_TNK, key_TNK, value_TNG = self.query(h_TNH), self.key(h_TNH), self.value(h_TNH)
        place_N = torch.arange(h_TNH.shape[1], device=h_TNH.device)
        not_before_NS = place_N[:, None] <= place_N[:n_support]
        others_TNS = (query_TNK @ key_TNK[:, :n_support].mT).masked_fill(not_before_NS, -torch.inf)
        itself_TN1 = (query_TNK * key_TNK).sum(dim=-1, keepdim=True)
        score_TNX = torch.cat([others_TNS, itself_TN1], dim=-1) / query_TNK.shape[-1] ** 0.5
        weight_TNX = score_TNX.softmax(dim=-1)
        return weight_TNX[..., :-1] @ value_TNG[:, :n_support] + weight_TNX[..., -1:] * value_TNG
