"""A published table: what to run for each of its cells, and the numbers that were printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import PositiveFloat

from metamine.complaints import did_you_mean
from metamine.config import build
from metamine.errors import UsageError
from metamine.overrides import digest


@dataclass(frozen=True)
class Cell:
    """What one sweep trains: a row, in one of the columns that are trained for themselves."""

    row: str
    column: str  # empty if all columns come from the same training
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """As progress and logs call it."""
        return f"{self.row}, {self.column}" if self.column else self.row

    @property
    def folder(self) -> str:
        """Another one for other words, so that no result of another table is taken for this one."""
        return f"{file_name(self.name)}_{digest(self.words)}"


@dataclass(frozen=True)
class Table:
    """Rows by columns; each cell is a sweep of `metamine train -m`, and evaluations of its runs.

    title: what is measured.
    about: the paper, and the place in it.
    minutes: what all of it took on two cores, measured; null if it has not been.
    metric: of the cells, as results.parquet calls it: accuracy, roc_auc_ovr, mse, ...
    common: overrides of every cell; several values, as in seed=0,1, are runs of the same cell.
    rows: overrides by row.
    trained: overrides by column, for columns that need training of their own; {} if none does.
    evaluated: overrides of `metamine evaluate` by column, for columns that judge the same training
        differently; {} takes the evaluation at the end of training. Without either, or if a name
        is empty, the columns are the protocols of the evaluation.
    shown: the rows to show, in order, among them "ROW from scratch" and the baselines of the
        evaluation; null shows all.
    names: what baselines are called in the table, where they are not called as in conf/baseline.
    published: the numbers of others, by row and column: values, each with a name from `sources`.
    published_by_table: a CSV file beside the yaml: numbers of others for single tables of rows,
        with columns `column`, `table` and one for each row; they are compared on the tables that
        both have. null if there is none.
    sources: by name, where exactly numbers are printed, and whether they were read off a figure or
        derived; "by_table" is that of the file.
    deviations: what we do otherwise than the paper.
    """

    title: str
    about: str
    minutes: PositiveFloat | None
    metric: str
    common: list[str]
    rows: dict[str, list[str]]
    trained: dict[str, list[str]]
    evaluated: dict[str, list[str]]
    shown: list[str] | None
    names: dict[str, str]
    published: dict[str, dict[str, list[tuple[float, str]]]]
    published_by_table: str | None
    sources: dict[str, str]
    deviations: list[str]

    def __post_init__(self) -> None:
        cited = {by for *_, by in self.numbers()}
        cited |= {"by_table"} if self.published_by_table else set()
        if missing := cited - self.sources.keys():
            raise ValueError(f"sources lacks {', '.join(sorted(missing))}")

    def numbers(self) -> Iterator[tuple[str, str, float, str]]:
        """Row, column, value and source of each number in `published`."""
        for row, columns in self.published.items():
            for column, values in columns.items():
                for value, by in values:
                    yield row, column, value, by

    def cells(self, more: Sequence[str] = ()) -> Iterator[Cell]:
        """All of them, row by row; `more` are overrides that come last."""
        for row, of_row in self.rows.items():
            for column, of_column in (self.trained or {"": []}).items():
                yield Cell(row, column, (*self.common, *of_row, *of_column, *more))


def tables(folders: Sequence[Path]) -> Mapping[str, Path]:
    """The yaml of each table, by name; of two with one name, that of the later folder."""
    found = {path.stem: path for folder in folders for path in folder.glob("table/*.yaml")}
    return dict(sorted(found.items()))


def load(name: str, folders: Sequence[Path]) -> Table:
    """The table of that name. Raises UsageError if there is none, or if it is unsound."""
    known = tables(folders)
    if name not in known:
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise UsageError(f"there is no table {name}{hint}")
    table = build(yaml.safe_load(known[name].read_text()), where=f"table {name}")
    if not isinstance(table, Table):
        raise UsageError(f"{known[name]} describes no table, but a {type(table).__name__}")
    return table


def file_name(text: str) -> str:
    """`text` with only letters, digits, dots and dashes, for a file."""
    return "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in text)
