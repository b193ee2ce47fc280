"""Baselines whose weights were trained by others, on tables of their own making."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import Baseline, one_class
from metamine.methods.baseline.installed import absence
from metamine.methods.baseline.scikit import fitted
from metamine.methods.baseline.worker import Estimator


class Pretrained(Baseline):
    """An in-context transformer, where its package and its weights are there. Abstract.

    Weights are looked for where the package keeps them, and never fetched: a run needs no network,
    and some weights come with conditions that a person has to agree to.
    Tasks are looped over, on the device of the run. Categories are given by their codes.
    Falls back with one class and with more than `max_classes`.

    estimators: differently prepared copies of a task, averaged.
    """

    package: str

    def __init__(
        self,
        estimators: PositiveInt,
        max_classes: Annotated[int, Field(ge=2)],
        random_state: NonNegativeInt,
    ) -> None:
        super().__init__()
        self.estimators, self.max_classes, self.random_state = estimators, max_classes, random_state

    @abstractmethod
    def weights(self, kind: Kind) -> Path | None:
        """The file that the package would load, if it is there. The package may be imported."""

    @abstractmethod
    def estimator(self, kind: Kind, weights: Path, device: torch.device) -> Estimator:
        """An unfitted estimator of scikit-learn's kind."""

    def missing(self, kind: Kind) -> str | None:
        if reason := absence(self.package):
            return reason
        try:
            found = self.weights(kind)
        except Exception as error:  # another version of the package
            return f"where {self.package} keeps its weights cannot be told: {error}"
        if found is None:
            return f"{self.package} has no weights for {kind} on this machine; fetch them with it"
        return None

    def falls_back(self, support: Support) -> Bool[Tensor, " T"]:
        if support.kind == "regression":
            return super().falls_back(support)
        return one_class(support) | (support.present_TC.sum(dim=1) > self.max_classes)

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        weights = self.weights(support.kind)
        if weights is None:
            raise FileNotFoundError(self.missing(support.kind))
        estimator = self.estimator(support.kind, weights, query_x.device)
        return fitted(estimator, support, query_x, self.falls_back(support), workers=1)
