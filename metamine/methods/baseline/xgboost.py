"""XGBoost."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from metamine.episode import Kind
from metamine.methods.baseline.installed import absence
from metamine.methods.baseline.scikit import ScikitBaseline
from metamine.methods.baseline.worker import Estimator


class XGBoost(ScikitBaseline):
    """Chen & Guestrin, "XGBoost: A Scalable Tree Boosting System" (2016), where it is installed.

    stages: rounds of boosting. columns: share of them tried at each split. The library's own least
    weight of a leaf, 1, is several rows of a small support; here a leaf may have any.
    """

    def __init__(
        self,
        stages: PositiveInt,
        learning_rate: Annotated[float, Field(gt=0, le=1)],
        max_depth: PositiveInt,
        columns: Annotated[float, Field(gt=0, le=1)],
        random_state: NonNegativeInt,
        workers: PositiveInt | None,
    ) -> None:
        super().__init__(workers)
        self.stages, self.learning_rate, self.max_depth = stages, learning_rate, max_depth
        self.columns, self.random_state = columns, random_state

    def missing(self, kind: Kind) -> str | None:
        return absence("xgboost")

    def estimator(self, kind: Kind) -> Estimator:
        from xgboost import XGBClassifier, XGBRegressor

        boosting = XGBRegressor if kind == "regression" else XGBClassifier
        return boosting(
            n_estimators=self.stages,
            learning_rate=self.learning_rate,
            max_depth=self.max_depth,
            colsample_bynode=self.columns,
            min_child_weight=0,
            random_state=self.random_state,
            n_jobs=1,
        )
