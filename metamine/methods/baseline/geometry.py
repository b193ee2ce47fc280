"""Rows as points in space: numeric columns as they are, categorical columns one-hot.

The one-hot columns are never built, so that their number may differ from task to task: the inner
product of two one-hot rows is the number of categorical columns in which they show the same level,
and their distance is known from the others. Missing is a level of its own.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from metamine.episode import Support
from metamine.methods.baseline.base import complete

MISSING_LEVEL = 1e6  # no standardised code is as large


def inner_products(x_TNF: Float[Tensor, "T N F"], support: Support) -> Float[Tensor, "T N S"]:
    """Of each row with each support row."""
    n_categorical_T11 = support.categorical.sum(dim=1)[:, None, None]
    numeric_TNS = numbers(x_TNF, support) @ numbers(support.x, support).mT
    return numeric_TNS + n_categorical_T11 - _mismatches(x_TNF, support)


def distances(x_TNF: Float[Tensor, "T N F"], support: Support, p: float) -> Float[Tensor, "T N S"]:
    """Minkowski distances of order `p`; two different levels are two one-hot columns apart."""
    numeric_TNS = torch.cdist(
        numbers(x_TNF, support),
        numbers(support.x, support),
        p=p,
        compute_mode="donot_use_mm_for_euclid_dist",  # a row must be at distance 0 from itself
    )
    return (numeric_TNS**p + 2 * _mismatches(x_TNF, support)) ** (1 / p)


def numbers(x_TNF: Float[Tensor, "T N F"], support: Support) -> Float[Tensor, "T N F"]:
    """The numeric columns without gaps; 0 in the categorical ones."""
    return complete(x_TNF, support).masked_fill(support.categorical[:, None], 0.0)


def n_columns(support: Support) -> Float[Tensor, " T"]:
    """Columns of the space: the numeric ones, and one for each level that the support shows."""
    code_TSF = _codes(support.x, support).sort(dim=1).values
    n_levels_TF = (code_TSF.diff(dim=1) != 0).sum(dim=1) + 1
    return (n_levels_TF.where(support.categorical, 1) * support.feature_mask).sum(dim=1).double()


def class_mean_weights(support: Support) -> Float[Tensor, "T S C"]:
    """Weights of support rows in the mean of each class; 0 for classes without rows."""
    member_TSC = support.member_TSC.double()
    return member_TSC / member_TSC.sum(dim=1, keepdim=True).clamp(min=1)


def centroid_scores(query_x: Float[Tensor, "T Q F"], support: Support) -> Float[Tensor, "T Q C"]:
    """`-||q - m_c||^2 / 2 + ||q||^2 / 2 = <q, m_c> - ||m_c||^2 / 2`, m_c the mean of class c."""
    weight_TSC = class_mean_weights(support)
    mean_TSC = inner_products(support.x, support) @ weight_TSC  # <support row, m_c>
    square_TC = (mean_TSC * weight_TSC).sum(dim=1)
    return inner_products(query_x, support) @ weight_TSC - square_TC[:, None] / 2


def centred(
    product_TNS: Float[Tensor, "T N S"], product_TSS: Float[Tensor, "T S S"]
) -> Float[Tensor, "T N S"]:
    """Inner products after moving the origin to the mean of the support rows."""
    return (
        product_TNS
        - product_TNS.mean(dim=2, keepdim=True)
        - product_TSS.mean(dim=1, keepdim=True)
        + product_TSS.mean(dim=(1, 2), keepdim=True)
    )


def _mismatches(x_TNF: Float[Tensor, "T N F"], support: Support) -> Float[Tensor, "T N S"]:
    """In how many categorical columns two rows show different levels."""
    return torch.cdist(_codes(x_TNF, support), _codes(support.x, support), p=0.0)


def _codes(x_TNF: Float[Tensor, "T N F"], support: Support) -> Float[Tensor, "T N F"]:
    return x_TNF.where(support.categorical[:, None], 0.0).nan_to_num(nan=MISSING_LEVEL)
