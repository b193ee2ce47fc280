"""OpenML suites, tasks and data sets as a source of tasks, read from the store of `prefetch`."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from pydantic import NonNegativeInt, PositiveInt

from metamine.complaints import did_you_mean
from metamine.episode import Kind
from metamine.errors import MetamineError, UsageError
from metamine.openml import store as kept
from metamine.openml.suites import Wanted, wanted_tables
from metamine.sources.base import Split
from metamine.sources.classes import Classes, with_classes
from metamine.sources.families import family_of
from metamine.sources.groups import Leakage
from metamine.sources.held import HeldTables
from metamine.sources.remembered import remembered
from metamine.sources.split import Splitting, owners, select
from metamine.sources.table import Table, standardised
from metamine.sources.twins import Contents, twins

log = logging.getLogger(__name__)


class OpenML(HeldTables):
    """Tables of OpenML, memory mapped from the store: no network, no openml package.

    suite: aliases or ids of suites. tasks, datasets: ids; a data set is taken with its default
        target. All of it together, each table once.
    store: the folder that `metamine prefetch` filled; None: METAMINE_STORE, or the user's own.
    kind: tables of the other kind are left out.
    tables: patterns of table names (`iris (61)`), as for a folder of tables.
    targets: table -> column to predict instead.
    classes: "all", or "commonest_or_not": the commonest class of each table against the others.
    groups: group -> patterns of tables that share data, beside the families that metamine knows of
        (families.csv) and the twins that it finds by their contents.
    leakage: "refuse" a split that separates a group, or "warn".
    split: how groups are shared out among train, validation and test.
    respect_splits: draw supports from the training part and queries from the test part of
        OpenML's own split number (`repeat`, `fold`) of the task.

    Raises UsageError or MetamineError that names what is missing and the command that fetches it.
    """

    def __init__(
        self,
        suite: list[str | int] | str | int | None,
        tasks: list[PositiveInt] | None,
        datasets: list[PositiveInt] | None,
        store: str | None,
        kind: Kind,
        tables: list[str] | None,
        targets: dict[str, str] | None,
        classes: Classes,
        groups: dict[str, list[str]] | None,
        leakage: Leakage,
        split: Splitting,
        respect_splits: bool,
        repeat: NonNegativeInt,
        fold: NonNegativeInt,
    ) -> None:
        self.kind = kind
        self.name = "openml"
        self.store = kept.store_folder(store)
        suites = suite if isinstance(suite, list) else [] if suite is None else [suite]
        wanted = wanted_tables(suites, tasks or (), datasets or (), self.store)
        asked = _words(suites, tasks, datasets)
        if suites and not tasks and not datasets:
            self.name = "+".join(map(str, suites))
        self.place = self.name
        found = _found(self.store, wanted, asked)
        if tables is not None:
            chosen = select([entry.name for entry in found], tables, "source.tables")
            found = [entry for entry in found if entry.name in chosen]
        unknown = [name for name in targets or {} if name not in {entry.name for entry in found}]
        if unknown:
            hint = did_you_mean(unknown[0], [entry.name for entry in found])
            raise UsageError(f"source.targets: there is no table '{unknown[0]}'{hint}")
        number = (repeat, fold) if respect_splits else None
        read = [
            table
            for entry in found
            if (table := _table(entry, (targets or {}).get(entry.name), kind, number)) is not None
        ]
        if not read:
            raise UsageError(f"{asked}: none of the {len(found)} tables is for {kind}")
        self._entries = by_name = {entry.name: entry for entry in found}
        claimed = owners(by_name, groups or {}, "source.groups")
        self._sketches = {
            table.name: np.asarray(kept.mapped(by_name[table.name].folder, "sketch.npy"))
            for table in read
        }
        same = remembered(
            [(table.name, by_name[table.name].description["digest"]) for table in read],
            lambda: twins(
                self._sketches,
                {table.name: len(table.x) for table in read},
                self._cells,
                lambda one, other: by_name[one].family == by_name[other].family,
            ),
        )
        self.share_out(
            [
                replace(with_classes(table, classes), group=claimed.get(table.name) or table.group)
                for table in read
            ],
            same,
            split,
            {},
            leakage,
        )

    def contents(self, split: Split) -> dict[str, Contents]:
        """The tables of the split, with the sketches that the store keeps."""
        return {
            table.name: Contents(self._sketches[table.name], self._cells(table.name), table.group)
            for table in self.tables[split]
        }

    def _cells(self, name: str) -> Float32[np.ndarray, "M F"]:
        """All that a sketch is about: also a column that is the target here."""
        return kept.mapped(self._entries[name].folder, "cells.npy")


@dataclass(frozen=True)
class _Entry:
    """A table as the store describes it."""

    name: str
    folder: Path
    description: Mapping[str, Any]
    task: Mapping[str, Any] | None
    task_folder: Path | None

    @property
    def family(self) -> str:
        number = int(self.description["id"])
        return family_of().get(number, f"openml {number}")


def _found(store: Path, wanted: Sequence[Wanted], asked: str) -> list[_Entry]:
    """What the store has of all that is wanted, each table (data set and target) once.

    Raises MetamineError that names the gaps, if there are any, and the command that fills them.
    """
    entries: dict[tuple[int, str | None], _Entry] = {}
    missing = []
    for table in wanted:
        task: Mapping[str, Any] | None = None
        task_folder, number = None, table.dataset
        try:
            if table.task is not None:
                task_folder = kept.entry_folder(store, "tasks", table.task)
                task = kept.read(task_folder, "tasks")
                number = int(task["dataset"])
            assert number is not None
            folder = kept.entry_folder(store, "datasets", number)
            description = kept.read(folder, "datasets")
        except FileNotFoundError:
            missing.append(
                f"data set {table.dataset}" if table.task is None else f"task {table.task}"
            )
            continue
        target = None if task is None else str(task["target"])
        plain = re.sub(r"[^\w.+,()-]", "_", str(description["name"]))  # it stands in tables
        name = f"{plain} ({number})"
        if any(known.name == name for known in entries.values()):
            if (number, target) in entries:
                log.info("%s is asked for twice, and taken once", name)
                continue
            name = f"{name} {target or 'default target'}"
        entries[number, target] = _Entry(name, folder, description, task, task_folder)
    if missing:
        some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise MetamineError(
            f"the store {store} lacks {len(missing)} of {len(wanted)} tables ({some}); fetch them "
            f"with: metamine prefetch {asked} dest={store}"
        )
    return list(entries.values())


def _table(
    entry: _Entry, target: str | None, kind: Kind, split: tuple[int, int] | None
) -> Table | None:
    """The table, its cells memory mapped; None if it is not of this kind.

    split: repeat and fold of the task's split that is to be respected; None: none.
    """
    columns = {str(column["name"]): column for column in entry.description["columns"]}
    answer = columns[_target(entry, target, columns)]
    if (answer["type"] == "nominal") != (kind == "classification"):
        log.info("%s is not for %s: '%s' is %s", entry.name, kind, answer["name"], answer["type"])
        return None
    x: np.ndarray = kept.mapped(entry.folder, "cells.npy")
    features = sorted(
        (column for column in columns.values() if column["role"] == "feature"),
        key=lambda column: int(column["at"]),
    )
    if answer["role"] == "target":
        values = np.array(kept.mapped(entry.folder, "targets.npy")[answer["at"]])
    else:
        # A feature by OpenML's description is to be predicted: the others are copied.
        values = x[:, answer["at"]].astype(np.float64)
        x = np.delete(x, answer["at"], axis=1)
        features = [column for column in features if column is not answer]
        if not features:
            raise UsageError(f"{entry.name} has no column besides '{answer['name']}'")
    known = ~np.isnan(values)
    rows = None if known.all() else np.flatnonzero(known)
    if rows is not None:
        log.info("%s: %d rows without a target are left out", entry.name, (~known).sum())
    values = values[known]
    training: Bool[np.ndarray, " M"] | None = None
    if split is not None:
        part = _parts(entry, split)[known]
        taken = (part == kept.TRAINING) | (part == kept.TEST)
        rows = (np.arange(len(known)) if rows is None else rows)[taken]
        values, training = values[taken], part[taken] == kept.TRAINING
    classes = tuple(map(str, answer.get("levels", ())))
    if kind == "classification":
        y, mean, sd = values.astype(np.int64), 0.0, 1.0
        if len(np.unique(y)) < 2:
            raise UsageError(f"{entry.name}: its target '{answer['name']}' has a single class")
    else:
        y, mean, sd = standardised(values)
    return Table(
        name=entry.name,
        group=entry.family,
        kind=kind,
        x=x,
        y=y,
        categorical=np.array([column["type"] == "nominal" for column in features]),
        features=tuple(str(column["name"]) for column in features),
        classes=classes,
        rows=rows,
        training=training,
        target_mean=mean,
        target_sd=sd,
    )


def _target(entry: _Entry, given: str | None, columns: Mapping[str, Any]) -> str:
    """The name of the column to predict. Raises UsageError if it is not clear, or not usable."""
    defaults = [name for name, column in columns.items() if column["role"] == "target"]
    name = given or (entry.task and str(entry.task["target"]))
    how = f"choose one: source.targets={{'{entry.name}': COLUMN}}"
    if not name:
        if len(defaults) != 1:
            what = f"names several targets ({', '.join(defaults)})" if defaults else "has no target"
            raise UsageError(f"{entry.name} {what}; {how}, or leave it out")
        name = defaults[0]
    if name not in columns:
        raise UsageError(f"{entry.name} has no column '{name}'{did_you_mean(name, columns)}; {how}")
    column = columns[name]
    if column["role"] == "left out":
        raise UsageError(
            f"{entry.name}: the column '{name}' cannot be predicted ({column['why']}); {how}"
        )
    return name


def _parts(entry: _Entry, split: tuple[int, int]) -> np.ndarray:
    """The part of each row in a split of the task."""
    if entry.task is None or entry.task_folder is None:
        raise UsageError(
            f"{entry.name} is taken as a data set, which has no splits; name its task, or "
            "source.respect_splits=false"
        )
    if "parts.npy" not in entry.task["files"]:
        raise UsageError(
            f"task {entry.task['id']} was fetched without its splits; use "
            "source.respect_splits=false"
        )
    parts = kept.mapped(entry.task_folder, "parts.npy")
    repeat, fold = split
    if repeat >= parts.shape[0] or fold >= parts.shape[1]:
        raise UsageError(
            f"task {entry.task['id']} has {parts.shape[0]} repeats of {parts.shape[1]} folds, "
            f"counted from 0; there is no repeat {repeat}, fold {fold}"
        )
    return np.array(parts[repeat, fold])


def _words(
    suites: Iterable[str | int], tasks: Iterable[int] | None, datasets: Iterable[int] | None
) -> str:
    """What is asked for, as one types it."""
    given: dict[str, list[Any]] = {
        "suite": list(suites),
        "tasks": list(tasks or ()),
        "datasets": list(datasets or ()),
    }
    return " ".join(
        f"{key}={values[0] if len(values) == 1 and key == 'suite' else values}".replace(", ", ",")
        for key, values in given.items()
        if values
    )
