"""Diagonal linear discriminant analysis with shrunk variances."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import Baseline, majority
from metamine.methods.baseline.geometry import centroid_scores, class_mean_weights, numbers


class DiagonalLDA(Baseline):
    """Gaussian classes that share a variance per column, shrunk towards 1 when rows are few.

    `log p(c | q) = log pi_c - sum_f (q_f - m_cf)^2 / (2 v_f) + const`, `v = a s^2 + (1 - a)`,
    `a = S / (S + prior_rows)`, with pi_c the class frequencies and s^2 the pooled within-class
    variance (S - C degrees of freedom). One-hot columns keep variance 1.
    Dudoit, Fridlyand & Speed, "Comparison of discrimination methods for the classification of
    tumors using gene expression data" (JASA 2002), there without the shrinkage.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def __init__(self, prior_rows: Annotated[float, Field(ge=0)]) -> None:
        super().__init__()
        self.prior_rows = prior_rows

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        n_rows = support.y.shape[1]
        x_TSF = numbers(support.x, support)
        mean_TCF = class_mean_weights(support).mT @ x_TSF
        residual_TSF = x_TSF - support.member_TSC.double() @ mean_TCF
        freedom_T1 = (n_rows - support.present_TC.sum(dim=1, keepdim=True)).clamp(min=1)
        variance_TF = residual_TSF.square().sum(dim=1) / freedom_T1
        trust = n_rows / (n_rows + self.prior_rows)
        shrunk_TF = (trust * variance_TF + (1 - trust)).clamp(min=torch.finfo(x_TSF.dtype).tiny)
        scale_T1F = shrunk_TF.rsqrt().masked_fill(support.categorical, 1.0)[:, None]
        scaled = replace(support, x=support.x * scale_T1F)
        return centroid_scores(query_x * scale_T1F, scaled) + majority(support)
