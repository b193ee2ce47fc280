"""Attentive neural processes."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.encoders.layers import mlp
from metamine.episode import Support
from metamine.methods.metric.class_means import class_means
from metamine.methods.model.neural_process import (
    Columns,
    Decoder,
    NeuralProcess,
    Rows,
    overall_mean,
)


class ANP(NeuralProcess):
    """Hyunjik Kim, Andriy Mnih, Jonathan Schwarz, Marta Garnelo, Ali Eslami, Dan Rosenbaum, Oriol
    Vinyals, Yee Whye Teh: "Attentive Neural Processes" (2019), section 3, deterministic path.

    A conditional neural process underfits, since every query row reads the same mean of the
    support. Here each attends to the support rows that are like it:

        r_i = h(x_i, y_i),    r_q = sum_i softmax_i(<key(x_q), key(x_i)> / sqrt(D)) value(r_i)
        regression:       y ~ N(mean, sigma^2),    (mean, sigma) = g(x_q, r_q, mean_i r_i)
        classification:   logit_c = g(x_q, r_qc, mean_c r_c),    attending to rows of class c only

    The latent path is left out, and the mean of r_i takes its place in g: a latent variable makes
    several query rows agree in a draw, where answers here are one row at a time, and their
    likelihood stays exact. Self-attention among the support is left to the encoder: `transformer`
    has it. x is the encoder's embedding; where that keeps columns apart, all networks read each by
    itself, and what they make of them is summed up in <., .> and after the first layer of g.

    encoder: of x, in h, in the keys and in g.
    hidden: width of h, of g, and of all heads together.
    heads: of the attention.
    least_sigma: what sigma stays above.

    Good where a CNP is too smooth; a cost that grows with S * Q, hardly felt at a few hundred rows.
    """

    def __init__(
        self,
        encoder: Encoder,
        hidden: PositiveInt,
        heads: PositiveInt,
        least_sigma: Annotated[float, Field(gt=0, lt=1)],
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"hidden ({hidden}) must be a multiple of heads ({heads})")
        self.encoder = Columns(encoder)
        self.rows = Rows(self.encoder.width, hidden)
        self.key = mlp(self.encoder.width, hidden, hidden)
        self.value = mlp(hidden, hidden)
        self.decoder = Decoder(self.encoder.width, hidden)
        self.heads, self.least_sigma = heads, least_sigma

    def outputs(
        self, support: Support, query_x: Float[Tensor, "T Q F"]
    ) -> Float[Tensor, "T Q C 2"]:
        z_TSKD, z_TQKD = self.encoder(support, None), self.encoder(support, query_x)
        r_TSKH = self.rows(z_TSKD, support)
        overall_TKH = overall_mean(class_means(r_TSKH, support), support)
        r_TQCKH = self._attend(z_TQKD, z_TSKD, r_TSKH, support)
        return self.decoder(z_TQKD, r_TQCKH, overall_TKH, self.encoder.share(support))

    def _attend(
        self,
        z_TQKD: Float[Tensor, "T Q K D"],
        z_TSKD: Float[Tensor, "T S K D"],
        r_TSKH: Float[Tensor, "T S K H"],
        support: Support,
    ) -> Float[Tensor, "T Q C K H"]:
        """r_qc: what each query row reads of each class. A: heads; X: a head's width, times K."""
        share_TK1 = self.encoder.share(support)[..., None]
        query_TAQX, key_TASX, value_TASX = (
            each.unflatten(-1, (self.heads, -1)).movedim(3, 1).flatten(3)
            for each in (
                self.key(z_TQKD) * share_TK1[:, None],
                self.key(z_TSKD) * share_TK1[:, None],
                self.value(r_TSKH),
            )
        )
        size = r_TSKH.shape[-1] // self.heads
        score_TCAQS = (query_TAQX @ key_TASX.mT / size**0.5)[:, None]
        if support.kind == "classification":
            # Not -inf, of which a class without rows would make NaN.
            lowest = torch.finfo(score_TCAQS.dtype).min
            others_TC11S = ~support.member_TSC.mT[:, :, None, None]
            score_TCAQS = score_TCAQS.masked_fill(others_TC11S, lowest)
        read_TCAQX = score_TCAQS.softmax(dim=-1) @ value_TASX[:, None]
        return read_TCAQX.unflatten(-1, (-1, size)).permute(0, 3, 1, 4, 2, 5).flatten(4)
