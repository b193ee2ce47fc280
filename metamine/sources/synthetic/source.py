"""Endless tables from priors, as a source of tasks."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat
from torch import Generator

from metamine.episode import Kind
from metamine.sources.base import Shape, Source, Split
from metamine.sources.synthetic.classes import class_sizes, last_in_parts
from metamine.sources.synthetic.columns import Columns
from metamine.sources.synthetic.drawing import (
    Counts,
    Probability,
    in_order,
    integers,
    standardise_,
)
from metamine.sources.synthetic.prior import Prior
from metamine.sources.table import Pack


class Synthetic(Source):
    """Every task is a new table from a mixture of priors; splits differ by their generator alone.

    name: as results call this source.
    kind: what the targets are.
    features: how many columns a table has.
    priors, weights: name -> prior, and how often it is drawn relative to the others.
    columns: what measuring does to the columns.
    spare: rows drawn for each row that an episode needs; the rest lets classes differ in size.
    imbalance: how much they do; 0 = not at all. See `classes.class_sizes`.
    merged: share of tables whose last class is several put together, as "the rest" of a real table
        is; parts_of_last: how many.

    Raises ValueError if priors and weights do not name the same, or no weight is above 0.
    """

    endless = True

    def __init__(
        self,
        name: str,
        kind: Kind,
        features: Counts,
        priors: dict[str, Prior],
        weights: dict[str, NonNegativeFloat],
        columns: Columns,
        spare: Annotated[float, Field(ge=1)],
        imbalance: NonNegativeFloat,
        merged: Probability,
        parts_of_last: Counts,
    ) -> None:
        in_order(features=features, parts_of_last=parts_of_last)
        if set(weights) != set(priors):
            raise ValueError(f"weights name {sorted(weights)}, but priors {sorted(priors)}")
        if not any(weights.values()):
            raise ValueError("all weights are 0: give one prior at least a positive weight")
        self.name = name
        self.kind = kind
        self.features = features
        self.priors = priors
        self.weights = weights
        self.columns = columns
        self.spare = spare
        self.imbalance = imbalance
        self.merged = merged
        self.parts_of_last = parts_of_last

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: Generator) -> Pack:
        """`n_tasks` new tables, named by their priors."""
        needed = max(shape.rows_of_table, max(shape.way, 1) * shape.rows_of_class)
        n_rows = math.ceil(self.spare * needed)
        n_features_T = integers(self.features, (n_tasks,), generator)
        size_TC = None
        if self.kind == "classification":
            least = shape.rows_of_class
            size_TC = class_sizes(n_tasks, shape.way, n_rows, least, self.imbalance, generator)
            if self.merged:
                size_TC = last_in_parts(size_TC, self.merged, self.parts_of_last, generator)
        x_TFM = torch.zeros(n_tasks, int(n_features_T.max()), n_rows)
        y_TM = torch.zeros(n_tasks, n_rows, dtype=torch.float32 if size_TC is None else torch.int64)
        names: list[str] = []
        for name, n_drawn in self._tasks_of_priors(n_tasks, generator).items():
            tasks = slice(len(names), len(names) + n_drawn)
            names += [name] * n_drawn
            class_size = None if size_TC is None else size_TC[tasks]
            x, y_TM[tasks] = self.priors[name].draw(
                n_rows, n_features_T[tasks], class_size, generator
            )
            x_TFM[tasks, : x.shape[1]] = x
        if size_TC is None:
            standardise_(y_TM)
        else:
            y_TM.clamp_(max=shape.way - 1)
        x_TFM, categorical_TF = self.columns.measure(x_TFM, generator)
        return Pack.of_batch(names, x_TFM.mT, y_TM, n_features_T, categorical_TF, shape.way)

    def _tasks_of_priors(self, n_tasks: int, generator: Generator) -> dict[str, int]:
        """How many of the tasks each prior draws; those that draw none are left out."""
        weight = torch.tensor([self.weights[name] for name in self.priors])
        chosen = weight.multinomial(n_tasks, replacement=True, generator=generator)
        counts = chosen.bincount(minlength=len(weight)).tolist()
        return {name: n for name, n in zip(self.priors, counts, strict=True) if n}
