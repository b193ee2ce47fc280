"""The value that flows from a source through the sampler to a method.

Dimension key, used as name suffixes in every file that handles tensors:
T tasks in the batch, S support rows, Q query rows, N either of the two, F features, C classes,
D embedding width, B tables, R rows of all tables, M rows of one table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class _TaskBatch:
    """Tensors that share the task axis: they move, and are cut along that axis, together."""

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def __getitem__(self, tasks: slice) -> Self:
        """The chosen tasks."""
        return self._each(lambda tensor: tensor[tasks])

    def _each(self, change) -> Self:  # type: ignore[no-untyped-def]
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = {
            name: change(value)
            if isinstance(value, Tensor)
            else value._each(change)
            if isinstance(value, _TaskBatch)
            else value
            for name, value in values.items()
        }
        return replace(self, **changed)


@dataclass(frozen=True)
class Support(_TaskBatch):
    """What a learner may see of T tasks: their labelled rows.

    Rows are standardised on the support rows unless the source says otherwise; class ids are
    permuted per episode and carry no meaning across tasks.
    """

    x: Float[Tensor, "T S F"]  # NaN = missing; padded features are 0
    y: Int64[Tensor, "T S"] | Float[Tensor, "T S"]  # class ids in [0, n_classes), or targets
    feature_mask: Bool[Tensor, "T F"]  # True = real feature, False = padding
    categorical: Bool[Tensor, "T F"]  # True = x holds (standardised) category codes
    n_classes: Int64[Tensor, " T"]  # 0 for regression
    way: int  # C, the most classes that any task of the batch has; 0 for regression

    @property
    def kind(self) -> Kind:
        return "classification" if self.way else "regression"

    @property
    def n_tasks(self) -> int:
        return self.x.shape[0]

    @property
    def n_outputs(self) -> int:
        """Width of a prediction: a logit per class, or one number."""
        return self.way or 1

    @property
    def member_TSC(self) -> Bool[Tensor, "T S C"]:
        """Which class each support row belongs to, one-hot."""
        return self.y[..., None] == torch.arange(self.way, device=self.y.device)

    @property
    def present_TC(self) -> Bool[Tensor, "T C"]:
        """Which classes have a support row; only these can be predicted."""
        return self.member_TSC.any(dim=1)


@dataclass(frozen=True)
class Episodes(_TaskBatch):
    """T tasks with their query rows: adapt on the support, be scored on the query."""

    support: Support
    query_x: Float[Tensor, "T Q F"]
    query_y: Int64[Tensor, "T Q"] | Float[Tensor, "T Q"]
    # Regression: standard deviations of the table's target that one unit of y stands for
    # (y is standardised on the support). Ones for classification.
    target_scale: Float[Tensor, " T"]

    @property
    def n_tasks(self) -> int:
        return self.support.n_tasks

    def chunks(self, size: int) -> Iterator[Episodes]:
        """The same tasks, at most `size` at a time; narrow ones first, with little padding."""
        width_T = self.support.feature_mask.sum(dim=1)
        order_T = width_T.argsort(stable=True)
        for start in range(0, self.n_tasks, size):
            tasks_T = order_T[start : start + size]
            chunk = self._each(lambda tensor, at=tasks_T: tensor[at])
            yield chunk._first(int(width_T[tasks_T[-1]]))

    def _first(self, width: int) -> Episodes:
        """The first columns of every table."""
        support = self.support
        return replace(
            self,
            support=replace(
                support,
                x=support.x[..., :width],
                feature_mask=support.feature_mask[:, :width],
                categorical=support.categorical[:, :width],
            ),
            query_x=self.query_x[..., :width],
        )
