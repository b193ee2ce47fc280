"""Scikit-learn estimators that adapt a meta-trained learner to a handful of labelled rows."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_is_fitted, column_or_1d, validate_data
from torch import Tensor

from metamine.devices import resolve
from metamine.episode import Episodes, Kind, Support
from metamine.estimators.cells import Cells, Unseen
from metamine.preprocess import standardise
from metamine.pretrained import NAME, run_of
from metamine.rundir import RunDirectory
from metamine.trained import trained_method

ROWS = 128  # to predict at once: bounds memory, and what is at hand stays in the cache
Rows = Any  # numbers in an array, or a DataFrame; scikit-learn checks it, and says what is wrong


class _FewShot(BaseEstimator):  # type: ignore[misc]
    """What both share: labelled rows become the support of a task, other rows its query."""

    kind: Kind

    def __init__(
        self,
        model: str | Path = NAME,
        *,
        device: str = "cpu",
        members: int = 8,
        unseen: Unseen = "missing",
        seed: int = 0,
    ) -> None:
        self.model = model
        self.device = device
        self.members = members
        self.unseen = unseen
        self.seed = seed

    @classmethod
    def load(cls, run: str | Path, **settings: Any) -> Self:
        """An estimator that adapts the best checkpoint of a run. Not fitted yet."""
        return cls(run, **settings)

    def fit(self, X: Rows, y: Any) -> Self:
        """Keep the labelled rows, and load the learner. Nothing is trained.

        X: M rows of numbers, or a DataFrame with columns of numbers, booleans or categories (also
            as strings); cells may be missing. y: M labels of any kind, or numbers.
        Raises ValueError for what cannot be read, UsageError if `model` is no run or its method
        cannot do this kind of task.
        """
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        frame = self._frame(X, reset=True)
        labels = column_or_1d(y, warn=True)
        if labels.dtype.kind in "fc":
            assert_all_finite(labels, input_name="y")
        elif pd.isna(labels).any():
            raise ValueError("y holds missing values; leave out the rows without a label")
        if len(labels) != len(frame):
            raise ValueError(f"X has {len(frame)} rows and y {len(labels)}; they must be as many")
        self.cells_ = Cells.of(frame)
        self.x_ = self.cells_.read(frame, "refuse")
        self.categorical_ = self.cells_.categorical(frame)
        self.y_ = self._learn_labels(labels)
        run = run_of(self.model)
        self.method_ = trained_method(run).to(resolve(self.device))
        if self.kind not in self.method_.kinds:
            raise ValueError(f"{self.model} was trained with a method that does no {self.kind}")
        trained = RunDirectory(run).read().get("kind", self.kind)
        if trained != self.kind:
            raise ValueError(
                f"{self.model} was trained for {trained}, not for {self.kind}; name a run of "
                f"metamine train with a source of {self.kind}"
            )
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    @abstractmethod
    def _learn_labels(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Labels as methods know them: class ids, or numbers of mean 0 and deviation 1."""

    @torch.no_grad()
    def _answers(self, X: Rows) -> Tensor:
        """M x C: what the learner answers for rows; logarithms of the members' mean probability."""
        check_is_fitted(self)
        cells = self.cells_.read(self._frame(X, reset=False), self.unseen)
        parts = torch.from_numpy(cells).split(ROWS)
        views = self._views()
        return torch.cat([self._answered(rows, *views) for rows in parts])

    def _answered(self, x_QF: Tensor, order_TF: Tensor, label_TC: Tensor) -> Tensor:
        x_TSF, x_TQF = (
            each[:, order_TF].movedim(1, 0) for each in (torch.from_numpy(self.x_), x_QF)
        )
        n_tasks, way = len(order_TF), label_TC.shape[1]
        y_S = torch.from_numpy(self.y_)
        support = Support(
            x=x_TSF,
            y=label_TC[:, y_S] if way else y_S.expand(n_tasks, -1),
            feature_mask=torch.ones(order_TF.shape, dtype=torch.bool),
            categorical=torch.from_numpy(self.categorical_)[order_TF],
            n_classes=torch.full((n_tasks,), way),
            way=way,
        )
        unknown_TQ = torch.zeros(x_TQF.shape[:2], dtype=support.y.dtype)
        episodes = Episodes(support, x_TQF, unknown_TQ, torch.ones(n_tasks))
        episodes = standardise(episodes, transductive=False).to(resolve(self.device))
        answer_TQC = self.method_.predict(episodes.support, episodes.query_x).cpu()
        if not way:
            return answer_TQC.mean(dim=0)
        own_TQC = answer_TQC.gather(2, label_TC[:, None].expand_as(answer_TQC))
        return own_TQC.softmax(dim=-1).mean(dim=0).log()

    def _views(self) -> tuple[Tensor, Tensor]:
        """Orders of columns, and names of classes, that the members are shown; the first as is.

        As many as matter: one, where the learner's answers depend on neither; one for each class,
        where only names do, so that each class goes by each name once.
        """
        n_features, way = self.x_.shape[1], self._way()
        by_order, by_name = (
            not all(getattr(module, claim, True) for module in self.method_.modules())
            for claim in ("any_column_order", "any_class_names")
        )
        members = self.members if by_order else min(self.members, way if by_name and way else 1)
        generator = torch.Generator().manual_seed(self.seed)
        order_TF = torch.arange(n_features).repeat(members, 1)
        if by_order:
            for order_F in order_TF[1:]:
                torch.randperm(n_features, generator=generator, out=order_F)
        name_TC = torch.arange(way) + torch.arange(members)[:, None]
        return order_TF, name_TC % max(way, 1)

    def _way(self) -> int:
        return 0

    def _frame(self, X: Rows, *, reset: bool) -> pd.DataFrame:
        """X as a DataFrame with as many columns, and the same names, as the labelled rows."""
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, skip_check_array=True, reset=reset)
            if not len(X) or not X.shape[1]:
                raise ValueError(f"X has {len(X)} rows and {X.shape[1]} columns; give one at least")
            return X
        array = validate_data(self, X, dtype=None, ensure_all_finite=False, reset=reset)
        return pd.DataFrame(array).infer_objects()


