"""Lines to compare with: what choosing among the baselines could give, if one knew the answers."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from metamine.report.results import REFERENCE, at, column_name, columns_of
from metamine.statistics import LOWER_IS_BETTER

ORACLE = "best baseline (oracle)"
SINGLE = "single best baseline"
EPISODE = ["seed", "table", "episode"]


def references(results: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows of ORACLE and SINGLE in the form of `results`, and of each column the single best.

    ORACLE has, of each episode, the baseline that did best; SINGLE the one that did best on average
    over the tables of the column. Both are chosen by the scores on the query rows themselves, which
    is why they are no learners. Only baselines that answered all episodes of a column are chosen
    from; a column where fewer than two did has neither line.
    """
    parts, singles = [], {}
    lower = metric in LOWER_IS_BETTER
    baselines = results[(results["role"] == "baseline") & results[metric].notna()]
    for source, protocol in columns_of(baselines):
        here = at(baselines, source, protocol)
        n_episodes = here["method"].value_counts()
        here = here[here["method"].isin(n_episodes.index[n_episodes == n_episodes.max()])]
        if here["method"].nunique() > 1:
            by_table = here.groupby(["method", "table"])[metric].mean()
            mean = by_table.groupby("method").mean()
            single = str(mean.idxmin() if lower else mean.idxmax())
            best_first = here.sort_values(metric, ascending=lower, kind="stable")
            oracle = best_first.drop_duplicates(EPISODE).sort_index()
            parts += [
                oracle.assign(method=ORACLE),
                here[here["method"] == single].assign(method=SINGLE),
            ]
            singles[f"{source}/{protocol}"] = single
    rows = pd.concat(parts) if parts else results.iloc[:0]
    return rows.assign(role=REFERENCE, fallback=False), singles


def note_on(singles: Mapping[str, str], results: pd.DataFrame) -> list[str]:
    """What the two lines are, if there are any, and which baseline is the single best where."""
    found = [
        f"{singles[key]} on {column_name(source, protocol, results)}"
        for source, protocol in columns_of(results)
        if (key := f"{source}/{protocol}") in singles
    ]
    if not found:
        return []
    return [
        f"{ORACLE}, of each episode, and {SINGLE}, of the column ({', '.join(found)}): lines to "
        "compare with, which look at the query labels; they are no learners and get no mark."
    ]
