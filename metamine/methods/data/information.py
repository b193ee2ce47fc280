"""Meta-features from information theory: what a column tells about the target, in nats."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metamine.episode import Support

PARTS = 4  # that numeric columns and targets are cut into, of equally many rows


def information(support: Support) -> dict[str, Float[Tensor, " T"]]:
    """See `meta_features.INFORMATION`; categorical columns keep their levels, missing is another.

    Plain frequencies are put into the formulas, which with few rows finds more information than
    there is; in every table alike.
    """
    real_TF = support.feature_mask
    level_TFS = levels(support.x, support.categorical)
    if support.kind == "regression":
        y_TS1 = support.y[..., None]
        target_T1S = levels(y_TS1, torch.zeros_like(y_TS1[:, 0], dtype=torch.bool))
    else:
        target_T1S = support.y[:, None]
    n_targets = max(support.way, PARTS)
    column_TF, target_T1 = entropy(level_TFS), entropy(target_T1S)
    joint_TF = entropy((level_TFS + 1) * n_targets + target_T1S)
    mutual_TF = (column_TF + target_T1 - joint_TF).clamp(min=0) * real_TF
    share_TF = real_TF / real_TF.sum(dim=1, keepdim=True).double()
    mean_mutual_T = (mutual_TF * share_TF).sum(dim=1)
    target_T = target_T1[:, 0]
    return {
        "target_entropy": target_T,
        "mean_column_entropy": (column_TF * share_TF).sum(dim=1),
        "mean_mutual_information": mean_mutual_T,
        "max_mutual_information": mutual_TF.amax(dim=1),
        "mean_uncertainty_coefficient": mean_mutual_T / target_T.where(target_T > 0, 1.0),
    }


def levels(
    x_TSF: Float[Tensor, "T S F"], categorical_TF: Bool[Tensor, "T F"]
) -> Int64[Tensor, "T F S"]:
    """Equal numbers for cells of the same level: of one category, of one part of a numeric column.

    Parts are cut by the share of cells that are smaller, so that equal cells are never torn apart.
    Missing cells are at -1.
    """
    x_TFS = x_TSF.mT.contiguous()
    missing_TFS = x_TFS.isnan()
    ascending_TFS = x_TFS.masked_fill(missing_TFS, torch.inf).sort(dim=-1).values
    n_below_TFS = torch.searchsorted(ascending_TFS, x_TFS.nan_to_num())
    n_seen_TF1 = (~missing_TFS).sum(dim=-1, keepdim=True).clamp(min=1)
    part_TFS = (PARTS * n_below_TFS).div(n_seen_TF1, rounding_mode="floor")
    level_TFS = n_below_TFS.where(categorical_TF[..., None], part_TFS)
    return level_TFS.masked_fill(missing_TFS, -1)


def entropy(level_TFS: Int64[Tensor, "T F S"]) -> Float[Tensor, "T F"]:
    """Of the frequencies of the levels in each column: the mean over cells of -log frequency."""
    level_TFS = level_TFS.contiguous()
    ascending_TFS = level_TFS.sort(dim=-1).values
    first_TFS, last_TFS = (
        torch.searchsorted(ascending_TFS, level_TFS, right=right) for right in (False, True)
    )
    return -((last_TFS - first_TFS).double() / level_TFS.shape[-1]).log().mean(dim=-1)
