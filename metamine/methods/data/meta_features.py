"""d(t): numbers that describe a task, whatever its columns and classes.

The usual kinds (Rivolli et al., "Meta-features for meta-learning", 2022): simple, statistical,
information-theoretic, and landmarks. All from the support rows alone, for all tasks at once.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from metamine.episode import Support
from metamine.methods.data.information import information
from metamine.methods.data.landmarks import landmarks
from metamine.methods.data.moments import statistical

Features = dict[str, Float[Tensor, " T"]]

SIMPLE = (
    "log_rows",
    "log_columns",
    "log_classes",
    "log_rows_per_column",
    "log_rows_per_class",
    "smallest_class",  # share of the rows
    "largest_class",
    "share_categorical",  # of the columns
    "share_missing",  # of the cells
)
STATISTICAL = (  # mean and standard deviation over the numeric columns
    "mean_of_means",
    "sd_of_means",
    "mean_of_sds",
    "sd_of_sds",
    "mean_of_skewness",
    "sd_of_skewness",
    "mean_of_kurtosis",
    "sd_of_kurtosis",
    "rms_correlation",  # root of the mean square, over pairs of columns
    "mean_explained",  # share of a column's variance that the target explains
    "max_explained",
    "target_skewness",
    "target_kurtosis",
)
INFORMATION = (  # in nats; numeric columns and targets cut into quarters
    "target_entropy",
    "mean_column_entropy",
    "mean_mutual_information",
    "max_mutual_information",
    "mean_uncertainty_coefficient",
)
LANDMARKS = (  # leave-one-out: accuracy, or the share of the variance that is explained
    "one_nearest_neighbour",
    "nearest_centroid",
    "diagonal_lda",
    "ridge",
    "best_column",
    "mean_column",
)
NAMES = (*SIMPLE, *STATISTICAL, *INFORMATION, *LANDMARKS)


@torch.no_grad()
def meta_features(support: Support) -> Float[Tensor, "T K"]:
    """d(t), in the order of NAMES; 0 where one does not apply or is not defined."""
    nothing_T = torch.zeros(support.n_tasks, dtype=torch.float64, device=support.x.device)
    told = simple(support) | statistical(support) | information(support) | landmarks(support)
    return torch.stack([told.get(name, nothing_T) for name in NAMES], dim=1).to(support.x)


def simple(support: Support) -> Features:
    """How large the table is, and what it is made of."""
    real_TF = support.feature_mask
    n_columns_T = real_TF.sum(dim=1).double()
    n_rows = support.x.shape[1]
    missing_T = (support.x.isnan() & real_TF[:, None]).sum(dim=(1, 2))
    told = {
        "log_rows": torch.full_like(n_columns_T, math.log(n_rows)),
        "log_columns": n_columns_T.log(),
        "log_rows_per_column": math.log(n_rows) - n_columns_T.log(),
        "share_categorical": (support.categorical & real_TF).sum(dim=1) / n_columns_T,
        "share_missing": missing_T / (n_columns_T * n_rows),
    }
    if support.kind == "classification":
        share_TC = support.member_TSC.double().mean(dim=1)
        n_classes_T = support.present_TC.sum(dim=1).double()
        told |= {
            "log_classes": n_classes_T.log(),
            "log_rows_per_class": math.log(n_rows) - n_classes_T.log(),
            "smallest_class": share_TC.where(support.present_TC, 1.0).amin(dim=1),
            "largest_class": share_TC.amax(dim=1),
        }
    return told
