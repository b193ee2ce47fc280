"""Row embeddings of a fixed width from any encoder."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.encoders.layers import mlp
from metamine.episode import Support


class Pooled(nn.Module):
    """For methods whose networks need to know how wide an embedding is.

    Where an encoder keeps columns apart, their parts are read by one network and averaged (deep
    sets); other encoders' embeddings are passed on as they are.
    """

    def __init__(self, encoder: Encoder, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = width if encoder.per_column else encoder.width
        self.part = mlp(encoder.width, width, width) if encoder.per_column else None

    def forward(self, support: Support, x: Float[Tensor, "T N F"] | None) -> Float[Tensor, "T N D"]:
        z_TND = self.encoder(support, x)
        if self.part is None:
            return z_TND
        part_TNFD = self.part(z_TND.unflatten(-1, (-1, self.encoder.width)))
        real_TF = support.feature_mask.to(z_TND)
        share_TF = real_TF / real_TF.sum(dim=1, keepdim=True)
        return (part_TNFD * share_TF[:, None, :, None]).sum(dim=2)
