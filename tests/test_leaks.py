"""What is trained on in one source and held out in another is found, and said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from metamine.sources.base import Shape, Source, Split
from metamine.sources.leaks import groups, holdings, leaks, leaks_of_run
from metamine.sources.shipped import Shipped, shipped_table
from metamine.sources.table import Pack, Table
from metamine.sources.twins import Contents, contents_of


class Folder(Source):
    """Given training tables."""

    name = "folder"
    kind = "classification"
    endless = False

    def __init__(self, tables: list[Table]) -> None:
        self.tables = tables

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: torch.Generator) -> Pack:
        return Pack.of(self.tables)

    def contents(self, split: Split) -> dict[str, Contents]:
        return contents_of(self.tables) if split == "train" else {}


def renamed(name: str) -> Table:
    """A shipped table as somebody else might have it: other names, order and units."""
    table = shipped_table("wine")
    rows = np.random.default_rng(0).permutation(len(table.y))
    return replace(table, name=name, group=name, x=3 * table.x[rows][:, ::-1] + 1, y=table.y[rows])


def found(trained: list[Source], tested: list[Source]) -> list[str]:
    return leaks(holdings(trained, "train"), holdings(tested, "test"))


def test_a_training_table_that_another_source_holds_out_is_named() -> None:
    shipped = Shipped(["iris", "wine"])
    (said,) = found([Folder([renamed("vintages")])], [shipped])
    assert said.startswith("wine of shipped holds the same data as vintages of folder, which is tr")
    assert "100% of the rows agree" in said


def test_other_tables_and_other_roles_are_no_leak() -> None:
    shipped = Shipped(["iris", "breast_cancer"])
    assert not found([Folder([renamed("vintages")])], [shipped])
    assert not found([shipped], [shipped])
    assert not found([Folder([renamed("one"), renamed("two")])], [shipped])


def test_one_family_is_a_leak_whatever_the_cells() -> None:
    digits = replace(renamed("digits again"), group="digits")
    (said,) = found([Folder([digits])], [Shipped(["digits"])])
    assert "they are of one group" in said


def test_an_evaluation_on_what_the_run_was_trained_on_is_said() -> None:
    kept = groups(holdings([Folder([shipped_table("iris"), shipped_table("wine")])], "train"))
    assert kept == {"folder": {"iris": "iris", "wine": "wine"}}
    tested = holdings([Shipped(["iris", "breast_cancer"])], "test")
    (said,) = leaks_of_run(kept, tested)
    assert said.startswith("iris of shipped holds the same data as iris of folder")
    assert not leaks_of_run({}, tested)
