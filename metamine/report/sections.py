"""The parts of report.md below the headline, as Markdown; empty where there is nothing to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from metamine.report.results import (
    at,
    column_name,
    columns_of,
    in_order,
    names,
    only,
    records,
    tables_recur,
)
from metamine.report.table import NOTHING, markdown, p_value, with_interval
from metamine.statistics import LOWER_IS_BETTER, compare, summarise

READING = """\
## How to read this

- A score is the mean over tables of the mean over a table's episodes. Its interval says how far it
  would move with other tables and episodes of the same kind. Methods met the same episodes, so
  judge a difference by its own interval, not by whether two intervals overlap.
- p-values of paired comparisons (Wilcoxon signed-rank, over tables) are not corrected for their
  number; those beside mean ranks are (Holm, over all pairs).
- ece pools the episodes of a table (of the whole source where every episode has its own table).
  log_loss charges 36.04 for a row whose class the support did not show.
- Regression is in standard deviations of the table's target: an mse of 1 is what predicting its
  mean would give. Sources that keep their own units (sinusoid) are scored in those."""


def summarise_tables(results: pd.DataFrame) -> pd.DataFrame:
    """As `statistics.summarise` for one source, but each table alone, in the column `table`."""
    summary = summarise(results.assign(source=results["table"]))
    return summary.assign(table=summary["source"], source=results["source"].iloc[0])


def tables(results: pd.DataFrame, metric: str) -> str:
    """Each table's score by method, for the sources whose tables come more than once."""
    results, parts = only(results, metric), []
    for source, protocol in columns_of(results):
        here = at(results, source, protocol)
        if tables_recur(here):
            summary = summarise_tables(here)
            methods, called = in_order(summary, metric), names(here)
            cell = {(row["table"], row["method"]): with_interval(row) for row in records(summary)}
            rows = [
                [table, *(cell.get((table, method), NOTHING) for method in methods)]
                for table in summary["table"].unique()
            ]
            parts += [f"### {column_name(source, protocol, results)}"]
            parts += [markdown([metric, *(called[method] for method in methods)], rows)]
    if parts:
        parts.insert(0, "Intervals are over the episodes of the table alone.")
    return _section("By table", parts)


def all_metrics(results: pd.DataFrame, metric: str) -> str:
    """Every metric of every method; `metric` gives the order."""
    summary, called, parts = summarise(results), names(results), []
    methods = in_order(summary, metric)
    for source, protocol in columns_of(results):
        here = at(summary, source, protocol)
        metrics = [str(name) for name in here["metric"].unique()]
        cell = {(row["method"], row["metric"]): with_interval(row) for row in records(here)}
        rows = [
            [called[method], *(cell.get((method, name), NOTHING) for name in metrics)]
            for method in methods
            if (method, metric) in cell
        ]
        parts += [f"### {column_name(source, protocol, results)}"]
        parts += [markdown(["method", *metrics], rows)]
    return _section("All metrics", parts)


def comparisons(results: pd.DataFrame, metric: str) -> str:
    """Each meta-trained method against all others on the same episodes, the strongest first."""
    results = only(results, metric)
    if results["method"].nunique() < 2 or not (results["role"] == "meta").any():
        return ""
    found, called, parts = compare(results), names(results), []
    lower = metric in LOWER_IS_BETTER
    header = ["method", "against", metric, "95% interval", "tables won/tied/lost", "p"]
    for source, protocol in columns_of(results):
        here = at(found, source, protocol)
        here = here.sort_values(["reference", "difference"], ascending=[True, not lower])
        rows = [
            [
                called[row["reference"]],
                called[row["method"]],
                f"{row['difference']:+.3f}",
                f"{row['low']:+.3f} to {row['high']:+.3f}",
                f"{row['wins']}/{row['ties']}/{row['losses']}",
                p_value(row["p_value"]),
            ]
            for row in records(here[here["n_episodes"] > 0])
        ]
        parts += [f"### {column_name(source, protocol, results)}", markdown(header, rows)]
    return _section("Paired comparisons", parts)


def skipped(by_plan: Mapping[str, Mapping[str, str]]) -> str:
    """The tables that took no part, and why; by "source/protocol"."""
    lines = [
        f"- {plan}: {table} ({reason})"
        for plan, reasons in by_plan.items()
        for table, reason in reasons.items()
    ]
    return _section("Tables left out", ["\n".join(lines)] if lines else [])


def absent(reasons: Mapping[str, str]) -> list[str]:
    """A sentence for each baseline that was not there where the run was made."""
    return [f"{name} is left out: {reason}." for name, reason in reasons.items()]


def _section(title: str, parts: Sequence[str]) -> str:
    return "\n\n".join([f"## {title}", *parts]) if parts else ""
