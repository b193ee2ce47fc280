"""Tables wider than a network reads, as several subsets of their columns."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metamine.episode import Support

GOLDEN = 0.6180339887498949  # its multiples, modulo 1, fill [0, 1) evenly


def column_order(support: Support, size: int) -> Int64[Tensor, "T F"]:
    """The order in which columns are dealt into subsets of `size`: real ones first.

    Tables that fit into one subset keep theirs. Wider ones are shuffled, the same way for every
    table, since neighbouring columns tend to say the same.
    """
    n_features = support.x.shape[2]
    place_F = torch.arange(n_features, device=support.x.device, dtype=torch.float64)
    wide_T1 = support.feature_mask.sum(dim=1, keepdim=True) > size
    key_TF = torch.where(wide_T1, (place_F * GOLDEN).frac(), place_F / n_features)
    return key_TF.masked_fill(~support.feature_mask, 2.0).argsort(dim=1)


def dealt(
    values: Float[Tensor, "T N F"], order_TF: Int64[Tensor, "T F"], size: int
) -> Float[Tensor, "T N G K"]:
    """Columns in the given order, dealt into G subsets of K = `size`; the last is filled with 0."""
    ordered = values.gather(2, order_TF[:, None].expand_as(values))
    short = -values.shape[-1] % size
    return F.pad(ordered, (0, short)).unflatten(-1, (-1, size))


def dealt_mask(
    support: Support, order_TF: Int64[Tensor, "T F"], size: int
) -> Bool[Tensor, "T G K"]:
    """Which columns of the subsets are real."""
    return dealt(support.feature_mask.to(support.x)[:, None], order_TF, size)[:, 0] > 0


def mean_over_subsets(
    values: Float[Tensor, "T N G D"], real_TGK: Bool[Tensor, "T G K"]
) -> Float[Tensor, "T N D"]:
    """The mean over subsets that hold a column; narrow tables beside wide ones have empty ones."""
    filled_TG1 = real_TGK.any(dim=-1).to(values)[..., None]
    share_TG1 = filled_TG1 / filled_TG1.sum(dim=1, keepdim=True).clamp(min=1)
    return (values * share_TG1[:, None]).sum(dim=2)
