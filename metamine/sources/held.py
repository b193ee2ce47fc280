"""What sources have in common that hold all their tables: shared out by group, packed once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch

from metamine.sources.base import Shape, Source, Split
from metamine.sources.groups import Leakage, check_sides, members_of
from metamine.sources.split import SPLITS, EmptySplit, Splitting
from metamine.sources.table import Pack, Table
from metamine.sources.twins import Contents, Twin, contents_of

log = logging.getLogger(__name__)


class HeldTables(Source):
    """A source whose tables are all at hand and always the same. Abstract; see `share_out`."""

    endless = False
    place: str  # where the tables lie, for messages

    def share_out(
        self,
        tables: Sequence[Table],
        same: Iterable[Twin],
        split: Splitting,
        given: Mapping[str, Split],
        leakage: Leakage,
    ) -> None:
        """Put each table on a side of the split, whole groups only.

        tables: with the groups they are named to be in. same: those that hold the same data.
        given: table -> side, as far as somebody said. Raises UsageError, see `check_sides`.
        """
        members = members_of({table.name: table.group for table in tables}, same)
        side_of = split.sides(members, given)
        check_sides(members, side_of, leakage)
        group_of = {name: group for group, names in members.items() for name in names}
        self.tables: dict[Split, list[Table]] = {
            side: [
                replace(table, group=group_of[table.name])
                for table in tables
                if side_of.get(table.name) == side
            ]
            for side in SPLITS
        }
        self._packs: dict[Split, Pack] = {}
        unused = [table.name for table in tables if table.name not in side_of]
        if unused:
            log.warning("tables that are in no split: %s", ", ".join(unused))
        sizes = ", ".join(f"{len(self.tables[side])} {side}" for side in SPLITS)
        log.info("%s: %d tables in %d groups: %s", self.place, len(tables), len(members), sizes)

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: torch.Generator) -> Pack:
        """All tables of the split. Raises EmptySplit if there are none."""
        if not self.tables[split]:
            raise EmptySplit(
                f"none of the tables in {self.place} is in the {split} split; see source.split"
            )
        if split not in self._packs:
            self._packs[split] = Pack.of(self.tables[split])
        return self._packs[split]

    def contents(self, split: Split) -> dict[str, Contents]:
        """The tables of the split, compared by their cells."""
        return contents_of(self.tables[split])
