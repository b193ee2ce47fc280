"""Least squares on the sine and cosine of each column."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import Baseline
from metamine.methods.baseline.geometry import numbers

# Added to the diagonal, so that rows which do not determine the answer have one all the same.
RIDGE = 1e-6


class Sinusoid(Baseline):
    """Least `||y - sum over columns f of a_f sin x_f + b_f cos x_f||^2`.

    Of one column that is every `A sin(x - phase)`: the learner that knows the family of the
    sinusoids of Finn et al. 2017, section 5.1, and finds the one at hand from two rows. Categorical
    columns are not read.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"regression"})

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q 1"]:
        z_TSD = _waves(support.x, support)
        identity_DD = torch.eye(z_TSD.shape[2], dtype=z_TSD.dtype, device=z_TSD.device)
        moment_TD1 = z_TSD.mT @ support.y[..., None].double()
        weight_TD1 = torch.linalg.solve_ex(z_TSD.mT @ z_TSD + RIDGE * identity_DD, moment_TD1)
        return _waves(query_x, support) @ weight_TD1.result


def _waves(x_TNF: Float[Tensor, "T N F"], support: Support) -> Float[Tensor, "T N 2*F"]:
    """Sines, then cosines; 0 for columns that are not read."""
    read_T1F = (support.feature_mask & ~support.categorical)[:, None]
    x_TNF = numbers(x_TNF, support)
    return torch.cat([x_TNF.sin() * read_T1F, x_TNF.cos() * read_T1F], dim=2)
