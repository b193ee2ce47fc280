"""Meta-features from moments: the shapes of columns, and how they hang together."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metamine.episode import Support
from metamine.methods.baseline.base import complete


def statistical(support: Support) -> dict[str, Float[Tensor, " T"]]:
    """Of the numeric columns with a cell that is not missing; see `meta_features.STATISTICAL`."""
    seen_TSF = ~support.x.isnan()
    numeric_TF = support.feature_mask & ~support.categorical & seen_TSF.any(dim=1)
    mean_TF, deviation_TSF, shapes = moments(complete(support.x, support), seen_TSF)
    told = {}
    for name, value_TF in {"means": mean_TF, **shapes}.items():
        told[f"mean_of_{name}"], told[f"sd_of_{name}"] = _mean_and_sd(value_TF, numeric_TF)
    unit_TSF = _unit(deviation_TSF) * numeric_TF[:, None]
    told["rms_correlation"] = _rms_correlation(unit_TSF)
    if support.kind == "regression":
        y_TS1 = support.y[..., None].double()
        _, deviation_TS1, of_target = moments(y_TS1, torch.ones_like(y_TS1, dtype=torch.bool))
        explained_TF = (unit_TSF * _unit(deviation_TS1)).sum(dim=1).square()
        told |= {f"target_{name}": of_target[name][:, 0] for name in ("skewness", "kurtosis")}
    else:
        member_TSC = support.member_TSC.double()
        sum_TCF = member_TSC.mT @ unit_TSF
        count_TC1 = member_TSC.sum(dim=1)[..., None].clamp(min=1)
        explained_TF = (sum_TCF.square() / count_TC1).sum(dim=1)
    told["mean_explained"], _ = _mean_and_sd(explained_TF, numeric_TF)
    told["max_explained"] = explained_TF.amax(dim=1)
    return told


def moments(
    x_TSF: Float[Tensor, "T S F"], seen_TSF: Bool[Tensor, "T S F"]
) -> tuple[Float[Tensor, "T F"], Float[Tensor, "T S F"], dict[str, Float[Tensor, "T F"]]]:
    """Means, deviations from them (0 where missing), and sds, skewness and excess kurtosis.

    Over the cells that are seen, by the plain averages of powers. A constant column has no shape:
    0 for all three.
    """
    count_TF = seen_TSF.sum(dim=1).clamp(min=1)
    mean_TF = x_TSF.where(seen_TSF, 0.0).sum(dim=1) / count_TF
    deviation_TSF = (x_TSF - mean_TF[:, None]).where(seen_TSF, 0.0)
    # Rounding leaves a constant column with deviations of this order.
    tiny_TF = 1e-12 * mean_TF.abs().clamp(min=1e-12)
    deviation_TSF = deviation_TSF.where(deviation_TSF.abs() > tiny_TF[:, None], 0.0)
    second, third, fourth = (deviation_TSF.pow(k).sum(dim=1) / count_TF for k in (2, 3, 4))
    varies_TF = second > 0
    scale_TF = second.where(varies_TF, 1.0)
    shapes = {
        "sds": second.sqrt(),
        "skewness": third / scale_TF**1.5,
        "kurtosis": (fourth / scale_TF**2 - 3).where(varies_TF, 0.0),
    }
    return mean_TF, deviation_TSF, shapes


def _mean_and_sd(
    value_TF: Float[Tensor, "T F"], member_TF: Bool[Tensor, "T F"]
) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
    """Over the columns that are members; 0 without any."""
    share_TF = member_TF / member_TF.sum(dim=1, keepdim=True).clamp(min=1).double()
    mean_T1 = (value_TF * share_TF).sum(dim=1, keepdim=True)
    return mean_T1[:, 0], ((value_TF - mean_T1).square() * share_TF).sum(dim=1).sqrt()


def _unit(deviation_TSF: Float[Tensor, "T S F"]) -> Float[Tensor, "T S F"]:
    """Columns of length 1, so that inner products are correlations; constant ones stay 0."""
    square_T1F = deviation_TSF.square().sum(dim=1, keepdim=True)
    return deviation_TSF * square_T1F.where(square_T1F > 0, 1.0).rsqrt()


def _rms_correlation(unit_TSF: Float[Tensor, "T S F"]) -> Float[Tensor, " T"]:
    """By way of the S x S inner products, which have the same sum of squares as the F x F."""
    n_varying_T = unit_TSF.square().sum(dim=(1, 2))
    squares_T = (unit_TSF @ unit_TSF.mT).square().sum(dim=(1, 2)) - n_varying_T
    return (squares_T / (n_varying_T * (n_varying_T - 1)).clamp(min=1)).clamp(min=0).sqrt()
