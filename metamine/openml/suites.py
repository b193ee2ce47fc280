"""Which tasks and data sets a suite holds: snapshots that ship with metamine, or kept in the store.

A snapshot is a JSON file: id, alias, when and from where it was collected, and its entries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamine.complaints import did_you_mean
from metamine.errors import UsageError

SHIPPED = Path(__file__).with_name("suites")


@dataclass(frozen=True, order=True)
class Wanted:
    """One table to have: a task, or a data set with its default target (`task` is None)."""

    dataset: int | None  # None: as the task says
    task: int | None


@dataclass(frozen=True)
class Suite:
    """A named list of tables."""

    id: int | None
    alias: str
    collected: str  # date
    entries: tuple[Wanted, ...]


def parse(content: dict[str, Any]) -> Suite:
    """A snapshot, as its file has it."""
    return Suite(
        id=content["id"],
        alias=content["alias"],
        collected=content["collected"],
        entries=tuple(Wanted(each["dataset"], each["task"]) for each in content["entries"]),
    )


def known(store: Path) -> list[Suite]:
    """The suites that need no network, by alias; those in the store go before the shipped ones."""
    suites = {each.alias.casefold(): each for each in _snapshots(SHIPPED)}
    suites |= {each.alias.casefold(): each for each in _snapshots(store / "suites")}
    return list(suites.values())


def resolve(name: str | int, store: Path) -> Suite:
    """A suite by alias or id (also `openml/s/99`), without a network.

    What `metamine prefetch --refresh` put into the store goes before what ships with metamine.
    Raises UsageError if neither knows it.
    """
    wanted = str(name).casefold()
    number = re.fullmatch(r"(?:openml/s/)?(\d+)", wanted)
    for suite in known(store):
        if suite.alias.casefold() == wanted or (number and suite.id == int(number[1])):
            return suite
    names = [suite.alias for suite in known(store)]
    raise UsageError(
        f"there is no suite '{name}' here{did_you_mean(str(name), names)}; known are "
        f"{', '.join(names)}; any other: metamine prefetch suite={name} --refresh"
    )


def wanted_tables(
    suite: Sequence[str | int], tasks: Sequence[int], datasets: Sequence[int], store: Path
) -> list[Wanted]:
    """All that is asked for, each once, in the order asked.

    Raises UsageError if nothing is asked for, or a suite is not known.
    """
    found = [entry for name in suite for entry in resolve(name, store).entries]
    found += [Wanted(None, task) for task in tasks]
    found += [Wanted(dataset, None) for dataset in datasets]
    if not found:
        raise UsageError(
            "name what to take from OpenML: suite=OpenML-CC18, tasks=[31,3021] or datasets=[31,61]"
        )
    return list(dict.fromkeys(found))


def _snapshots(folder: Path) -> list[Suite]:
    return [parse(json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]
