"""A folder of CSV, Parquet or ARFF tables as a source of tasks."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from metamine.episode import Kind
from metamine.errors import UsageError
from metamine.sources.classes import Classes, with_classes
from metamine.sources.folder import Entry, entries
from metamine.sources.groups import Leakage
from metamine.sources.held import HeldTables
from metamine.sources.prepared import Prepared, prepared
from metamine.sources.split import Splitting
from metamine.sources.twins import sketch, twins

log = logging.getLogger(__name__)


class Tables(HeldTables):
    """The tables of a folder, read once, then kept prepared in the user's cache.

    path: the folder; files other than tables, hidden ones and subfolders are passed over.
    kind: what to make of the targets.
    tables: patterns of table names (file names without suffix) to take, `!` before those to leave
        out; None takes all.
    target: the column to predict. `targets` (table -> column) and the folder's index.csv name the
        exceptions: columns `table` and any of `target`, `group`, `split`, `kind`.
    classes: "all", or "commonest_or_not": the commonest class of each table against the others.
    text: "refuse" a table with a column of text or dates, or "drop" the column.
    groups: group -> patterns of the tables that share data, and so must be on the same side;
        tables that hold the same data (see twins.py) are put in one group unasked.
    leakage: "refuse" a split that separates a group, or "warn".
    split: how groups are shared out among train, validation and test.

    Raises UsageError or MetamineError, naming the file, for what cannot be read or does not fit.
    """

    def __init__(
        self,
        path: str | None,
        kind: Kind,
        tables: list[str] | None,
        target: str,
        targets: dict[str, str] | None,
        classes: Classes,
        text: Literal["refuse", "drop"],
        groups: dict[str, list[str]] | None,
        leakage: Leakage,
        split: Splitting,
    ) -> None:
        if path is None:
            raise UsageError("source=tables needs the folder of the tables: add path=FOLDER")
        self.kind = kind
        self.folder = Path(path).expanduser().resolve()
        self.name, self.place = self.folder.name, str(self.folder)
        found = entries(self.folder, kind, tables, target, targets or {}, groups or {})
        read = _prepare(found, kind, text, json.dumps([str(self.folder), kind, tables, text]))
        group_of = {entry.name: entry.group for entry in found}
        given = {entry.name: entry.side for entry in found if entry.side}
        tables_read = [
            replace(with_classes(table, classes), group=group_of[table.name])
            for table in read.tables
        ]
        self.share_out(tables_read, read.twins, split, given, leakage)


def _prepare(found: Sequence[Entry], kind: Kind, text: str, place: str) -> Prepared:
    """Read the tables and look for twins, or take what an earlier run kept if nothing changed."""

    def read() -> Prepared:
        # Here, because pandas takes a second to import, which a prepared folder need not wait for.
        from metamine.sources.reading import read_table

        log.info("reading %d tables of %s", len(found), found[0].file.parent)
        results = [read_table(entry.file, kind, entry.target, text) for entry in found]
        tables = {table.name: table for table, _ in results}
        return Prepared(
            tables=tuple(tables.values()),
            notes=tuple(note for _, notes in results for note in notes),
            twins=tuple(
                twins(
                    {name: sketch(table.x) for name, table in tables.items()},
                    {name: len(table.x) for name, table in tables.items()},
                    lambda name: tables[name].x,
                )
            ),
        )

    stats = [(entry, entry.file.stat()) for entry in found]
    files = [
        (entry.file.name, entry.target, stat.st_size, stat.st_mtime_ns) for entry, stat in stats
    ]
    # The rules of preparation are part of what it depends on.
    rules = [
        hashlib.sha256(Path(__file__).with_name(name).read_bytes()).hexdigest()
        for name in ("reading.py", "columns.py", "table.py", "prepared.py", "twins.py")
    ]
    result = prepared(place, json.dumps([rules, files]), read)
    for note in result.notes:
        log.info(note)
    return result
