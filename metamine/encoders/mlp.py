"""A plain network over columns padded to a fixed width."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, cat, nn

from metamine.encoders.base import Encoder
from metamine.encoders.layers import mlp
from metamine.episode import Support


class MLP(Encoder):
    """Multi-layer perceptron on the columns, zero-padded to `max_features`.

    Inputs are scaled by sqrt(max_features / columns), so that narrow and wide tables arrive with
    the same norm (cf. Hollmann et al. 2023, "TabPFN", section 4), beside a flag for each missing
    cell. A table wider than `max_features` is read that many columns at a time, and the embeddings
    averaged. The order of columns matters to this encoder.

    max_features: columns read at once.
    hidden: width of the hidden layers; depth: how many there are.
    width: of the embedding.
    layer_norm: normalise the hidden layers (never across rows).
    """

    def __init__(
        self,
        max_features: PositiveInt,
        hidden: PositiveInt,
        depth: NonNegativeInt,
        width: PositiveInt,
        layer_norm: bool,
    ) -> None:
        super().__init__()
        self.max_features, self.width = max_features, width
        self.net = mlp(2 * max_features, *[hidden] * depth, width, layer_norm=layer_norm)
        self.last = nn.ReLU() if depth else nn.Identity()

    def forward(self, support: Support, x: Float[Tensor, "T N F"]) -> Float[Tensor, "T N D"]:
        missing_TNGK = self._grouped(x.isnan().to(x))
        x_TNGK = self._grouped(x.nan_to_num())
        columns_TGK = self._grouped(support.feature_mask.to(x))
        columns_TG1 = columns_TGK.sum(dim=-1, keepdim=True)
        scale_TG1 = (self.max_features / columns_TG1.clamp(min=1)).sqrt()
        z_TNGD = self.last(self.net(cat([x_TNGK * scale_TG1[:, None], missing_TNGK], dim=-1)))
        real_TG1 = (columns_TG1 > 0).to(x)  # narrow tables beside wide ones have empty groups
        share_TG1 = real_TG1 / real_TG1.sum(dim=1, keepdim=True).clamp(min=1)
        return (z_TNGD * share_TG1[:, None]).sum(dim=2)

    def _grouped(self, values: Float[Tensor, "... F"]) -> Float[Tensor, "... G K"]:
        short = -values.shape[-1] % self.max_features
        return F.pad(values, (0, short)).unflatten(-1, (-1, self.max_features))
