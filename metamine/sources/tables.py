"""A folder of CSV, Parquet or ARFF tables as a source of tasks."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from metamine.episode import Kind
from metamine.errors import UsageError
from metamine.sources.base import Shape, Source, Split
from metamine.sources.folder import Entry, entries
from metamine.sources.prepared import Prepared, prepared
from metamine.sources.split import SPLITS, EmptySplit, Splitting, check_sides
from metamine.sources.table import Pack, Table

log = logging.getLogger(__name__)


class Tables(Source):
    """The tables of a folder, read once, then kept prepared in the user's cache.

    path: the folder; files other than tables, hidden ones and subfolders are passed over.
    kind: what to make of the targets.
    tables: patterns of table names (file names without suffix) to take, `!` before those to leave
        out; None takes all.
    target: the column to predict. `targets` (table -> column) and the folder's index.csv name the
        exceptions: columns `table` and any of `target`, `group`, `split`, `kind`.
    text: "refuse" a table with a column of text or dates, or "drop" the column.
    groups: group -> patterns of the tables that share data, and so must be on the same side;
        tables with equal cells are put in one group unasked.
    split: how groups are shared out among train, validation and test.

    Raises UsageError or MetamineError, naming the file, for what cannot be read or does not fit.
    """

    endless = False

    def __init__(
        self,
        path: str | None,
        kind: Kind,
        tables: list[str] | None,
        target: str,
        targets: dict[str, str] | None,
        text: Literal["refuse", "drop"],
        groups: dict[str, list[str]] | None,
        split: Splitting,
    ) -> None:
        if path is None:
            raise UsageError("source=tables needs the folder of the tables: add path=FOLDER")
        self.kind = kind
        self.folder = Path(path).expanduser().resolve()
        self.name = self.folder.name
        found = entries(self.folder, kind, tables, target, targets or {}, groups or {})
        read = _prepare(found, kind, text, json.dumps([str(self.folder), kind, tables, text]))
        members = _members(found, read)
        given = {entry.name: entry.side for entry in found if entry.side}
        side_of = split.sides(members, given)
        check_sides(members, side_of)
        group_of = {name: group for group, names in members.items() for name in names}
        self.tables: dict[Split, list[Table]] = {
            side: [
                replace(table, group=group_of[table.name])
                for table in read
                if side_of.get(table.name) == side
            ]
            for side in SPLITS
        }
        unused = [table.name for table in read if table.name not in side_of]
        if unused:
            log.warning("tables that are in no split: %s", ", ".join(unused))
        sizes = ", ".join(f"{len(self.tables[side])} {side}" for side in SPLITS)
        log.info("%s: %d tables in %d groups: %s", self.folder, len(read), len(members), sizes)
        self._packs: dict[Split, Pack] = {}

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: torch.Generator) -> Pack:
        """All tables of the split. Raises EmptySplit if there are none."""
        if not self.tables[split]:
            raise EmptySplit(
                f"none of the tables in {self.folder} is in the {split} split; see source.split"
            )
        if split not in self._packs:
            self._packs[split] = Pack.of(self.tables[split])
        return self._packs[split]


def _prepare(found: Sequence[Entry], kind: Kind, text: str, place: str) -> tuple[Table, ...]:
    """Read the tables, or take what an earlier run kept in `place` if no file has changed."""

    def read() -> Prepared:
        # Here, because pandas takes a second to import, which a prepared folder need not wait for.
        from metamine.sources.reading import read_table

        log.info("reading %d tables of %s", len(found), found[0].file.parent)
        results = [read_table(entry.file, kind, entry.target, text) for entry in found]
        return Prepared(
            tables=tuple(table for table, _ in results),
            notes=tuple(note for _, notes in results for note in notes),
        )

    stats = [(entry, entry.file.stat()) for entry in found]
    files = [
        (entry.file.name, entry.target, stat.st_size, stat.st_mtime_ns) for entry, stat in stats
    ]
    # The rules of preparation are part of what it depends on.
    rules = [
        hashlib.sha256(Path(__file__).with_name(name).read_bytes()).hexdigest()
        for name in ("reading.py", "columns.py", "table.py", "prepared.py")
    ]
    result = prepared(place, json.dumps([rules, files]), read)
    for note in result.notes:
        log.info(note)
    return result.tables


def _members(found: Sequence[Entry], read: Sequence[Table]) -> dict[str, list[str]]:
    """Group -> its tables; groups that hold the same cells become one."""
    group_of = {entry.name: entry.group for entry in found}
    first: dict[bytes, str] = {}
    for table in read:
        # Targets do not count: the same rows under another question are the same data still.
        cells = hashlib.sha256(repr(table.x.shape).encode())
        cells.update(table.x.tobytes())
        twin = first.setdefault(cells.digest(), table.name)
        kept, lost = group_of[twin], group_of[table.name]
        if kept != lost:
            log.warning("%s and %s hold the same rows and count as one group", twin, table.name)
            group_of = {name: kept if group == lost else group for name, group in group_of.items()}
    members: dict[str, list[str]] = {}
    for name, group in group_of.items():
        members.setdefault(group, []).append(name)
    return members
