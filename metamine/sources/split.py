"""Which table serves which split: whole groups only, so that no data stands on two sides."""

from __future__ import annotations

import fnmatch
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, cast, get_args

import numpy as np
from pydantic import Field, NonNegativeInt

from metamine.complaints import did_you_mean
from metamine.errors import MetamineError, UsageError
from metamine.randomness import seed_of
from metamine.sources.base import Split

log = logging.getLogger(__name__)

SPLITS: tuple[Split, ...] = get_args(Split)


class EmptySplit(MetamineError):
    """The source has no table in the split that was asked for."""


class Splitting(ABC):
    """A way to share out groups of tables among the splits."""

    @abstractmethod
    def sides(
        self, members: Mapping[str, Sequence[str]], given: Mapping[str, Split]
    ) -> dict[str, Split]:
        """The split of every table; a table that is not in the answer serves none.

        members: group -> its tables.
        given: table -> split, as far as index.csv says.
        Raises UsageError if there are too few groups.
        """


@dataclass(frozen=True)
class Shares(Splitting):
    """Draw the groups, so that the splits' numbers of tables are near the given ratio.

    Only the ratio of the shares counts; every split with a share gets a group at least. A group
    of which index.csv names the split goes there whole.
    """

    train: Annotated[float, Field(ge=0)]
    validation: Annotated[float, Field(ge=0)]
    test: Annotated[float, Field(ge=0)]
    seed: NonNegativeInt

    def __post_init__(self) -> None:
        if not self.train + self.validation + self.test:
            raise ValueError("train, validation and test are all 0; give one of them a share")

    def sides(
        self, members: Mapping[str, Sequence[str]], given: Mapping[str, Split]
    ) -> dict[str, Split]:
        sides = dict(given)
        left = []
        for group in _shuffled(members, self.seed):
            named = [given[table] for table in members[group] if table in given]
            if named:
                sides |= {table: named[0] for table in members[group] if table not in given}
            else:
                left.append(group)
        share: dict[Split, float] = {
            side: getattr(self, side) for side in SPLITS if getattr(self, side)
        }
        n_tables = sum(map(len, members.values()))
        quota = {side: n_tables * share[side] / sum(share.values()) for side in share}
        empty = set(share) - set(sides.values())
        if 0 < len(left) < len(empty):
            raise UsageError(
                f"{len(left)} groups of tables cannot fill {', '.join(sorted(empty))}: set the "
                "share of a split that you can do without to 0 (source.split.validation=0), or, "
                "to only evaluate on these tables, those of train and validation"
            )
        for n_left, group in zip(range(len(left), 0, -1), left, strict=True):
            lack = {side: quota[side] - list(sides.values()).count(side) for side in quota}
            empty -= set(sides.values())
            if n_left <= len(empty):
                lack = {side: lack[side] for side in lack if side in empty}
            side = max(lack, key=lambda side: lack[side])
            sides |= dict.fromkeys(members[group], side)
        return sides


@dataclass(frozen=True)
class Folds(Splitting):
    """Cross-dataset folds: test on fold `fold`, validate on the next one, train on the rest.

    The folds are the same for every `fold`, and disregard the splits that index.csv names.
    """

    folds: Annotated[int, Field(ge=3)]
    fold: NonNegativeInt  # counted from 0
    seed: NonNegativeInt

    def __post_init__(self) -> None:
        if self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}; {self.folds} folds are counted from 0")

    def sides(
        self, members: Mapping[str, Sequence[str]], given: Mapping[str, Split]
    ) -> dict[str, Split]:
        if given:
            log.warning("the folds are drawn anew: the splits that index.csv names are not used")
        if len(members) < self.folds:
            raise UsageError(
                f"{len(members)} groups of tables cannot fill {self.folds} folds; "
                "lower source.split.folds"
            )
        sides: dict[str, Split] = {}
        for index, tables in enumerate(in_parts(members, self.folds, self.seed)):
            distance = (index - self.fold) % self.folds
            side: Split = "test" if distance == 0 else "validation" if distance == 1 else "train"
            sides |= dict.fromkeys(tables, side)
        return sides


