"""The real tables that scikit-learn ships: held-out tasks that need no network."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal, get_args

import numpy as np
import torch
from pydantic import Field

from metamine.episode import Kind
from metamine.errors import UsageError
from metamine.sources.base import Shape, Source, Split
from metamine.sources.split import EmptySplit
from metamine.sources.table import Pack, Table, standardised
from metamine.sources.twins import Contents, contents_of

Classification = Literal["iris", "wine", "breast_cancer", "digits"]
Regression = Literal["diabetes"]


class Shipped(Source):
    """Tables for evaluation only: all of them are test tables.

    tables: their names in scikit-learn, all for classification or all for regression.
    Raises UsageError if the kinds are mixed.
    """

    endless = False

    def __init__(
        self, tables: Annotated[list[Classification | Regression], Field(min_length=1)]
    ) -> None:
        kinds = {_kind(name) for name in tables}
        if len(kinds) > 1:
            raise UsageError(
                f"source.tables mixes classification and regression ({', '.join(tables)}); "
                "name tables of one kind"
            )
        self.kind = kinds.pop()
        self.name = "shipped" if self.kind == "classification" else "shipped_regression"
        self._names = tables

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: torch.Generator) -> Pack:
        """All tables as the test split. Raises EmptySplit for any other."""
        if split != "test":
            raise EmptySplit(
                f"the shipped tables have no {split} split, for they serve evaluation only; "
                "train on source=synthetic, or on your own with source=tables path=FOLDER"
            )
        return self._pack

    def contents(self, split: Split) -> dict[str, Contents]:
        """The tables, compared by their cells."""
        return contents_of(self._tables) if split == "test" else {}

    @cached_property
    def _tables(self) -> list[Table]:
        return [shipped_table(name) for name in self._names]

    @cached_property
    def _pack(self) -> Pack:
        return Pack.of(self._tables)


def shipped_table(name: Classification | Regression) -> Table:
    """A table of scikit-learn's by name; every column is numeric."""
    from sklearn import datasets  # takes a second to import

    kind = _kind(name)
    bunch = getattr(datasets, f"load_{name}")()
    columns = [standardised(column)[0] for column in bunch.data.T.astype(np.float64)]
    y, mean, sd = bunch.target.astype(np.int64), 0.0, 1.0
    if kind == "regression":
        y, mean, sd = standardised(bunch.target.astype(np.float64))
    return Table(
        name=name,
        group=name,
        kind=kind,
        x=np.stack(columns, axis=1),
        y=y,
        categorical=np.zeros(len(columns), dtype=bool),
        features=tuple(map(str, bunch.feature_names)),
        classes=tuple(map(str, bunch.target_names)) if kind == "classification" else (),
        target_mean=mean,
        target_sd=sd,
    )


def _kind(name: Classification | Regression) -> Kind:
    return "regression" if name in get_args(Regression) else "classification"
