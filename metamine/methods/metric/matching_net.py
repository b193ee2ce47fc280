"""Matching networks."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.encoders.pooled import Pooled
from metamine.episode import Kind, Support
from metamine.methods.base import Method, only_present
from metamine.methods.votes import votes


class MatchingNet(Method):
    """Oriol Vinyals, Charles Blundell, Timothy Lillicrap, Koray Kavukcuoglu, Daan Wierstra:
    "Matching Networks for One Shot Learning" (2016), equation 1 and section 2.1.

    A query row takes the label of the support rows that it attends to:

        p(y = k | x) = sum of a(x, x_i) over y_i = k,    a = softmax_i(s cos(f(x), g(x_i)))

    In full context, an LSTM reads the support K times before f answers (equations 3 to 6):

        h', c = LSTM([f'(x), r], h, c),    h = h' + f'(x)
        r     = sum_i softmax_i(h . g'(x_i)) g'(x_i)

    The paper has no scale s; without it no probability nears 1. It reads the support for g with a
    bidirectional LSTM, whose answers depend on the order of rows; here g reads it with the LSTM
    of f.

    encoder: f' and g'.
    full_context: let f and g read the support; otherwise they are f' and g'.
    reads: K.
    width: of f' and g' in full context, if the encoder keeps columns apart.

    Good for classes that are no single blob; as cheap as ProtoNet.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def __init__(
        self, encoder: Encoder, full_context: bool, reads: PositiveInt, width: PositiveInt
    ) -> None:
        super().__init__()
        self.encoder = Pooled(encoder, width) if full_context else encoder
        self.reader = _Reader(self.encoder.width, reads) if full_context else None
        self.log_scale = nn.Parameter(torch.tensor(math.log(10)))

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        z_TSD, z_TQD = self.encoder(support, None), self.encoder(support, query_x)
        if self.reader is not None:
            z_TSD, z_TQD = self.reader(z_TSD, z_TSD), self.reader(z_TQD, z_TSD)
        cosine_TQS = F.normalize(z_TQD, dim=-1) @ F.normalize(z_TSD, dim=-1).mT
        return only_present(votes(self.log_scale.exp() * cosine_TQS, support), support)


class _Reader(nn.Module):
    """attLSTM: embeddings after K looks at the support's."""

    def __init__(self, width: int, reads: int) -> None:
        super().__init__()
        self.reads = reads
        self.cell = nn.LSTMCell(2 * width, width)

    def forward(
        self, z_TND: Float[Tensor, "T N D"], seen_TSD: Float[Tensor, "T S D"]
    ) -> Float[Tensor, "T N D"]:
        h_TND, c_ND = z_TND, torch.zeros_like(z_TND).flatten(0, 1)
        for _ in range(self.reads):
            read_TND = (h_TND @ seen_TSD.mT).softmax(dim=-1) @ seen_TSD
            told_ND = torch.cat([z_TND, read_TND], dim=-1).flatten(0, 1)
            h_ND, c_ND = self.cell(told_ND, (h_TND.flatten(0, 1), c_ND))
            h_TND = h_ND.view_as(z_TND) + z_TND
        return h_TND
