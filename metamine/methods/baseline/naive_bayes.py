"""Gaussian naive Bayes."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import Baseline, complete, majority
from metamine.methods.baseline.geometry import class_mean_weights


class NaiveBayes(Baseline):
    """`log p(c | q) = log pi_c + sum_f log N(q_f; m_cf, v_cf) + const`, categories by their codes.

    `v_cf` is the variance of column f in class c plus `var_smoothing` times the largest variance of
    any column (1 once standardised), as `sklearn.naive_bayes.GaussianNB` has it. Its own choice,
    1e-9, trusts variances of two or three rows.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def __init__(self, var_smoothing: Annotated[float, Field(gt=0)]) -> None:
        super().__init__()
        self.var_smoothing = var_smoothing

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        x_TSF, x_TQF = complete(support.x, support), complete(query_x, support)
        average_TCS = class_mean_weights(support).mT
        mean_TCF = average_TCS @ x_TSF
        residual_TSF = x_TSF - support.member_TSC.double() @ mean_TCF
        largest_T = x_TSF.var(dim=1, correction=0).amax(dim=1)
        smooth_T = (self.var_smoothing * largest_T).clamp(min=torch.finfo(x_TSF.dtype).eps)
        variance_TCF = average_TCS @ residual_TSF.square() + smooth_T[:, None, None]
        # sum_f (q - m)^2 / v, multiplied out: no tensor with both Q and C times F is needed.
        distance_TQC = x_TQF.square() @ variance_TCF.reciprocal().mT
        distance_TQC = distance_TQC - 2 * x_TQF @ (mean_TCF / variance_TCF).mT
        constant_TC = (mean_TCF.square() / variance_TCF + variance_TCF.log()).sum(dim=2)
        return majority(support) - (distance_TQC + constant_TC[:, None]) / 2
