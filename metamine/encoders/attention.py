"""Multi-head attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from metamine.encoders.layers import Linear


class Attention(nn.Module):
    """Scaled dot products, and one more key that is 0, so that attending to nothing is possible.

    Plain matrix products: PyTorch's fused attention cannot be differentiated twice.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = Linear(width, width), Linear(width, width, bias=False)
        self.value, self.out = Linear(width, width), Linear(width, width)

    def forward(
        self,
        tokens: Float[Tensor, "... N D"],
        seen: Float[Tensor, "... M D"],
        allowed: Bool[Tensor, "... M"] | None,
    ) -> Float[Tensor, "... N D"]:
        """Tokens attend to what is seen; `allowed` (..., heads, N, M) says to which of it."""
        query, key, value = (
            net(each).unflatten(-1, (self.heads, -1)).transpose(-2, -3)
            for net, each in ((self.query, tokens), (self.key, seen), (self.value, seen))
        )
        score = query @ key.mT / query.shape[-1] ** 0.5
        if allowed is not None:
            score = score.masked_fill(~allowed, -torch.inf)
        weight = F.pad(score, (0, 1)).softmax(dim=-1)[..., :-1]
        return self.out((weight @ value).transpose(-2, -3).flatten(-2))
