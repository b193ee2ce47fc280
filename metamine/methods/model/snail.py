"""SNAIL: convolutions and attention along the sequence of labelled rows."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.encoders.layers import Linear
from metamine.encoders.pooled import Pooled
from metamine.episode import Support
from metamine.methods.base import Method, only_present
from metamine.methods.model.sequence import CausalAttention, Convolution
from metamine.methods.votes import votes


class SNAIL(Method):
    """Nikhil Mishra, Mostafa Rohaninejad, Xi Chen, Pieter Abbeel: "A Simple Neural Attentive
    Meta-Learner" (2018), section 3.

    A task is a sequence: the support rows with their labels, then a query row without. Layers look
    back only, and each appends what it finds to the numbers h of a row:

        h_t = (f(x_t), v(y_t)) of a support row,    (f(x), 0) of the query row
        convolution, d rows back:  g_t = tanh(A h_(t-d) + B h_t) * sigmoid(C h_(t-d) + D h_t)
        attention:                 g_t = sum over i <= t of softmax_i(<q_t, k_i> / sqrt(K)) v_i
        h_t <- (h_t, g_t)

    with q, k and v linear in h; in order: attention, convolutions with d = 1, 2, 4, ..., attention,
    convolutions, attention.

    The paper reads logits of a fixed number of classes off the query row's h. Here that row votes
    for the labels of the support rows, so that there may be any number:

        p(y = k | x) = sum of a_i over y_i = k,    a = softmax_i(s cos(u(h), u(h_i)))

    v is a vector for each of `max_classes` (beyond, classes share), or linear in a regression's
    target, whose answer is linear in h. The vectors of classes and what u reads of all g begin
    small, so that training sets out from the vote of the rows that f finds alike. The paper has as
    many convolutions as the sequence needs; here their number is given, and what lies further back
    is left to attention.

    encoder: f.
    width: of f, v and u.
    filters: numbers that a convolution appends.
    reach: convolutions between two attentions, the last of them looking back 2^(reach - 1) rows.
    keys: K.
    values: numbers that an attention appends.
    max_classes: label vectors.

    Good where the order of support rows means something; elsewhere it must learn that it does not.
    """

    any_support_order = False
    any_class_names = False

    def __init__(
        self,
        encoder: Encoder,
        width: PositiveInt,
        filters: PositiveInt,
        reach: PositiveInt,
        keys: PositiveInt,
        values: PositiveInt,
        max_classes: Annotated[int, Field(ge=2)],
    ) -> None:
        super().__init__()
        self.encoder = Pooled(encoder, width)
        self.row = Linear(self.encoder.width, width)
        self.klass, self.target = Linear(max_classes, width, bias=False), Linear(1, width)
        back = [2**step for step in range(reach)]
        self.layers = nn.ModuleList()
        n_in = 2 * width
        for d in (None, *back, None, *back, None):
            if d is None:
                self.layers.append(CausalAttention(n_in, keys, values))
            else:
                self.layers.append(Convolution(n_in, filters, d))
            n_in += values if d is None else filters
        self.vote, self.answer = Linear(n_in, width, bias=False), Linear(n_in, 1)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10)))  # of s
        nn.init.normal_(self.klass.weight, std=0.02)
        with torch.no_grad():
            self.vote.weight[:, 2 * width :] *= 0.1

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        n_support = support.y.shape[1]
        z_TND = torch.cat([self.row(self.encoder(support, x)) for x in (None, query_x)], dim=1)
        # What all rows share tells none apart, and may be far larger than what does.
        z_TND = z_TND - z_TND[:, :n_support].mean(dim=1, keepdim=True)
        mean_square_T11 = z_TND[:, :n_support].square().mean(dim=(1, 2), keepdim=True)
        z_TND = z_TND / mean_square_T11.clamp(min=1e-12).sqrt()
        label_TND = F.pad(self._labels(support), (0, 0, 0, query_x.shape[1]))
        h_TNH = torch.cat([z_TND, label_TND], dim=-1)
        for layer in self.layers:
            h_TNH = torch.cat([h_TNH, layer(h_TNH, n_support)], dim=-1)
        if support.kind == "regression":
            return self.answer(h_TNH[:, n_support:])
        u_TND = F.normalize(self.vote(h_TNH), dim=-1)
        cosine_TQS = u_TND[:, n_support:] @ u_TND[:, :n_support].mT
        return only_present(votes(self.log_scale.exp() * cosine_TQS, support), support)

    def _labels(self, support: Support) -> Float[Tensor, "T S D"]:
        if support.kind == "regression":
            return self.target(support.y[..., None])
        n_vectors = self.klass.in_features
        return self.klass(F.one_hot(support.y % n_vectors, n_vectors).to(support.x))
