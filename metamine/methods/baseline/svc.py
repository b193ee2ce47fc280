"""Support vector classifier."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from metamine.episode import Kind
from metamine.methods.baseline.margins import MarginSVC
from metamine.methods.baseline.scikit import ScikitBaseline
from metamine.methods.baseline.worker import Estimator


class SupportVectors(ScikitBaseline):
    """scikit-learn's SVC (Cortes & Vapnik, "Support-vector networks", 1995); its probabilities are
    the softmax of the margins.

    c: price of a row on the wrong side. gamma: of the kernel; "scale" is 1 / columns / variance.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def __init__(
        self,
        c: Annotated[float, Field(gt=0)],
        kernel: Literal["linear", "rbf", "sigmoid"],
        gamma: Literal["scale", "auto"] | Annotated[float, Field(gt=0)],
        workers: PositiveInt | None,
    ) -> None:
        super().__init__(workers)
        self.c, self.kernel, self.gamma = c, kernel, gamma

    def estimator(self, kind: Kind) -> Estimator:
        return MarginSVC(C=self.c, kernel=self.kernel, gamma=self.gamma)
