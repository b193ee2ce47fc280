"""Standardise episodes on their support rows, as one does who has seen nothing else."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from metamine.episode import Episodes

# Standard deviations from few rows are rough: a query further out than this counts as this far.
FURTHEST = 10.0


def standardise(episodes: Episodes, transductive: bool) -> Episodes:
    """Every column to mean 0 and standard deviation 1 over the support rows; NaN stays NaN.

    A column that is constant there becomes 0, in the query too: no label can be told from it.
    Regression targets are scaled likewise, and `target_scale` leads back.

    transductive: take the columns' statistics over support and query rows together, as some
        published protocols do. Targets never are.
    """
    support = episodes.support
    seen_TNF = support.x
    if transductive:
        seen_TNF = torch.cat([support.x, episodes.query_x], dim=1)
    mean_T1F, sd_T1F = _moments(seen_TNF)
    constant_T1F = sd_T1F <= 1e-6 * mean_T1F.abs() + 1e-12
    scale_T1F = torch.where(constant_T1F, torch.zeros_like(sd_T1F), 1 / sd_T1F)

    def scaled(x_TNF: Tensor) -> Tensor:
        return (x_TNF - mean_T1F).mul_(scale_T1F).clamp_(-FURTHEST, FURTHEST)

    support_y, query_y, target_scale = support.y, episodes.query_y, episodes.target_scale
    if support.kind == "regression":
        centre_T1, spread_T1 = _moments(support_y)
        spread_T1 = torch.where(spread_T1 > 1e-6, spread_T1, torch.ones_like(spread_T1))
        support_y, query_y = (support_y - centre_T1) / spread_T1, (query_y - centre_T1) / spread_T1
        target_scale = target_scale * spread_T1[:, 0]
    return Episodes(
        support=replace(support, x=scaled(support.x), y=support_y),
        query_x=scaled(episodes.query_x),
        query_y=query_y,
        target_scale=target_scale,
    )


def _moments(values: Float[Tensor, "T N ..."]) -> tuple[Tensor, Tensor]:
    """Mean and (population) standard deviation along dimension 1, missing values left out."""
    n = values.isnan().logical_not_().sum(dim=1, keepdim=True).clamp_(min=1)
    mean = values.nansum(dim=1, keepdim=True) / n
    return mean, ((values - mean).square_().nansum(dim=1, keepdim=True) / n).sqrt_()
