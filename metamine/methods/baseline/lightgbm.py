"""LightGBM."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Bool
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.installed import absence
from metamine.methods.baseline.scikit import ScikitBaseline
from metamine.methods.baseline.worker import Estimator


class LightGBM(ScikitBaseline):
    """Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree" (2017), where it is
    installed.

    stages: rounds of boosting. columns: share of them tried at each split. The library wants 20
    rows in a leaf and 3 in a bin, and learns nothing from a small support; here one is enough.
    Falls back with one class, and with one row.
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
        return absence("lightgbm")

    def falls_back(self, support: Support) -> Bool[Tensor, " T"]:
        return super().falls_back(support) | (support.y.shape[1] == 1)

    def estimator(self, kind: Kind) -> Estimator:
        from lightgbm import LGBMClassifier, LGBMRegressor

        boosting = LGBMRegressor if kind == "regression" else LGBMClassifier
        return boosting(
            n_estimators=self.stages,
            learning_rate=self.learning_rate,
            max_depth=self.max_depth,
            feature_fraction_bynode=self.columns,
            min_child_samples=1,
            min_data_in_bin=1,
            min_child_weight=0.1,  # at 0 the library aborts where a leaf would be empty
            reg_lambda=1.0,  # XGBoost's; with one row in a leaf, none lets logits run away
            random_state=self.random_state,
            n_jobs=1,
            verbose=-1,
        )
