"""What a folder of tables holds, and what its index.csv says of them; no table is opened here."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from metamine.complaints import did_you_mean
from metamine.episode import Kind
from metamine.errors import UsageError
from metamine.sources.base import Split
from metamine.sources.split import SPLITS, owners, select

SUFFIXES = (".csv", ".parquet", ".pq", ".arff")
INDEX = "index.csv"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A table of the folder, as yet unread."""

    name: str  # of the file, without its suffix
    file: Path
    target: str  # column
    group: str
    side: Split | None  # as index.csv says


def entries(
    folder: Path,
    kind: Kind,
    tables: Sequence[str] | None,
    target: str,
    targets: Mapping[str, str],
    groups: Mapping[str, Sequence[str]],
) -> list[Entry]:
    """The tables of one kind that `tables` selects (None: all), in the order of their names.

    Targets, groups and splits: what the arguments say goes before what index.csv says. A table
    for which neither names a group is its own.
    Raises UsageError if there is none, or if the arguments or index.csv do not fit the folder.
    """
    files = _files(folder)
    index = _index(folder / INDEX, files)
    for name in targets:
        if name not in files:
            hint = did_you_mean(name, files)
            raise UsageError(f"source.targets: there is no table '{name}' in {folder}{hint}")
    chosen = list(files) if tables is None else select(files, tables, "source.tables")
    other = [name for name in chosen if index.get(name, {}).get("kind", kind) != kind]
    if other:
        log.info("not for %s, by %s: %s", kind, INDEX, ", ".join(other))
        chosen = [name for name in chosen if name not in other]
    if not chosen:
        raise UsageError(f"{folder}: no table for {kind} is left to read; see source.tables")
    group_of = owners(files, groups, "source.groups")
    return [
        Entry(
            name=name,
            file=files[name],
            target=targets.get(name) or index.get(name, {}).get("target", target),
            group=group_of.get(name) or index.get(name, {}).get("group", name),
            side=cast("Split | None", index.get(name, {}).get("split")),
        )
        for name in chosen
    ]


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        what = "is a file; name the folder it is in" if folder.exists() else "does not exist"
        raise UsageError(f"the folder of tables '{folder}' {what}")
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        hidden = file.name.startswith((".", "~"))
        if hidden or file.name == INDEX or file.suffix.lower() not in SUFFIXES:
            continue
        if file.stem in files:
            raise UsageError(
                f"{folder} holds the table '{file.stem}' twice, as {files[file.stem].name} and as "
                f"{file.name}; remove or rename one"
            )
        files[file.stem] = file
    if not files:
        raise UsageError(f"{folder} holds no table: no file that ends in {', '.join(SUFFIXES)}")
    return files


def _index(file: Path, names: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """index.csv by table: its cells by column, blank ones left out; empty if there is no file."""
    if not file.exists():
        return {}
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = [
            {key: cell.strip() for key, cell in row.items() if key and cell and cell.strip()}
            for row in csv.DictReader(lines)
        ]
    index: dict[str, dict[str, str]] = {}
    for row in rows:
        if "table" not in row:
            raise UsageError(f"{file}: every line needs a name in the column 'table'")
        if row["table"] in index:
            raise UsageError(f"{file} lists the table '{row['table']}' twice")
        for key, allowed in {"split": SPLITS, "kind": get_args(Kind)}.items():
            if row.get(key, allowed[0]) not in allowed:
                raise UsageError(
                    f"{file}: the {key} of '{row['table']}' is '{row[key]}'; "
                    f"it must be {', '.join(allowed[:-1])} or {allowed[-1]}"
                )
        index[row["table"]] = row
    absent = [name for name in index if name not in names]
    if absent:
        log.warning("%s lists tables that are not there: %s", file, ", ".join(absent))
    return index
