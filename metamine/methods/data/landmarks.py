"""Meta-features from landmarks: how well quick learners do on rows left out one at a time.

Pfahringer, Bensusan & Giraud-Carrier, "Meta-Learning by Landmarking Various Learning Algorithms"
(2000). No learner is fitted S times: taking a row out of a mean, a variance or a linear fit has a
closed form. Categories count by their codes, missing cells as the column's mean.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from metamine.episode import Support
from metamine.methods.baseline.base import complete
from metamine.methods.data.left_out_classification import classification
from metamine.methods.data.left_out_regression import regression


def landmarks(support: Support) -> dict[str, Float[Tensor, " T"]]:
    """See `meta_features.LANDMARKS`."""
    x_TSF = complete(support.x, support)
    of_kind = regression if support.kind == "regression" else classification
    told, column_TF = of_kind(x_TSF, support)
    real_TF = support.feature_mask
    return told | {
        "best_column": column_TF.masked_fill(~real_TF, -torch.inf).amax(dim=1),
        "mean_column": (column_TF * real_TF).sum(dim=1) / real_TF.sum(dim=1),
    }