class FewShotClassifier(ClassifierMixin, _FewShot):  # type: ignore[misc]
    """A classifier from a handful of labelled rows: a meta-trained learner, adapted to them.

    model: "pretrained", the model that metamine ships (see docs/pretrained.md), or the directory of
        a run of `metamine train`, whose best checkpoint is taken.
    device: cpu, cuda, cuda:1, mps or auto.
    members: orders of the columns, and of the classes, over which answers are averaged, at most:
        as many as matter to the learner.
    unseen: what becomes of categories that no labelled row shows: "missing" or "refuse".
    seed: of the orders.

    `classes_`: the labels, sorted.
    """

    kind = "classification"

    def predict_proba(self, X: Rows) -> NDArray[np.float64]:
        """M x C: the probability of each of `classes_`."""
        answer_MC = self._answers(X).double()
        return np.asarray(answer_MC.softmax(dim=1).numpy())

    def predict(self, X: Rows) -> NDArray[Any]:
        """The likeliest of `classes_` for each row."""
        probability_MC = self.predict_proba(X)
        return np.asarray(self.classes_[probability_MC.argmax(axis=1)])

    def _learn_labels(self, labels: NDArray[Any]) -> NDArray[Any]:
        check_classification_targets(labels)
        self.classes_, ids = np.unique(labels, return_inverse=True)
        return np.asarray(ids, dtype=np.int64)

    def _way(self) -> int:
        return len(self.classes_)


class FewShotRegressor(RegressorMixin, _FewShot):  # type: ignore[misc]
    """A regressor from a handful of labelled rows; see `FewShotClassifier`."""

    kind = "regression"

    def predict(self, X: Rows) -> NDArray[np.float64]:
        """A number for each row."""
        answer_M = self._answers(X)[:, 0].double().numpy()
        return np.asarray(answer_M * self.spread_ + self.centre_)

    def _learn_labels(self, labels: NDArray[Any]) -> NDArray[Any]:
        numbers = labels.astype(np.float64)
        self.centre_, self.spread_ = float(numbers.mean()), float(numbers.std()) or 1.0
        return np.asarray((numbers - self.centre_) / self.spread_, dtype=np.float32)
