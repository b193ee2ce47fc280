"""The tables that metamine ships: each is sound, whatever is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from making import names_in
from running import config

from metamine.confdir import conf_dir
from metamine.config import build
from metamine.reproduce.table import Cell, Table, load, tables
from metamine.settings import check_training

FOLDERS = [conf_dir()]
NAMES = [*tables(FOLDERS)]


@cache
def table(name: str) -> Table:
    return load(name, FOLDERS)


CELLS = [
    pytest.param(cell, id=f"{name}-{cell.name}") for name in NAMES for cell in table(name).cells()
]
BY_TABLE = [name for name in NAMES if table(name).published_by_table]


def runs(words: tuple[str, ...]) -> list[list[str]]:
    """The overrides of each run of the sweep `metamine train -m WORDS`."""
    parsed = OverridesParser.create().parse_overrides([*words])
    (each,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [[*run] for run in each]


def composed(overrides: list[str]) -> dict[str, Any]:
    return config(*overrides, "device=cpu", small=False)


def judged_by(this: Table, words: Sequence[str]) -> dict[str, Any]:
    """The first run's config with a node of its own for each that `words` choose anew."""
    first = runs(next(this.cells()).words)[0]
    anew = tuple(f"{word.partition('=')[0]}." for word in words if "." not in word)
    return composed([*(word for word in first if not word.startswith(anew)), *words])


def columns(name: str) -> set[str]:
    """What the columns are called, source and label of the cell apart."""
    this = table(name)
    return set(judged_by(this, this.evaluated.get("", []))["evaluation"]["protocols"])


def baselines(name: str) -> set[str]:
    called = table(name).names
    return {called.get(each, each) for each in names_in("baseline")}


def test_there_are_tables() -> None:
    assert {"flat_uci", "maml_sinusoid"} <= {*NAMES}


@pytest.mark.parametrize("cell", CELLS)
def test_the_runs_of_a_cell_compose(cell: Cell) -> None:
    """The first of them: the others differ from it in values, and take long to compose."""
    first, *others = runs(cell.words)
    check_training(composed(first))
    keys = [override.partition("=")[0] for override in first]
    assert all([each.partition("=")[0] for each in other] == keys for other in others)


@pytest.mark.parametrize("name", NAMES)
def test_columns_that_are_evaluated_anew_compose(name: str) -> None:
    for words in table(name).evaluated.values():
        check_training(judged_by(table(name), words))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_and_renamed_is_there(name: str) -> None:
    this = table(name)
    assert set(this.names) <= {*names_in("baseline")}
    known = baselines(name) | {*this.rows} | {f"{row} from scratch" for row in this.rows}
    assert set(this.shown or ()) <= known
    assert {row for row, *_ in this.numbers()} <= known


@pytest.mark.parametrize("name", BY_TABLE)
def test_numbers_of_single_tables(name: str) -> None:
    this = table(name)
    assert this.published_by_table is not None
    numbers = pd.read_csv(conf_dir() / "table" / this.published_by_table)
    assert list(numbers.columns[:2]) == ["column", "table"]
    assert not numbers.duplicated(["column", "table"]).any()
    assert set(numbers["column"]) == columns(name)
    values = numbers.drop(columns=["column", "table"])
    assert ((values >= 0) & (values <= 1) | values.isna()).all(axis=None)
    compared = set(values) & (baselines(name) | {*this.rows})
    assert compared
    assert compared <= set(this.shown or compared)


def test_folds_of_flat_uci_share_no_table(tmp_path: Path) -> None:
    """A made folder: every table is tested once, in a fold that does not train on it."""
    for index in range(8):
        rng = np.random.default_rng(index)
        frame = pd.DataFrame(rng.gamma(rng.uniform(0.2, 3, 3), size=(40, 3)), columns=[*"abc"])
        frame.assign(target=rng.integers(0, 4, 40)).to_csv(tmp_path / f"t{index}.csv", index=False)
    cell = next(table("flat_uci").cells([f"path={tmp_path}"]))
    every = runs(cell.words)
    node = composed(every[0])["source"]
    folds = [int(word.partition("=")[2]) for run in every for word in run if "split.fold=" in word]
    tested: list[str] = []
    for fold in folds:
        source = build(node | {"split": node["split"] | {"fold": fold}})
        sides = {side: {each.name for each in tables} for side, tables in source.tables.items()}
        assert len(set.union(*sides.values())) == sum(map(len, sides.values())) == 8
        assert all(len(each.classes) == 2 for each in source.tables["test"])
        tested += sides["test"]
    assert sorted(tested) == [f"t{index}" for index in range(8)]


def test_flat_uci_binary_protocols() -> None:
    """What the numbers were measured on: labelled rows and queries, scaled together."""
    evaluation = build(composed(runs(next(table("flat_uci").cells()).words)[0])["evaluation"])
    asked = {
        name: (each.rows, each.query, each.transductive, each.draw, each.one_class, each.columns)
        for name, each in evaluation.protocols.items()
    }
    assert asked == {
        f"{rows}-rows": (rows, 5, True, "balanced", "redraw", None) for rows in (3, 5, 10, 15)
    }
