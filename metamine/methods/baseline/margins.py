"""Support vectors that answer with probabilities. Imports no torch; see `worker`."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.svm import SVC


class MarginSVC:
    """scikit-learn's SVC; the probabilities are the softmax of its margins.

    They order the classes as `predict` does. The library's own probabilities are fitted by
    cross-validation, for which a few rows are too few.
    """

    def __init__(self, **settings: Any) -> None:
        self.machine = SVC(**settings)

    def fit(self, X: Any, y: Any) -> MarginSVC:
        self.machine.fit(X, y)
        return self

    def predict(self, X: Any) -> Any:
        return self.machine.predict(X)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "Q C"]:
        margin = self.machine.decision_function(X)
        if margin.ndim == 1:  # of two classes, that of the second
            margin = np.stack([-margin / 2, margin / 2], axis=1)
        likely = np.exp(margin - margin.max(axis=1, keepdims=True))
        return np.asarray(likely / likely.sum(axis=1, keepdims=True))
