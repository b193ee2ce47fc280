"""Linear discriminant analysis with a Ledoit-Wolf covariance."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import Baseline, majority, one_class
from metamine.methods.baseline.geometry import class_mean_weights, inner_products, n_columns

SMALLEST = 1e-8  # keeps Sigma invertible where a class only repeats its rows


class ShrinkageLDA(Baseline):
    """`log p(c | q) = log pi_c + <q, m_c> - <m_c, m_c> / 2 + const`, `<u, v> = u' Sigma^-1 v`.

    `Sigma = (1 - s) R'R / S + s mu I`, R the residuals of the support rows from their class means,
    mu their mean variance, s the intensity of Ledoit & Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices" (2004), as `sklearn.covariance.ledoit_wolf(R)` has it.

    Residuals are pooled before shrinking. `LinearDiscriminantAnalysis(shrinkage="auto")` shrinks
    each class by itself, and from two rows in each finds s = 0 and a singular covariance: pooling
    is as accurate from three rows a class on, and far better at two.

    Falls back without a class of two rows, since there is no covariance then, and with one class.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def falls_back(self, support: Support) -> Bool[Tensor, " T"]:
        return one_class(support) | (support.present_TC.sum(dim=1) >= support.y.shape[1])

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        weight_TSC = class_mean_weights(support)
        product_TSS = inner_products(support.x, support)
        identity_SS = torch.eye(support.y.shape[1], dtype=torch.float64, device=support.x.device)
        residual_TSS = identity_SS - weight_TSC @ support.member_TSC.mT.double()  # R = residual x
        scatter_TSS = residual_TSS @ product_TSS @ residual_TSS  # RR'
        mu_T, s_T = ledoit_wolf(scatter_TSS, n_columns(support))
        ridge_T11, data_T11 = (s_T * mu_T)[:, None, None], (1 - s_T)[:, None, None]

        # Sigma^-1 = [I - (1 - s) R' (s mu S I + (1 - s) RR')^-1 R] / (s mu)  (Woodbury), so that
        # Sigma^-1 m_c is a sum of support rows: those of m_c itself, less some residuals.
        mean_TSC = product_TSS @ weight_TSC  # <support row, m_c>
        inner_TSS = ridge_T11 * len(identity_SS) * identity_SS + data_T11 * scatter_TSS
        explained_TSC = torch.linalg.solve_ex(inner_TSS, residual_TSS @ mean_TSC).result
        dual_TSC = (weight_TSC - data_T11 * residual_TSS @ explained_TSC) / ridge_T11
        square_TC = (mean_TSC * dual_TSC).sum(dim=1)
        score_TQC = inner_products(query_x, support) @ dual_TSC - square_TC[:, None] / 2
        return score_TQC + majority(support)


def ledoit_wolf(
    scatter_TSS: Float[Tensor, "T S S"], n_columns_T: Float[Tensor, " T"]
) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
    """Mean variance mu and shrinkage s (Lemma 3.2 and section 3.3) of S centred rows.

    scatter_TSS: inner products of the rows, which is all of them that the estimate needs.
    """
    n_rows = scatter_TSS.shape[1]
    square_TS = scatter_TSS.diagonal(dim1=1, dim2=2)
    frobenius_T = scatter_TSS.square().sum(dim=(1, 2)) / n_rows**2  # ||R'R / S||^2
    mu_T = square_TS.sum(dim=1) / (n_rows * n_columns_T)
    error_T = (square_TS.square().mean(dim=1) - frobenius_T) / n_rows  # p b^2
    spread_T = frobenius_T - n_columns_T * mu_T.square()  # p d^2
    s_T = torch.where(spread_T > 0, error_T / spread_T, 1.0)  # one column: nothing to shrink
    return mu_T.clamp(min=SMALLEST), s_T.clamp(SMALLEST, 1.0)
