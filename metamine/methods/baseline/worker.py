"""What a worker process does. Imports no torch: a worker starts in half the time."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import sklearn
from jaxtyping import Float


@runtime_checkable
class Estimator(Protocol):
    """Whatever has scikit-learn's methods, a classifier `predict_proba` besides."""

    def fit(self, X: Any, y: Any) -> Any: ...
    def predict(self, X: Any) -> Any: ...


def fit_and_answer(
    estimator: Estimator | None,
    x_SF: Float[np.ndarray, "S F"],
    y_S: np.ndarray,
    x_QF: Float[np.ndarray, "Q F"],
    way: int,
) -> Float[np.ndarray, "Q C"]:
    """Fit an estimator to one task; its probabilities of `way` classes, or (way = 0) its numbers.

    A class without support rows has probability 0. Without an estimator the answer is 0.
    """
    answer_QC = np.zeros((len(x_QF), way or 1))
    if estimator is None:
        return answer_QC
    # On 25 rows a quarter of a forest's time goes into checks of arguments.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        if way == 0:
            return estimator.fit(x_SF, y_S).predict(x_QF)[:, None]
        present, code_S = np.unique(y_S, return_inverse=True)  # XGBoost wants 0, 1, 2, ...
        answer_QC[:, present] = estimator.fit(x_SF, code_S).predict_proba(x_QF)
        return answer_QC
