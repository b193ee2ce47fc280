"""The parts of report.md below the headline, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from metamine.report.headline import (
    at,
    column_name,
    columns_of,
    in_order,
    names,
    only,
    tables_named,
)
from metamine.report.table import markdown, p_value, with_interval
from metamine.statistics import compare, summarise

READING = """\
## How to read this

- A score is the mean over tables of the mean over a table's episodes. Its interval says how far it
  would move with other tables and episodes of the same kind. Methods met the same episodes, so
  judge a difference by its own interval, not by whether two intervals overlap.
- p-values (Wilcoxon signed-rank, over tables) are not corrected for the number of comparisons.
- ece pools the episodes of a table (of the whole source where every episode has its own table).
  log_loss charges 36.04 for a class that the support did not show.
- Regression is in standard deviations of the table's target: an mse of 1 is what predicting its
  mean would give. Sources that keep their own units (sinusoid) are scored in those."""


def summarise_tables(results: pd.DataFrame) -> pd.DataFrame:
    """As `statistics.summarise`, but each table alone, named in the column `table`."""
    alone = results.assign(source=results["source"] + "\n" + results["table"])
    summary = summarise(alone)
    parts = summary["source"].str.split("\n", n=1)
    return summary.assign(source=parts.str[0], table=parts.str[1])


def tables(results: pd.DataFrame, metric: str) -> str:
    """Each table's score by method, for the sources whose tables come more than once."""
    results = only(results, metric)
    parts = ["## By table", "Intervals are over the episodes of the table alone."]
    for source, protocol in columns_of(results):
        here = at(results, source, protocol)
        if tables_named(here):
            summary = summarise_tables(here)
            methods = in_order(summary, metric)
            cell = {
                (row.table, row.method): with_interval(row.mean, row.low, row.high)
                for row in summary.itertuples()
            }
            rows = [
                [table, *(cell.get((table, method), "–") for method in methods)]
                for table in summary["table"].unique()
            ]
            called = names(here)
            header = [metric, *(called[method] for method in methods)]
            parts += [f"### {column_name(source, protocol, results)}", markdown(header, rows)]
    return "\n\n".join(parts) if len(parts) > 2 else ""


def all_metrics(results: pd.DataFrame, metric: str) -> str:
    """Every metric of every method; `metric` gives the order."""
    parts, summary = ["## All metrics"], summarise(results)
    called, methods = names(results), in_order(summary, metric)
    for source, protocol in columns_of(results):
        here = at(summary, source, protocol)
        metrics = [str(name) for name in here["metric"].unique()]
        cell = {
            (row.method, row.metric): with_interval(row.mean, row.low, row.high)
            for row in here.itertuples()
        }
        rows = [
            [called[method], *(cell.get((method, name), "–") for name in metrics)]
            for method in methods
        ]
        parts += [
            f"### {column_name(source, protocol, results)}",
            markdown(["method", *metrics], rows),
        ]
    return "\n\n".join(parts)


def comparisons(results: pd.DataFrame, metric: str) -> str:
    """Each meta-trained method against all others, on the same episodes."""
    results = only(results, metric)
    found, called = compare(results), names(results)
    parts = ["## Paired comparisons"]
    for source, protocol in columns_of(results):
        here = at(found, source, protocol) if len(found) else found
        rows = [
            [
                called[row.reference],
                called[row.method],
                f"{row.difference:+.3f}",
                f"{row.low:+.3f} to {row.high:+.3f}",
                f"{row.wins}/{row.ties}/{row.losses}",
                p_value(row.p_value),
            ]
            for row in here.sort_values("difference").itertuples()
        ]
        header = ["", "against", metric, "95% interval", "tables won/tied/lost", "p"]
        if rows:
            parts += [f"### {column_name(source, protocol, results)}", markdown(header, rows)]
    return "\n\n".join(parts) if len(parts) > 1 else ""


def skipped(by_plan: Mapping[str, Mapping[str, str]]) -> str:
    """The tables that took no part, with the reason; by "source/protocol"."""
    lines = [
        f"- {plan}: {table} ({reason})"
        for plan, reasons in by_plan.items()
        for table, reason in reasons.items()
    ]
    return "\n".join(["## Tables left out", "", *lines]) if lines else ""
