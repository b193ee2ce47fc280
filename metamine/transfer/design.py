"""What is trained for a matrix of transfer: each part of the tables, and each prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from metamine.reproduce.table import Cell
from metamine.sources.base import Source
from metamine.sources.held import HeldTables

ALL = "all"  # the column of all tables that a row is tested on
Kind = Literal["part", "prior"]


@dataclass(frozen=True)
class Row:
    """What is trained on, and by which words of `metamine train`; tested on all other tables."""

    kind: Kind
    cell: Cell
    tables: tuple[str, ...]  # of a part; of a prior there are none

    @property
    def name(self) -> str:
        """As reports call it."""
        return self.cell.row


@dataclass(frozen=True)
class Design:
    """All that is trained and compared.

    config: of `metamine train`, as the words give it, with all tables held out.
    source: its tables. priors: by the names of their rows. part_of: table -> part.
    similarity: what learns s(t_i, t_j).
    """

    config: dict[str, Any]
    source: HeldTables
    priors: dict[str, Source]
    part_of: dict[str, str]
    rows: list[Row]
    similarity: Cell

    @property
    def columns(self) -> list[str]:
        """Of the matrix: the parts, and all tables."""
        return [*(row.name for row in self.rows if row.kind == "part"), ALL]

    @property
    def protocol(self) -> str:
        """The evaluation protocol that counts, its first."""
        return str(next(iter(self.config["evaluation"]["protocols"])))
