"""The mean of each class's support rows."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from metamine.episode import Support


def class_means(z_TSD: Float[Tensor, "T S D"], support: Support) -> Float[Tensor, "T C D"]:
    """c_k, the mean of z_i over y_i = k; 0 for a class without rows. Regression: of all rows."""
    if support.kind == "regression":
        return z_TSD.mean(dim=1, keepdim=True)
    member_TSC = support.member_TSC.to(z_TSD)
    share_TSC = member_TSC / member_TSC.sum(dim=1, keepdim=True).clamp(min=1)
    return share_TSC.mT @ z_TSD
