"""A published table with ours beside it, from the directories of its runs alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metamine.errors import MetamineError
from metamine.report import sections
from metamine.report.collect import SAME_SCORE
from metamine.report.drawing import drawing
from metamine.report.files import Labelled, Run, write
from metamine.report.headline import headlines
from metamine.report.results import TITLES, in_order, only, records
from metamine.report.run_report import body
from metamine.report.table import NOTHING, latex, markdown, number, with_interval
from metamine.reproduce.table import Cell, Table
from metamine.statistics import summarise

HEADER = ["row", "column", "published", "ours", "difference", "95% interval", "according to"]


@dataclass(frozen=True)
class Results:
    """All that is finished of a table.

    frame: as `statistics.summarise` takes it; `method` is the row, `protocol` the column.
    """

    frame: pd.DataFrame
    runs: list[Labelled]


def collect(table: Table, found: Sequence[tuple[Cell, str, Path]]) -> Results:
    """Read the finished runs. found: cell, column of the evaluation, run directory."""
    frames, runs = [], []
    for cell, column, path in found:
        try:
            run = Run.read(path)
            frame = run.results()
        except MetamineError:  # it is not done, as the caller has said
            continue
        row = {"meta": cell.row, "from scratch": f"{cell.row} from scratch"}
        method = frame["role"].map(row).fillna(frame["method"].replace(table.names))
        label = ", ".join(part for part in (cell.column, column) if part)
        frames.append(frame.assign(method=method, label=label))
        runs.append((cell.name, run))
    if not frames:
        raise MetamineError("nothing is finished; see the failures above")
    frame = pd.concat(frames, ignore_index=True)
    told = ["label"] if table.trained or table.evaluated else []
    if not told or frame["protocol"].nunique() > 1:
        told.append("protocol")
    if frame["source"].nunique() > 1:
        told.insert(0, "source")
    frame = frame.assign(protocol=frame[told].agg(", ".join, axis=1)).drop(columns="label")
    frame = frame.drop_duplicates(SAME_SCORE, ignore_index=True)
    if table.shown is not None:
        frame = frame[frame["method"].isin(table.shown)]
    return Results(frame, runs)


def write_report(
    table: Table, results: Results, folder: Path, output: Path, failures: Sequence[str]
) -> str:
    """Write report.md, published.csv, results.csv, table.tex and pictures/ into `output`.

    folder: of the table's yaml. Returns the comparison for the terminal.
    """
    compared = comparison(table, results.frame, folder)
    write(output / "published.csv", compared.to_csv(index=False))
    write(output / "results.csv", summarise(results.frame).to_csv(index=False))
    shown = markdown(HEADER, list(_rows(compared)))
    cited = {str(by): table.sources[str(by)] for by in compared["by"].unique()}
    notes = [f"- {by}: {where}" for by, where in cited.items()]
    notes += ["- 95% interval: of ours minus published, the published number taken as exact."]
    deviations = [f"- {deviation}" for deviation in table.deviations]
    top = "\n".join([shown, "", *notes, "", "What we do otherwise:", "", *deviations])
    if table.metric in TITLES:
        grids = [str(each) for each in headlines(results.frame, {})]
    else:
        grids = [_grid(results.frame, table.metric)]
    missing = [f"- missing: {failure}" for failure in failures]
    parts = [f"# {table.title}", table.about, "## Published and ours", top, "\n".join(missing)]
    parts += [
        "## Ours",
        *grids,
        *_adaptation(results.frame, table.metric, output),
        *body(results.frame, [], output),
        sections.READING,
    ]
    write(output / "report.md", "\n\n".join(part for part in parts if part) + "\n")
    write(output / "table.tex", latex(HEADER, list(_rows(compared)), table.title) + "\n")
    return "\n\n".join([table.title, top, *grids])


def _adaptation(results: pd.DataFrame, metric: str, output: Path) -> list[str]:
    """The curve over inner steps, if the columns differ in them."""
    module = drawing("adaptation")
    file = module.draw(results, metric, output / "pictures") if module else None
    return [f"![adaptation](pictures/{file})\n\nAfter each number of inner steps."] if file else []


def _grid(results: pd.DataFrame, metric: str) -> str:
    """Rows by columns: mean and interval of each."""
    summary = summarise(only(results, metric))
    columns = summary["protocol"].unique()
    cells = {(row["method"], row["protocol"]): with_interval(row) for row in records(summary)}
    rows = [
        [method, *(cells.get((method, column), NOTHING) for column in columns)]
        for method in in_order(summary, metric)
    ]
    return markdown([metric, *columns], rows)


def comparison(table: Table, results: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """A row for each published number: it, ours, the difference and its 95% interval.

    Numbers of single tables are compared as a mean over the tables that have both (`tables` says
    how many), and the interval is over the differences of tables; otherwise it is that of ours.
    """
    results = only(results, table.metric)
    rows = list(_of_cells(table, summarise(results)))
    if table.published_by_table:
        rows += _of_tables(pd.read_csv(folder / table.published_by_table), results, table.metric)
    return pd.DataFrame(rows)


def _of_cells(table: Table, summary: pd.DataFrame) -> Iterator[dict[str, Any]]:
    ours = {(row["method"], row["protocol"]): row for row in records(summary)}
    nothing = dict.fromkeys(("mean", "low", "high"), np.nan)
    for row, column, value, by in table.numbers():
        mine = ours.get((row, column), nothing)
        yield {
            "row": row,
            "column": column,
            "published": value,
            "ours": mine["mean"],
            "difference": mine["mean"] - value,
            "low": mine["low"] - value,
            "high": mine["high"] - value,
            "by": by,
            "tables": np.nan,
        }


def _of_tables(
    published: pd.DataFrame, results: pd.DataFrame, metric: str
) -> Iterator[dict[str, Any]]:
    ours = results.groupby(["method", "protocol", "table"])[metric].mean()
    known = {(row, column) for row, column, _ in ours.index}
    for column, theirs in published.groupby("column", sort=False):
        theirs = theirs.set_index("table").drop(columns="column").dropna()
        for row in theirs.columns[[(row, column) in known for row in theirs]]:
            both = pd.concat([theirs[row], ours[row, column]], axis=1, join="inner")
            gap = both.iloc[:, 1] - both.iloc[:, 0]
            half = 1.96 * gap.std() / len(gap) ** 0.5
            yield {
                "row": row,
                "column": column,
                "published": both.iloc[:, 0].mean(),
                "ours": both.iloc[:, 1].mean(),
                "difference": gap.mean(),
                "low": gap.mean() - half,
                "high": gap.mean() + half,
                "by": "by_table",
                "tables": len(gap),
            }


def _rows(compared: pd.DataFrame) -> Iterator[list[str]]:
    for row in records(compared):
        gap, low, high, n_tables = (row[key] for key in ("difference", "low", "high", "tables"))
        told = gap == gap
        yield [
            row["row"],
            row["column"],
            number(row["published"]),
            number(row["ours"]),
            f"{gap:+.3f}" if told else NOTHING,
            f"{low:+.3f} to {high:+.3f}" if told else NOTHING,
            row["by"] + (f", {n_tables:.0f} tables" if n_tables == n_tables else ""),
        ]
