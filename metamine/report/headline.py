"""The table that answers the question of a run: each method on each held-out source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from metamine.bootstrap import RESAMPLES
from metamine.report.families import families, grouped
from metamine.report.references import note_on, references
from metamine.report.results import (
    REFERENCE,
    TITLES,
    at,
    column_name,
    columns_of,
    in_order,
    kinds,
    names,
    only,
    records,
    tables_recur,
)
from metamine.report.table import NOTHING, markdown, number, with_interval
from metamine.statistics import LOWER_IS_BETTER, compare, summarise

WIDEST = 110  # characters; the means of single tables are added if they fit
FEW_TABLES = 10
Column = tuple[str, dict[str, str]]  # its name, and a cell for each method


@dataclass(frozen=True)
class Headline:
    """One table of one metric, and the lines that stand below it."""

    title: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]

    def __str__(self) -> str:
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"{self.title}\n\n{markdown(self.header, self.rows)}\n\n{notes}"


def headline(results: pd.DataFrame, plan_hash: Mapping[str, str] | None = None) -> str:
    """Methods by held-out sources as a Markdown table, with what one must know to read it.

    results: as `statistics.summarise` takes them.
    plan_hash: "source/protocol" -> hash of its evaluation episodes.
    """
    return "\n\n".join(map(str, headlines(results, plan_hash or {})))


def headlines(
    results: pd.DataFrame, plan_hash: Mapping[str, str], family: Mapping[str, str] | None = None
) -> list[Headline]:
    """A headline for each kind of task in `results`: accuracy, mean squared error.

    family: of each method that has one; if there are several, the rows stand by family.
    """
    return [
        _headline(only(results, metric), metric, plan_hash, family or {})
        for metric in kinds(results)
    ]


def _headline(
    results: pd.DataFrame, metric: str, plan_hash: Mapping[str, str], family: Mapping[str, str]
) -> Headline:
    lines, singles = references(results, metric)
    results = pd.concat([results, lines], ignore_index=True)
    summary = summarise(results)
    methods = in_order(summary, metric)
    columns: list[Column] = [("method", names(summary))]
    if len({*family.values()}) > 1:
        family = families(summary, family)
        methods, columns = grouped(methods, family), [("family", dict(family)), *columns]
    single_tables = []
    notes = [
        "**bold**: best of its column; ≈: not told apart from it on the same episodes (95%).",
        f"±: 95% interval, bootstrap clustered by table ({RESAMPLES:,} resamples), the wider side.",
        *note_on(singles, results),
    ]
    for source, protocol in columns_of(results):
        name = column_name(source, protocol, results)
        here, column = at(results, source, protocol), at(summary, source, protocol)
        columns.append((name, _cells(here, column, metric)))
        single_tables.append(_single_tables(here, metric))
        notes.append(_note(name, column, plan_hash.get(f"{source}/{protocol}"), _subsets(here)))
    for more in single_tables:
        if _width([*columns, *more], methods) <= WIDEST:
            columns += more
    protocols = results["protocol"].unique()
    title = TITLES[metric] + (f", {protocols[0]}" if len(protocols) == 1 else "")
    return Headline(title, [name for name, _ in columns], _rows(columns, methods), notes)


def _cells(results: pd.DataFrame, summary: pd.DataFrame, metric: str) -> dict[str, str]:
    """Mean and interval of each method, the best and its equals among the learners marked."""
    results = results[results["role"] != REFERENCE]
    mean = summary[summary["role"] != REFERENCE].set_index("method")["mean"]
    best = str(mean.idxmin() if metric in LOWER_IS_BETTER else mean.idxmax())
    against_best = records(compare(results, [best]))
    equals = {row["method"] for row in against_best if row["low"] <= 0 <= row["high"]}
    cells = {}
    for row in records(summary):
        method, cell = row["method"], with_interval(row)
        if method == best:
            cells[method] = f"**{cell}**"
        else:  # indented as far as the asterisks reach, so that the numbers stand in line
            cells[method] = f"  {cell} ≈" if method in equals else f"  {cell}"
    return cells


def _single_tables(results: pd.DataFrame, metric: str) -> list[Column]:
    """A column of means for each table; none for an endless source."""
    if not tables_recur(results):
        return []
    means = results.pivot_table(index="method", columns="table", values=metric)
    return [
        (str(table), {str(method): number(mean) for method, mean in column.items()})
        for table, column in means.items()
    ]


def _subsets(results: pd.DataFrame) -> str:
    """Methods that read wide tables in subsets of columns, and for how many tables."""
    if "column_subsets" not in results:  # runs of earlier versions
        return ""
    cut = results[results["column_subsets"] > 1].groupby("method")
    counts = [
        f"{method} {tables['table'].nunique()} (up to {tables['column_subsets'].max()} subsets)"
        for method, tables in cut
    ]
    return f"; tables read in subsets of columns: {', '.join(counts)}" if counts else ""


def _note(name: str, summary: pd.DataFrame, plan: str | None, subsets: str) -> str:
    """What a column rests on, and what is to be said against it."""
    most = summary[["n_tables", "n_episodes", "n_seeds"]].max()
    note = f"{name}: {most['n_tables']} tables, {most['n_episodes']} episodes"
    if most["n_seeds"] > 1:
        note += f", {most['n_seeds']} seeds"
    if plan:
        note += f", plan {plan}"
    if most["n_tables"] < FEW_TABLES:
        note += " (few tables: the interval is too narrow for claims about new ones)"
    fell_back = records(summary[summary["n_fallbacks"] > 0])
    if fell_back:
        counts = (f"{row['method']} {row['n_fallbacks']}" for row in fell_back)
        note += f"; fallbacks: {', '.join(counts)}"
    return note + subsets + "."


def _rows(columns: Sequence[Column], methods: Sequence[str]) -> list[list[str]]:
    return [[cells.get(method, NOTHING) for _, cells in columns] for method in methods]


def _width(columns: Sequence[Column], methods: Sequence[str]) -> int:
    text = markdown([name for name, _ in columns], _rows(columns, methods))
    return len(text.partition("\n")[0])
