"""The table that answers the question of a run: each method on each held-out source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from metamine.bootstrap import RESAMPLES
from metamine.report.table import markdown, number, with_interval
from metamine.statistics import BINS, COLUMN, LOWER_IS_BETTER, NOT_METRICS, compare, summarise

WIDEST = 110  # characters; means of single tables are added up to there
FEW_TABLES = 10
TITLES = {"accuracy": "Accuracy (higher is better)", "mse": "Mean squared error (lower is better)"}
ROLES = ("meta", "from scratch", "baseline")
Column = tuple[str, dict[str, str]]  # its name, and a cell for each method


@dataclass(frozen=True)
class Headline:
    """One table of one metric, and the lines that stand below it."""

    metric: str
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


def headlines(results: pd.DataFrame, plan_hash: Mapping[str, str]) -> list[Headline]:
    """A headline for each kind of task in `results`: accuracy, mean squared error."""
    return [_headline(only(results, metric), metric, plan_hash) for metric in kinds(results)]


def kinds(results: pd.DataFrame) -> list[str]:
    """The headline metric of each kind of task in `results`."""
    return [name for name in TITLES if name in results and results[name].notna().any()]


def only(results: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows that have `metric`, without the other metrics."""
    kept = (NOT_METRICS - set(BINS)) | {metric}
    return results.loc[results[metric].notna(), [name for name in results if name in kept]]


def in_order(summary: pd.DataFrame, metric: str) -> list[str]:
    """The methods by role (meta-trained, from scratch, baselines), then the best on average first."""
    methods = summary[summary["metric"] == metric].groupby("method")
    rank = methods["role"].first().map(ROLES.index)
    cost = methods["mean"].mean() * (1 if metric in LOWER_IS_BETTER else -1)
    order = pd.DataFrame({"rank": rank, "cost": cost}).sort_values(["rank", "cost"])
    return [str(method) for method in order.index]


def columns_of(results: pd.DataFrame) -> list[tuple[str, str]]:
    """Source and protocol of each column."""
    return [(str(s), str(p)) for s, p in results[COLUMN].drop_duplicates().to_numpy()]


def column_name(source: str, protocol: str, results: pd.DataFrame) -> str:
    """A protocol that all share goes without saying."""
    return source if results["protocol"].nunique() == 1 else f"{source} {protocol}"


def at(frame: pd.DataFrame, source: str, protocol: str) -> pd.DataFrame:
    """The rows of one column."""
    return frame[(frame["source"] == source) & (frame["protocol"] == protocol)]


def names(frame: pd.DataFrame) -> dict[str, str]:
    """How each method is called in tables."""
    roles = frame.drop_duplicates("method").set_index("method")["role"]
    return {
        str(method): f"{method} (meta-trained)" if role == "meta" else str(method)
        for method, role in roles.items()
    }


def tables_named(results: pd.DataFrame) -> bool:
    """Whether tables have several episodes each: those of an endless source come but once."""
    return results.groupby("table")["episode"].nunique().max() > 1


def _headline(results: pd.DataFrame, metric: str, plan_hash: Mapping[str, str]) -> Headline:
    summary = summarise(results)
    methods = in_order(summary, metric)
    columns = [("method", names(summary))]
    singles: list[list[Column]] = []
    notes = [
        "**bold**: best of its column; ≈: not told apart from it on the same episodes (95%).",
        f"±: 95% interval, bootstrap clustered by table ({RESAMPLES:,} resamples), the wider side.",
    ]
    for source, protocol in columns_of(results):
        name = column_name(source, protocol, results)
        here, column = at(results, source, protocol), at(summary, source, protocol)
        columns.append((name, _cells(here, column, metric)))
        singles.append(_single_tables(here, metric))
        notes.append(_note(name, column, plan_hash.get(f"{source}/{protocol}")))
    for more in singles:
        if _width([*columns, *more], methods) <= WIDEST:
            columns += more
    protocols = results["protocol"].unique()
    title = TITLES[metric] + (f", {protocols[0]}" if len(protocols) == 1 else "")
    return Headline(metric, title, [name for name, _ in columns], _rows(columns, methods), notes)


def _cells(results: pd.DataFrame, summary: pd.DataFrame, metric: str) -> dict[str, str]:
    """Mean and interval of each method, marked."""
    mean = summary.set_index("method")["mean"]
    best = str(mean.idxmin() if metric in LOWER_IS_BETTER else mean.idxmax())
    pairs = compare(results, [best])
    alike = set(pairs.loc[(pairs["low"] <= 0) & (pairs["high"] >= 0), "method"]) if len(pairs) else ()
    cells = {}
    for row in summary.itertuples():
        cell = with_interval(row.mean, row.low, row.high)
        if row.method == best:
            cells[row.method] = f"**{cell}**"
        else:  # indented as far as the asterisks reach, so that the numbers stand in line
            cells[row.method] = f"  {cell} ≈" if row.method in alike else f"  {cell}"
    return cells


def _single_tables(results: pd.DataFrame, metric: str) -> list[Column]:
    """A column of means for each table; none for an endless source."""
    if not tables_named(results):
        return []
    means = results.pivot_table(index="method", columns="table", values=metric)
    return [(str(table), means[table].map(number).to_dict()) for table in means]


def _note(name: str, summary: pd.DataFrame, plan: str | None) -> str:
    """How much a column rests on, and what is to be said against it."""
    most = summary[["n_tables", "n_episodes", "n_seeds"]].max()
    seeds = f", {most['n_seeds']} seeds" if most["n_seeds"] > 1 else ""
    note = f"{name}: {most['n_tables']} tables, {most['n_episodes']} episodes{seeds}"
    if plan:
        note += f", plan {plan}"
    if most["n_tables"] < FEW_TABLES:
        note += " (few tables: the interval is too narrow for claims about new ones)"
    fell_back = summary[summary["n_fallbacks"] > 0]
    if len(fell_back):
        counts = (f"{row.method} {row.n_fallbacks}" for row in fell_back.itertuples())
        note += f"; fallbacks: {', '.join(counts)}"
    return note + "."


def _rows(columns: list[Column], methods: list[str]) -> list[list[str]]:
    return [[cells.get(method, "–") for _, cells in columns] for method in methods]


def _width(columns: list[Column], methods: list[str]) -> int:
    text = markdown([name for name, _ in columns], _rows(columns, methods))
    return len(text.splitlines()[0])
