"""Gradient boosting."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt
from sklearn.base import BaseEstimator
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from metamine.episode import Kind
from metamine.methods.baseline.random_forest import MaxFeatures
from metamine.methods.baseline.scikit import ScikitBaseline


class GradientBoosting(ScikitBaseline):
    """scikit-learn's gradient boosting (Friedman, "Greedy function approximation", 2001).

    stages: `n_estimators`. max_features: columns tried at each split, or the share of them. Trying
    all, the library's default, lets one column of many decide a split of a few rows: much worse.
    The same seed in every task.
    """

    def __init__(
        self,
        stages: PositiveInt,
        learning_rate: Annotated[float, Field(gt=0, le=1)],
        max_depth: PositiveInt,
        max_features: MaxFeatures,
        random_state: NonNegativeInt,
        workers: PositiveInt | None,
    ) -> None:
        super().__init__(workers)
        self.stages, self.learning_rate, self.max_depth = stages, learning_rate, max_depth
        self.max_features, self.random_state = max_features, random_state

    def estimator(self, kind: Kind) -> BaseEstimator:
        boosting = GradientBoostingRegressor if kind == "regression" else GradientBoostingClassifier
        return boosting(
            n_estimators=self.stages,
            learning_rate=self.learning_rate,
            max_depth=self.max_depth,
            max_features=self.max_features,
            random_state=self.random_state,
        )
