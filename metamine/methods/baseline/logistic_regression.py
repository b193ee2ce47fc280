"""Multinomial logistic regression with an L2 penalty."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field, PositiveInt
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import Baseline, one_class
from metamine.methods.baseline.geometry import centred, inner_products

# The intercept is the weight of one more column, this large (squared): as good as unpunished.
INTERCEPT = 1e6
STEP_LENGTHS = (1.0, 0.5, 0.25, 0.125, 0.03, 0.0)  # of a Newton step
ROUNDING = 1e-10  # a loss this much above another is the same


class LogisticRegression(Baseline):
    """Least `-sum_i log softmax(W x_i + b)_{y_i} + ||W||^2 / (2 C)`, by Newton's method.

    The minimum has `W = A'X`: rows of A (S x classes) weigh support rows, so that all one needs is
    their inner products K, and the fit costs no more for many columns. With `P = softmax(KA)`,
    `D_c = diag(P_c)`, `G = Y - P - A / C` the step U solves
    `(D_c K + I / C) U_c = G_c + D_c v`, `v = sum_c D_c K U_c`
    (Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, section 3.5: the same
    problem as the mode of a Gaussian process).

    Equals `sklearn.linear_model.LogisticRegression`, which for two classes has one weight vector
    instead of two opposite ones: the same as a penalty twice as large. Falls back with one class.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def __init__(self, c: Annotated[float, Field(gt=0)], newton_steps: PositiveInt) -> None:
        super().__init__()
        self.c, self.newton_steps = c, newton_steps

    def falls_back(self, support: Support) -> Bool[Tensor, " T"]:
        return one_class(support)

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        raw_TSS = inner_products(support.x, support)
        kernel_TSS = centred(raw_TSS, raw_TSS) + INTERCEPT
        two_classes_T = support.present_TC.sum(dim=1) == 2
        penalty_T11 = torch.where(two_classes_T, 2.0, 1.0).double()[:, None, None] / self.c
        dual_TSC = torch.zeros_like(support.member_TSC, dtype=torch.float64)
        for _ in range(self.newton_steps):
            step_TSC = _newton_step(dual_TSC, kernel_TSS, penalty_T11, support)
            dual_TSC = _damped(dual_TSC, step_TSC, kernel_TSS, penalty_T11, support)
        query_TQS = centred(inner_products(query_x, support), raw_TSS) + INTERCEPT
        return query_TQS @ dual_TSC


def _newton_step(
    dual_TSC: Tensor, kernel_TSS: Tensor, penalty_T11: Tensor, support: Support
) -> Float[Tensor, "T S C"]:
    chance_TSC = _masked(kernel_TSS @ dual_TSC, support).softmax(dim=2)
    gradient_TSC = support.member_TSC.double() - chance_TSC - penalty_T11 * dual_TSC
    chance_TCS1 = chance_TSC.mT[..., None]
    identity_SS = torch.eye(kernel_TSS.shape[1], dtype=torch.float64, device=kernel_TSS.device)
    system_TCSS = chance_TCS1 * kernel_TSS[:, None] + penalty_T11[..., None] * identity_SS
    right_TCSN = torch.cat([chance_TCS1 * identity_SS, gradient_TSC.mT[..., None]], dim=3)
    solved_TCSN = torch.linalg.solve_ex(system_TCSS, right_TCSN).result
    slope_TCSS, start_TCS = solved_TCSN[..., :-1], solved_TCSN[..., -1]  # U_c = start + slope v
    # Both G and D_c K U_c - D_c v sum to 0 over the classes, hence so does U: that gives v.
    v_TS = torch.linalg.solve_ex(slope_TCSS.sum(dim=1), -start_TCS.sum(dim=1)[..., None]).result
    return (start_TCS + (slope_TCSS @ v_TS[:, None])[..., 0]).mT


def _damped(
    dual_TSC: Tensor, step_TSC: Tensor, kernel_TSS: Tensor, penalty_T11: Tensor, support: Support
) -> Float[Tensor, "T S C"]:
    """Newton's method overshoots where classes are far apart: the longest harmless step."""
    length_L = torch.tensor(STEP_LENGTHS, dtype=torch.float64, device=dual_TSC.device)
    tried_LTSC = dual_TSC + length_L[:, None, None, None] * step_TSC
    logit_LTSC = kernel_TSS @ tried_LTSC
    fit_LTSC = _masked(logit_LTSC, support).log_softmax(dim=3)
    data_LT = -fit_LTSC.where(support.member_TSC, 0.0).sum(dim=(2, 3))
    weights_LT = (penalty_T11 * tried_LTSC * logit_LTSC).sum(dim=(2, 3)) / 2
    loss_LT = data_LT + weights_LT
    first_T = (loss_LT <= loss_LT[-1] + ROUNDING).int().argmax(dim=0)
    return dual_TSC + length_L[first_T][:, None, None] * step_TSC


def _masked(logits: Float[Tensor, "... T S C"], support: Support) -> Float[Tensor, "... T S C"]:
    """Classes without support rows get no part of the probability."""
    return logits.masked_fill(~support.present_TC[:, None], -torch.inf)
