"""Accuracies of quick classifiers on rows left out one at a time, in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from metamine.episode import Support
from metamine.methods.data.left_out_regression import distances_to_others

PRIOR_ROWS = 10.0  # by which diagonal LDA shrinks variances towards 1
TIE = 1e-9  # costs that are no further apart are equal, but for rounding


def classification(
    x_TSF: Float[Tensor, "T S F"], support: Support
) -> tuple[dict[str, Float[Tensor, " T"]], Float[Tensor, "T F"]]:
    """Accuracies; of each column, that of its nearest class mean. A tie between classes is wrong.

    A row alone in its class cannot be right.
    """
    member_TSC = support.member_TSC.double()
    count_TC = member_TSC.sum(dim=1)
    mean_TCF = member_TSC.mT @ x_TSF / count_TC.clamp(min=1)[..., None]
    n_others_TS = (member_TSC @ count_TC[..., None])[..., 0] - 1  # rows of one's own class
    residual_TSF = x_TSF - member_TSC @ mean_TCF
    alone_TS = n_others_TS == 0
    n_own_TS1 = (n_others_TS + 1)[..., None]
    # Without the row x, the mean m of its class lies n / (n - 1) (x - m) away from it.
    stretch_TS1 = (n_own_TS1 / (n_own_TS1 - 1)).masked_fill(alone_TS[..., None], 0.0)

    def accuracy(cost_TSC: Tensor) -> Tensor:
        own_TS = (cost_TSC * member_TSC).sum(dim=2).masked_fill(alone_TS, torch.inf)
        other_TSC = ~support.member_TSC & support.present_TC[:, None]
        least_TS = cost_TSC.masked_fill(~other_TSC, torch.inf).amin(dim=2)
        return (own_TS + TIE < least_TS).double().mean(dim=1)

    def squares_from_means(weight_TSF: Tensor) -> Tensor:
        """Weighted squared distances of rows from the means of classes without them."""
        cost_TSC = (x_TSF.square() * weight_TSF).sum(dim=2, keepdim=True)
        cost_TSC = cost_TSC - 2 * (x_TSF * weight_TSF) @ mean_TCF.mT
        cost_TSC = cost_TSC + weight_TSF @ mean_TCF.square().mT
        own_TS1 = (residual_TSF.square() * weight_TSF).sum(dim=2, keepdim=True)
        return torch.where(support.member_TSC, own_TS1 * stretch_TS1.square(), cost_TSC)

    # Diagonal LDA: the within-class sums of squares lose n / (n - 1) (x - m)^2 with the row.
    n_left = x_TSF.shape[1] - 1
    square_TSF = residual_TSF.square()
    within_TSF = square_TSF.sum(dim=1, keepdim=True) - square_TSF * stretch_TS1
    n_classes_TS1 = (support.present_TC.sum(dim=1)[:, None] - alone_TS.long())[..., None]
    trust = n_left / (n_left + PRIOR_ROWS)
    variance_TSF = trust * within_TSF / (n_left - n_classes_TS1).clamp(min=1) + (1 - trust)
    prior_TSC = (count_TC[:, None] - member_TSC).clamp(min=1).log()
    told = {
        "one_nearest_neighbour": _one_nearest_neighbour(x_TSF, support),
        "nearest_centroid": accuracy(squares_from_means(torch.ones_like(x_TSF))),
        "diagonal_lda": accuracy(squares_from_means(variance_TSF.reciprocal()) / 2 - prior_TSC),
    }
    least_TSF = torch.full_like(x_TSF, torch.inf)
    for c in range(support.way):  # rather than a tensor with both classes and columns
        other_TS1 = ~support.member_TSC[..., c, None] & support.present_TC[:, c, None, None]
        distance_TSF = (x_TSF - mean_TCF[:, None, c]).abs()
        least_TSF = least_TSF.minimum(distance_TSF.masked_fill(~other_TS1, torch.inf))
    own_TSF = (residual_TSF.abs() * stretch_TS1).masked_fill(alone_TS[..., None], torch.inf)
    return told, (own_TSF + TIE < least_TSF).double().mean(dim=1)


def _one_nearest_neighbour(x_TSF: Float[Tensor, "T S F"], support: Support) -> Float[Tensor, " T"]:
    distance_TSS = distances_to_others(x_TSF)
    same_TSS = support.y[:, :, None] == support.y[:, None]
    own_TS, other_TS = (
        distance_TSS.masked_fill(~each_TSS, torch.inf).amin(dim=2)
        for each_TSS in (same_TSS, ~same_TSS)
    )
    return (own_TS + TIE < other_TS).double().mean(dim=1)
