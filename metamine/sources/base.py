"""What every task source offers: the tables of a split, packed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch

from metamine.episode import Kind
from metamine.sources.table import Pack
from metamine.sources.twins import Contents

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Shape:
    """The sizes of one batch of episodes.

    Either `shot` support and `query` query rows of each of `way` classes (regression: of the
    table), or, with `rows`, that many labelled rows and `query` query rows altogether. `query` is 0
    where the support rows are the query rows too.
    """

    way: int
    shot: int | None
    rows: int | None
    query: int

    @property
    def rows_of_class(self) -> int:
        """Rows that a class (regression: a table) must have to take part; 1 if `rows` is given."""
        return 1 if self.shot is None else self.shot + self.query

    @property
    def rows_of_table(self) -> int:
        """Rows that a classification table must have to take part."""
        return self.way * self.rows_of_class if self.rows is None else self.rows + self.query


class Source(ABC):
    """Tables to draw episodes from, in three splits that share no data."""

    name: str  # as results call it
    kind: Kind
    standardise: bool = True  # False: episodes keep the source's own units (a published protocol)

    @abstractmethod
    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: torch.Generator) -> Pack:
        """The tables of a split.

        A folder gives all its tables, always the same. A prior draws `n_tasks` new ones from
        `generator`, each large enough for `shape`, with exactly `shape.way` classes, named by
        the prior that drew it.
        """

    def contents(self, split: Split) -> dict[str, Contents]:
        """Table -> what can be compared with other sources' tables; {} if tables are drawn anew."""
        return {}

    @property
    def parts(self) -> tuple[Source, ...]:
        """The sources that are judged one by one: this one, or those that it is made of."""
        return (self,)

    @property
    def training_parts(self) -> tuple[Source, ...]:
        """Those of the parts that are trained on."""
        return self.parts

    @property
    @abstractmethod
    def endless(self) -> bool:
        """True if every call of `pack` draws new tables, so that each serves for one episode."""
