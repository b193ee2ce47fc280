"""What every part of a report asks of results: which columns, which methods, in which order.

A column is a source under a protocol.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from metamine.scores import BINS, COLUMN, NOT_METRICS
from metamine.statistics import LOWER_IS_BETTER

# The headline metric of each kind of task.
TITLES = {"accuracy": "Accuracy (higher is better)", "mse": "Mean squared error (lower is better)"}
ROLES = ("meta", "from scratch", "baseline")
REFERENCE = "reference"  # the role of lines that are no learner's; see `references`


def kinds(results: pd.DataFrame) -> list[str]:
    """The headline metric of each kind of task in `results`."""
    return [name for name in TITLES if name in results and results[name].notna().any()]


def only(results: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows that have `metric`, without the other metrics."""
    kept = (NOT_METRICS - set(BINS)) | {metric}
    return results.loc[results[metric].notna(), [name for name in results if name in kept]]


def columns_of(results: pd.DataFrame) -> list[tuple[str, str]]:
    """Source and protocol of each column."""
    return [(str(s), str(p)) for s, p in results[COLUMN].drop_duplicates().to_numpy()]


def column_name(source: str, protocol: str, results: pd.DataFrame) -> str:
    """A protocol that all columns share goes without saying."""
    return source if results["protocol"].nunique() == 1 else f"{source} {protocol}"


def at(frame: pd.DataFrame, source: str, protocol: str) -> pd.DataFrame:
    """The rows of one column."""
    return frame[(frame["source"] == source) & (frame["protocol"] == protocol)]


def in_order(summary: pd.DataFrame, metric: str) -> list[str]:
    """The methods by role (meta-trained, from scratch, ...), best on average first."""
    methods = summary[summary["metric"] == metric].groupby("method")
    rank = methods["role"].first().map((*ROLES, REFERENCE).index)
    cost = methods["mean"].mean() * (1 if metric in LOWER_IS_BETTER else -1)
    order = pd.DataFrame({"rank": rank, "cost": cost}).sort_values(["rank", "cost"])
    return [str(method) for method in order.index]


def names(frame: pd.DataFrame) -> dict[str, str]:
    """How each method is called in tables and legends."""
    roles = frame[["method", "role"]].drop_duplicates("method").to_numpy()
    return {
        str(method): f"{method}, meta-trained" if role == "meta" else str(method)
        for method, role in roles
    }


def tables_recur(results: pd.DataFrame) -> bool:
    """Whether tables have several episodes; those of an endless source come but once."""
    return bool(results.groupby("table")["episode"].nunique().max() > 1)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as mappings."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
