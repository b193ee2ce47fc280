"""A plain network over columns padded to a fixed width."""

from __future__ import annotations

from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, cat, nn

from metamine.encoders.base import Encoder
from metamine.encoders.layers import mlp
from metamine.encoders.subsets import column_order, dealt, dealt_mask, mean_over_subsets
from metamine.episode import Support


class MLP(Encoder):
    """Multi-layer perceptron on the columns, zero-padded to `max_features`.

    Inputs are scaled by sqrt(max_features / columns), so that narrow and wide tables arrive with
    the same norm (cf. Hollmann et al. 2023, "TabPFN", section 4), beside a flag for each missing
    cell. A table wider than `max_features` is read in several subsets of its columns, and the
    embeddings averaged. The order of columns matters to this encoder.

    max_features: columns read at once.
    hidden: width of the hidden layers; depth: how many there are.
    width: of the embedding.
    layer_norm: normalise the hidden layers (never across rows).
    """

    max_features: int
    any_column_order = False

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

    def forward(self, support: Support, x: Float[Tensor, "T N F"] | None) -> Float[Tensor, "T N D"]:
        x = support.x if x is None else x
        size = self.max_features
        order_TF = column_order(support, size)
        real_TGK = dealt_mask(support, order_TF, size)
        missing_TNGK = dealt(x.isnan().to(x), order_TF, size)
        x_TNGK = dealt(x.nan_to_num(), order_TF, size)
        columns_TG1 = real_TGK.sum(dim=-1, keepdim=True)
        scale_TG1 = (size / columns_TG1.clamp(min=1)).sqrt()
        z_TNGD = self.last(self.net(cat([x_TNGK * scale_TG1[:, None], missing_TNGK], dim=-1)))
        return mean_over_subsets(z_TNGD, real_TGK)
