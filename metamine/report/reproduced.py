"""A published table with ours beside it, from the directories of its runs alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metamine.errors import MetamineError, UsageError
from metamine.report import sections
from metamine.report.collect import SAME_SCORE
from metamine.report.drawing import drawing
from metamine.report.files import Labelled, Run, write
from metamine.report.headline import headlines
from metamine.report.html import write_both
from metamine.report.results import TITLES, in_order, only, records
from metamine.report.run_report import body
from metamine.report.table import NOTHING, Rows, latex, markdown, number, with_interval
from metamine.reproduce.table import Cell, Table
from metamine.scores import NOT_METRICS
from metamine.statistics import summarise

COMPARED = ["row", "column", "published", "ours", "difference", "low", "high", "by", "tables"]
HEADER = ["row", "column", "published", "ours", "difference", "95% interval", "according to"]


@dataclass(frozen=True)
class Results:
    """All that is finished of a table.

    frame: as `statistics.summarise` takes it; `method` is the row, `protocol` the column.
    """

    frame: pd.DataFrame
    runs: list[Labelled]


def collect(table: Table, found: Sequence[tuple[Cell, str, Path]]) -> Results:
    """Read the finished runs. found: cell, column of the evaluation, run directory.

    Raises MetamineError if there is none, UsageError if they lack the table's metric.
    """
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
        runs.append((cell.row, run))
    if not frames:
        raise MetamineError("nothing is finished; see the failures above")
    frame = pd.concat(frames, ignore_index=True)
    told = ["label"] if frame["label"].any() else []
    if not told or frame["protocol"].nunique() > 1:
        told.append("protocol")
    if frame["source"].nunique() > 1:
        told.insert(0, "source")
    frame = frame.assign(protocol=frame[told].agg(", ".join, axis=1)).drop(columns="label")
    frame = frame.drop_duplicates(SAME_SCORE, ignore_index=True)
    if table.metric not in frame:
        known = ", ".join(str(name) for name in frame if name not in NOT_METRICS)
        raise UsageError(f"no run has a metric {table.metric}; there are {known}")
    if table.shown is not None:
        frame = frame[frame["method"].isin(table.shown)]
    return Results(frame, runs)


def write_report(
    table: Table,
    results: Results,
    folder: Path,
    output: Path,
    failures: Sequence[str],
    seconds: float,
) -> str:
    """Write the report and its pictures, published.csv, results.csv and table.tex into `output`.

    folder: of the table's yaml. seconds: what all commands took together.
    Returns the comparison, for the terminal.
    """
    compared = comparison(table, results.frame, folder)
    rows = list(_rows(compared))
    if table.metric in TITLES:
        grids = [str(each) for each in headlines(results.frame, {})]
    else:
        grids = [_grid(results.frame, table.metric)]
    top = "\n\n".join([_held_against_others(table, compared, rows), *grids]).strip()
    parts = [
        f"# {table.title}",
        table.about,
        _how(results.runs, seconds),
        "\n".join(f"- missing: {failure}" for failure in failures),
        top,
        *_adaptation(results.frame, table.metric, output),
        _costs(results.runs),
        *body(results.frame, results.runs, output, [table.metric]),
        sections.READING,
    ]
    write(output / "published.csv", compared.to_csv(index=False))
    write(output / "results.csv", summarise(results.frame).to_csv(index=False))
    write(output / "table.tex", latex(HEADER, rows, table.title) + "\n")
    write_both(output, parts)
    return f"{table.title}\n\n{top}"


def _how(runs: Sequence[Labelled], seconds: float) -> str:
    """When, where and from which commit the runs were made, and how long they took."""
    records = [run.record for _, run in runs]
    told = {
        "from {}": min((str(each["started"]) for each in records if "started" in each), default=""),
        "to {}": max((str(each["ended"]) for each in records if "ended" in each), default=""),
        "cores {}": _all(run.part("machine").get("cores") for _, run in runs),
        "device {}": _all(each.get("device") for each in records),
        "commit {}": _all(_commit(run) for _, run in runs),
        "all commands together {} min": f"{seconds / 60:.0f}",
    }
    return "; ".join(text.format(value) for text, value in told.items() if value)


def _all(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values if value is not None}))


def _commit(run: Run) -> str | None:
    git = run.part("git")
    return f"{git['commit']:.10}" + "+" * bool(git.get("dirty")) if git.get("commit") else None


def _held_against_others(table: Table, compared: pd.DataFrame, rows: Rows) -> str:
    """Published and ours, whose numbers they are, and what we do otherwise."""
    parts = []
    if rows:
        cited = [f"- {by}: {table.sources[str(by)]}" for by in compared["by"].unique()]
        cited += ["- 95% interval: of ours minus published, which is taken as exact."]
        parts += ["## Published and ours", markdown(HEADER, rows), "\n".join(cited)]
    if table.deviations:
        parts += ["What we do otherwise:", "\n".join(f"- {each}" for each in table.deviations)]
    return "\n\n".join([*parts, "## Ours"])


def _costs(runs: Sequence[Labelled]) -> str:
    """What training and adapting took, on average over the runs of a row; empty if nobody says."""
    told = [
        {
            "row": row,
            "parameters": run.record.get("parameters"),
            "train s": cost["train_seconds"],
            "ms a task": next(iter((cost.get("task_milliseconds") or {}).values()), None),
            "memory MB": (cost.get("peak_memory_mb") or {}).get("host"),
        }
        for row, run in runs
        if (cost := run.part("cost")).get("train_seconds")
    ]
    if not told:
        return ""
    means = pd.DataFrame(told).groupby("row", sort=False).mean().reset_index()
    rows = [[NOTHING if each != each else _short(each) for each in row] for row in means.to_numpy()]
    note = (
        "train s: meta-training; ms a task: adapting to a test task and answering for its query "
        "rows; memory MB: the most that the whole run took."
    )
    return "\n\n".join(["## Cost", markdown([str(name) for name in means], rows), note])


def _short(value: object) -> str:
    """Three digits of a small number, whole large ones, words as they are."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _adaptation(results: pd.DataFrame, metric: str, output: Path) -> list[str]:
    """The curve over inner steps, if the columns differ in them."""
    module = drawing("adaptation")
    file = module.draw(results, metric, output / "pictures") if module else None
    caption = "After each number of inner steps; errors beyond twice the worst start are cut off."
    return [f"![adaptation](pictures/{file})\n\n{caption}"] if file else []


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
    Where there is no number of ours, it and what follows from it are NaN.
    """
    results = only(results, table.metric)
    rows = list(_of_cells(table, summarise(results)))
    if table.published_by_table:
        rows += _of_tables(pd.read_csv(folder / table.published_by_table), results, table.metric)
    order = [*(table.shown or ()), *(str(each["row"]) for each in rows)]
    rows.sort(key=lambda each: order.index(str(each["row"])))
    return pd.DataFrame(rows, columns=COMPARED)


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
    ours = results.groupby(["protocol", "table", "method"])[metric].mean().unstack()
    for column, theirs in published.groupby("column", sort=False):
        if column not in ours.index:
            continue
        mine = ours.loc[[column]].droplevel(0)
        theirs = theirs.set_index("table").drop(columns="column").dropna()
        theirs = theirs[theirs.index.isin(mine.index)]
        for row in map(str, theirs):
            told: dict[str, Any] = {
                "row": row,
                "column": column,
                "by": "by_table",
                "tables": len(theirs),
            }
            if row not in mine or mine[row].isna().all():
                yield told | {"published": theirs[row].mean()}
                continue
            both = theirs[[row]].assign(ours=mine[row]).dropna()
            gap = both["ours"] - both[row]
            half = 1.96 * gap.std() / len(gap) ** 0.5
            yield told | {
                "published": both[row].mean(),
                "ours": both["ours"].mean(),
                "difference": gap.mean(),
                "low": gap.mean() - half,
                "high": gap.mean() + half,
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
