"""CatBoost."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Bool
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import complete, one_class
from metamine.methods.baseline.installed import absence
from metamine.methods.baseline.scikit import ScikitBaseline
from metamine.methods.baseline.worker import Estimator


class CatBoost(ScikitBaseline):
    """Prokhorenkova et al., "CatBoost: unbiased boosting with categorical features" (2018), where
    it is installed.

    stages: rounds of boosting. columns: share of them tried at each split.
    Falls back with one class or one value of the target, and where no column varies.
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
        return absence("catboost")

    def falls_back(self, support: Support) -> Bool[Tensor, " T"]:
        x_TSF = complete(support.x, support)
        constant_T = (x_TSF == x_TSF[:, :1]).flatten(1).all(dim=1)
        if support.kind == "regression":
            return constant_T | (support.y == support.y[:, :1]).all(dim=1)
        return constant_T | one_class(support)

    def estimator(self, kind: Kind) -> Estimator:
        from catboost import CatBoostClassifier, CatBoostRegressor

        boosting = CatBoostRegressor if kind == "regression" else CatBoostClassifier
        return boosting(
            iterations=self.stages,
            learning_rate=self.learning_rate,
            depth=self.max_depth,
            rsm=self.columns,
            random_seed=self.random_state,
            thread_count=1,
            verbose=False,
            allow_writing_files=False,  # it would leave a folder where the run was started
        )
