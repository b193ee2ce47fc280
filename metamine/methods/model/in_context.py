"""In-context transformer."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from metamine.encoders.attention import Attention
from metamine.encoders.base import Encoder
from metamine.encoders.layers import LayerNorm, Linear, mlp
from metamine.encoders.pooled import Pooled
from metamine.episode import Support
from metamine.methods.base import Method, only_present
from metamine.methods.votes import votes


class InContext(Method):
    """Samuel Müller, Noah Hollmann, Sebastian Pineda Arango, Josif Grabocka, Frank Hutter:
    "Transformers Can Do Bayesian Inference" (2022), section 4.

    A transformer reads the labelled rows and answers for the others at once. Trained on tables from
    a prior, what minimises its loss is the posterior predictive distribution (a prior-fitted
    network):

        z_i = f(x_i) + v(y_i) of a support row,    z = f(x) of a query row
        z <- z + attention(z, z_1 ... z_S),    z <- z + mlp(z)    in each block, for all rows
        p(y = k | x) = sum of a_i over y_i = k,    a = softmax_i(s cos(k(z), k(z_i)))

    Query rows attend to the support only, so that one answer does not depend on the other queries.
    The paper has an output for each class; here classes are told by a vote over the support rows,
    so there may be any number. v is a vector for each of `max_classes` (beyond, classes share), or
    linear in a regression's target, whose answer is a number: the mean of the predictive
    distribution, which the squared error asks for. Blocks begin as the identity and labels as
    almost nothing, so that training sets out from the vote of the rows that f finds alike; from a
    random start, nothing is learned for long.

    encoder: f.
    width: of z; heads: of the attention; depth: blocks.
    max_classes: label vectors.

    Good for what its training tasks resemble, if there are many of them; answers in one pass.
    """

    any_class_names: ClassVar[bool] = False

    def __init__(
        self,
        encoder: Encoder,
        width: PositiveInt,
        heads: PositiveInt,
        depth: PositiveInt,
        max_classes: Annotated[int, Field(ge=2)],
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width ({width}) must be a multiple of heads ({heads})")
        self.encoder = Pooled(encoder, width)
        self.row = Linear(self.encoder.width, width)
        self.klass, self.target = Linear(max_classes, width, bias=False), Linear(1, width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.last = LayerNorm(width)
        self.key = Linear(width, width, bias=False)
        self.answer = mlp(width, width, 1)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10)))  # of s
        nn.init.normal_(self.klass.weight, std=0.02)

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        z_TSD, z_TQD = (self.row(self.encoder(support, x)) for x in (None, query_x))
        # What all rows share tells none apart, and may be far larger than what does.
        centre_T1D = z_TSD.mean(dim=1, keepdim=True)
        z_TSD, z_TQD = z_TSD - centre_T1D, z_TQD - centre_T1D
        size_T11 = z_TSD.square().mean(dim=(1, 2), keepdim=True).clamp(min=1e-12).sqrt()
        z_TSD, z_TQD = z_TSD / size_T11 + self._labels(support), z_TQD / size_T11
        for block in self.blocks:
            z_TQD, z_TSD = block(z_TQD, z_TSD), block(z_TSD, z_TSD)
        z_TQD, z_TSD = self.last(z_TQD), self.last(z_TSD)
        if support.kind == "regression":
            return self.answer(z_TQD)
        key_TQD, key_TSD = (F.normalize(self.key(z), dim=-1) for z in (z_TQD, z_TSD))
        return only_present(votes(self.log_scale.exp() * key_TQD @ key_TSD.mT, support), support)

    def _labels(self, support: Support) -> Float[Tensor, "T S D"]:
        if support.kind == "regression":
            return self.target(support.y[..., None])
        n_vectors = self.klass.in_features
        return self.klass(F.one_hot(support.y % n_vectors, n_vectors).to(support.x))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attend, self.norm = Attention(width, heads), LayerNorm(width)
        change = mlp(width, 2 * width, width)
        self.network = nn.Sequential(LayerNorm(width), change)
        nn.init.zeros_(self.attend.out.weight)
        nn.init.zeros_(change[-1].get_parameter("weight"))

    def forward(
        self, row_TND: Float[Tensor, "T N D"], seen_TSD: Float[Tensor, "T S D"]
    ) -> Float[Tensor, "T N D"]:
        row_TND = row_TND + self.attend(self.norm(row_TND), self.norm(seen_TSD), None)
        return row_TND + self.network(row_TND)
