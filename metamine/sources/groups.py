"""Which tables belong together: named in one group, or found to hold the same data."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from metamine.errors import UsageError
from metamine.sources.base import Split
from metamine.sources.twins import Twin

# What becomes of a group that is on two sides of a split that somebody else fixed.
Leakage = Literal["refuse", "warn"]

log = logging.getLogger(__name__)


def members_of(group_of: Mapping[str, str], found: Iterable[Twin]) -> dict[str, list[str]]:
    """Group -> its tables, once the groups of tables that hold the same data are one.

    group_of: table -> group, as named. found: what the contents show; each is said in a warning.
    """
    group_of = dict(group_of)
    for twin in found:
        kept, lost = group_of[twin.first], group_of[twin.second]
        if kept != lost:
            log.warning(
                "%s and %s hold the same rows and count as one group: %s",
                twin.first,
                twin.second,
                twin.reason,
            )
            group_of = {name: kept if group == lost else group for name, group in group_of.items()}
    members: dict[str, list[str]] = {}
    for name, group in group_of.items():
        members.setdefault(group, []).append(name)
    return members


def check_sides(
    members: Mapping[str, Sequence[str]], sides: Mapping[str, Split], leakage: Leakage
) -> None:
    """Raise UsageError (`leakage` = "warn": warn) if a group is on two sides of the split."""
    for group, tables in members.items():
        side_of = {table: sides[table] for table in tables if table in sides}
        if len(set(side_of.values())) > 1:
            where = ", ".join(f"{table} in {side}" for table, side in side_of.items())
            problem = f"the group '{group}' is on two sides of the split ({where})"
            if leakage == "refuse":
                raise UsageError(
                    f"{problem}; tables of one group share data, so put all of them on one side, "
                    "or, to follow a published split all the same, source.leakage=warn"
                )
            log.warning("%s: what is tested was seen in training", problem)
