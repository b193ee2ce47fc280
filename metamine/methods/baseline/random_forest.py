"""Random forest."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from metamine.episode import Kind
from metamine.methods.baseline.scikit import ScikitBaseline

MaxFeatures = Literal["sqrt", "log2"] | Annotated[float, Field(gt=0, le=1)]


class RandomForest(ScikitBaseline):
    """scikit-learn's random forest (Breiman, "Random forests", 2001); the same seed in every task.

    trees: `n_estimators`. max_features: columns tried at each split, or the share of them.
    """

    def __init__(
        self,
        trees: PositiveInt,
        max_features: MaxFeatures,
        random_state: NonNegativeInt,
        workers: PositiveInt | None,
    ) -> None:
        super().__init__(workers)
        self.trees, self.max_features, self.random_state = trees, max_features, random_state

    def estimator(self, kind: Kind) -> BaseEstimator:
        forest = RandomForestRegressor if kind == "regression" else RandomForestClassifier
        return forest(self.trees, max_features=self.max_features, random_state=self.random_state)
