"""The mean of each class's support rows."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from metamine.episode import Support


def class_means(z: Float[Tensor, "T S ..."], support: Support) -> Float[Tensor, "T C ..."]:
    """c_k, the mean of z_i over y_i = k; 0 for a class without rows. Regression: of all rows."""
    if support.kind == "regression":
        return z.mean(dim=1, keepdim=True)
    member_TSC = support.member_TSC.to(z)
    share_TSC = member_TSC / member_TSC.sum(dim=1, keepdim=True).clamp(min=1)
    return (share_TSC.mT @ z.flatten(2)).unflatten(2, z.shape[2:])
