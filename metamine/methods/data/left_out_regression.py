"""Skills of quick regressions on rows left out one at a time, in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from metamine.episode import Support

ALPHA = 10.0  # of ridge regression


def regression(
    x_TSF: Float[Tensor, "T S F"], support: Support
) -> tuple[dict[str, Float[Tensor, " T"]], Float[Tensor, "T F"]]:
    """1 - squared error / that of the mean, at least -1; of each column, that of a straight line.

    A linear fit with hat matrix H errs on a row that it was not shown by e / (1 - H_ii), where e is
    what it leaves of that row when shown it.
    """
    n_rows = x_TSF.shape[1]
    y_TS1 = support.y.double()[..., None]
    y_TS1 = y_TS1 - y_TS1.mean(dim=1, keepdim=True)
    x_TSF = x_TSF - x_TSF.mean(dim=1, keepdim=True)
    of_mean_T1 = y_TS1.square().sum(dim=1) * (n_rows / max(n_rows - 1, 1)) ** 2

    def skill(error_TSK: Tensor) -> Tensor:
        ratio_TK = error_TSK.square().sum(dim=1) / of_mean_T1.where(of_mean_T1 > 0, 1.0)
        return (1 - ratio_TK).clamp(min=-1).where(of_mean_T1 > 0, 0.0)

    def left_out(error_TSK: Tensor, leverage_TSK: Tensor) -> Tensor:
        return error_TSK / (1 - leverage_TSK).clamp(min=1e-9)

    nearest_TS1 = distances_to_others(x_TSF).argmin(dim=2, keepdim=True)
    kernel_TSS = x_TSF @ x_TSF.mT
    identity_SS = torch.eye(n_rows, dtype=x_TSF.dtype, device=x_TSF.device)
    hat_TSS = torch.linalg.solve_ex(kernel_TSS + ALPHA * identity_SS, kernel_TSS).result
    leverage_TS1 = hat_TSS.diagonal(dim1=1, dim2=2)[..., None] + 1 / n_rows
    told = {
        "one_nearest_neighbour": skill(y_TS1 - y_TS1.gather(1, nearest_TS1))[:, 0],
        "ridge": skill(left_out(y_TS1 - hat_TSS @ y_TS1, leverage_TS1))[:, 0],
    }
    square_T1F = x_TSF.square().sum(dim=1, keepdim=True)
    varies_T1F = square_T1F > 1e-12
    square_T1F = square_T1F.where(varies_T1F, 1.0)
    slope_T1F = (x_TSF * y_TS1).sum(dim=1, keepdim=True) / square_T1F * varies_T1F
    leverage_TSF = x_TSF.square() / square_T1F * varies_T1F + 1 / n_rows
    return told, skill(left_out(y_TS1 - slope_T1F * x_TSF, leverage_TSF))


def distances_to_others(x_TSF: Float[Tensor, "T S F"]) -> Float[Tensor, "T S S"]:
    """Infinite from a row to itself."""
    itself_SS = torch.eye(x_TSF.shape[1], dtype=torch.bool, device=x_TSF.device)
    distance_TSS = torch.cdist(x_TSF, x_TSF, compute_mode="donot_use_mm_for_euclid_dist")
    return distance_TSS.masked_fill(itself_SS, torch.inf)
