"""k-means of every task's rows at once."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor


def kmeans(
    x_TNF: Float[Tensor, "T N F"], start_TKF: Float[Tensor, "T K F"], iterations: int
) -> Int64[Tensor, "T N"]:
    """The cluster of each row after so many iterations of Lloyd's algorithm.

    A centre that loses all its rows stays where it is.
    """
    centre_TKF = start_TKF
    for _ in range(iterations):
        member_TNK = _one_hot(nearest(x_TNF, centre_TKF), centre_TKF)
        count_TK1 = member_TNK.sum(dim=1)[..., None]
        mean_TKF = member_TNK.mT @ x_TNF / count_TK1.clamp(min=1)
        centre_TKF = mean_TKF.where(count_TK1 > 0, centre_TKF)
    return nearest(x_TNF, centre_TKF)


def nearest(
    x_TNF: Float[Tensor, "T N F"], centre_TKF: Float[Tensor, "T K F"]
) -> Int64[Tensor, "T N"]:
    """Which centre is the nearest to each row; of several, the first."""
    distance_TNK = centre_TKF.square().sum(dim=-1)[:, None] - 2 * x_TNF @ centre_TKF.mT
    return distance_TNK.argmin(dim=-1)


def _one_hot(index_TN: Tensor, centre_TKF: Tensor) -> Float[Tensor, "T N K"]:
    member_TNK = centre_TKF.new_zeros(*index_TN.shape, centre_TKF.shape[1])
    return member_TNK.scatter(2, index_TN[..., None], 1.0)