@dataclass(frozen=True)
class OnePart(Splitting):
    """Train on part `part` alone, test on all tables of the others; null: test on all tables.

    The parts are the same for every `part`, and disregard the splits that index.csv names. Nothing
    is left for validation: its tables would be tested too.
    """

    parts: Annotated[int, Field(ge=2)]
    part: NonNegativeInt | None  # counted from 0
    seed: NonNegativeInt

    def __post_init__(self) -> None:
        if self.part is not None and self.part >= self.parts:
            raise ValueError(f"part is {self.part}; {self.parts} parts are counted from 0")

    def sides(
        self, members: Mapping[str, Sequence[str]], given: Mapping[str, Split]
    ) -> dict[str, Split]:
        if given:
            log.warning("the parts are drawn anew: the splits that index.csv names are not used")
        if self.part is None:
            return {table: "test" for tables in members.values() for table in tables}
        if len(members) < self.parts:
            raise UsageError(
                f"{len(members)} groups of tables cannot fill {self.parts} parts; "
                "lower source.split.parts"
            )
        sides: dict[str, Split] = {}
        for index, tables in enumerate(in_parts(members, self.parts, self.seed)):
            sides |= dict.fromkeys(tables, "train" if index == self.part else "test")
        return sides


@dataclass(frozen=True)
class Given(Splitting):
    """Patterns of table names for each split, before what index.csv says of the others."""

    train: list[str]
    validation: list[str]
    test: list[str]

    def sides(
        self, members: Mapping[str, Sequence[str]], given: Mapping[str, Split]
    ) -> dict[str, Split]:
        names = [table for tables in members.values() for table in tables]
        claimed = owners(names, {side: getattr(self, side) for side in SPLITS}, "source.split")
        return dict(given) | cast(dict[str, Split], claimed)


def in_parts(members: Mapping[str, Sequence[str]], parts: int, seed: int) -> list[list[str]]:
    """The tables in `parts` parts of about as many: groups are drawn, and put whole where least is.

    members: group -> its tables; `parts` groups at least, so that no part is empty.
    """
    tables_of: list[list[str]] = [[] for _ in range(parts)]
    for group in _shuffled(members, seed):
        min(tables_of, key=len).extend(members[group])
    return tables_of


def owners(
    names: Collection[str], patterns_of: Mapping[str, Sequence[str]], key: str
) -> dict[str, str]:
    """Who claims each of `names` by a pattern; those that nobody claims are left out.

    Raises UsageError if two claim the same, or a pattern matches nothing.
    """
    owner_of: dict[str, str] = {}
    for owner, patterns in patterns_of.items():
        for name in select(names, patterns, f"{key}.{owner}"):
            if name in owner_of:
                raise UsageError(f"{key}: '{name}' is both in {owner_of[name]} and in {owner}")
            owner_of[name] = owner
    return owner_of


def select(names: Collection[str], patterns: Sequence[str], key: str) -> list[str]:
    """The names that one of the patterns matches (`heart-*`), but none with a `!` before it.

    Raises UsageError if a pattern matches nothing, as a misspelt one does.
    """
    for pattern in patterns:
        if not fnmatch.filter(names, pattern.removeprefix("!")):
            raise UsageError(
                f"{key}: '{pattern}' matches none of the {len(names)} tables"
                + did_you_mean(pattern, names)
            )

    def matched(name: str, wanted: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)

    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    if unwanted and not wanted:
        wanted = ["*"]
    return [name for name in names if matched(name, wanted) and not matched(name, unwanted)]


def _shuffled(groups: Collection[str], seed: int) -> list[str]:
    order = np.random.default_rng(seed_of(seed, "groups of tables")).permutation(len(groups))
    alphabetic = sorted(groups)
    return [alphabetic[index] for index in order]
