"""Relation networks."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.encoders.layers import mlp
from metamine.episode import Kind, Support
from metamine.methods.base import Method, only_present
from metamine.methods.metric.class_means import class_means


class RelationNet(Method):
    """Flood Sung, Yongxin Yang, Li Zhang, Tao Xiang, Philip Torr, Timothy Hospedales: "Learning to
    Compare: Relation Network for Few-Shot Learning" (2018), equation 1.

    Instead of a distance, a network says how well a row and a class go together:

        r_k = g([c_k, f(x)]),    c_k = mean of f(x_i) over y_i = k,    p(y = k | x) = softmax_k(r_k)

    The paper adds up a class's rows, which few shots and many would have to share; it trains r
    towards 0 and 1 by squared error, where cross-entropy learns faster. Where the encoder keeps
    columns apart, g reads each column by itself and averages before its last layers.

    encoder: f.
    hidden: width of g.

    Good for embeddings that no plain distance fits; two to three times the cost of ProtoNet.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def __init__(self, encoder: Encoder, hidden: PositiveInt) -> None:
        super().__init__()
        self.encoder = encoder
        self.compare = mlp(2 * encoder.width, hidden, hidden)
        self.relation = mlp(hidden, hidden, 1)

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        c_TCD = class_means(self.encoder(support, None), support)
        c_TCFK, z_TQFK = self._columns(c_TCD), self._columns(self.encoder(support, query_x))
        real_TF = support.feature_mask.to(z_TQFK)
        if not self.encoder.per_column:
            real_TF = torch.ones_like(real_TF[:, :1])
        root_T1 = real_TF.sum(dim=1, keepdim=True).sqrt()
        # As large as each column is without the encoder's 1 / sqrt(columns); so is their sum.
        c_TCFK, z_TQFK = (each * root_T1[..., None, None] for each in (c_TCFK, z_TQFK))
        pair_TQCFK = torch.cat(
            [
                c_TCFK[:, None].expand(-1, z_TQFK.shape[1], -1, -1, -1),
                z_TQFK[:, :, None].expand(-1, -1, c_TCFK.shape[1], -1, -1),
            ],
            dim=-1,
        )
        pair_TQCH = torch.einsum("tqcfh,tf->tqch", self.compare(pair_TQCFK), real_TF / root_T1)
        return only_present(self.relation(pair_TQCH)[..., 0], support)

    def _columns(self, z_TND: Float[Tensor, "T N D"]) -> Float[Tensor, "T N F K"]:
        """The embedding of each column; of one, where the encoder does not keep them apart."""
        return z_TND.unflatten(-1, (-1, self.encoder.width))
