"""What the scores of episodes say about methods: means, intervals, paired comparisons.

Scores come as `results`: one row per method, source, protocol, table, episode and seed, a column
per metric (`scores.NOT_METRICS` are the others). The statistic is the mean over tables of a table's
mean; `bootstrap` says what its intervals cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from metamine.bootstrap import Array, interval
from metamine.scores import COLUMN, Scores
from metamine.signed_rank import signed_rank

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece", "mse", "rmse", "mae"})


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95% interval (`low`, `high`): a row per source, protocol, method and metric.

    With calibration bins there is one metric more, `ece`: the expected calibration error over the
    pooled episodes of each table (of the source, where every episode has its own table), averaged.
    `n_fallbacks` counts over seeds. Raises ValueError if `results` has a row twice.
    """
    rows = []
    for (source, protocol), frame in results.groupby(COLUMN, sort=False):
        scores = Scores.of(frame)
        low, mean, high = interval(scores.draws())
        defined = scores.defined_NJ
        by_method = frame.groupby("method")
        role, n_seeds = by_method["role"].first(), by_method["seed"].nunique()
        n_fallbacks = by_method["fallback"].sum()
        for column, (method, metric) in enumerate(scores.columns):
            rows.append(
                {
                    "source": source,
                    "protocol": protocol,
                    "method": method,
                    "role": role[method],
                    "metric": metric,
                    "mean": mean[column],
                    "low": low[column],
                    "high": high[column],
                    "n_tables": len(np.unique(scores.table[defined[:, column]])),
                    "n_episodes": int(defined[:, column].sum()),
                    "n_seeds": int(n_seeds[method]),
                    "n_fallbacks": int(n_fallbacks[method]),
                }
            )
    return pd.DataFrame(rows)


def compare(results: pd.DataFrame, references: Sequence[str] | None = None) -> pd.DataFrame:
    """Each reference against every other method, on the episodes that both have.

    references: names of methods; all of role "meta" if not given.
    Returns a row per source, protocol, metric, reference and method: the `difference` (reference
    minus method) with its 95% interval, on how many tables the reference `wins`, `ties` and
    `losses`, and `p_value` of the Wilcoxon signed-rank test over tables (NaN below 6 tables).
    """
    if references is None:
        references = results.loc[results["role"] == "meta", "method"].unique().tolist()
    rows = []
    for (source, protocol), frame in results.groupby(COLUMN, sort=False):
        scores = Scores.of(frame)
        for reference in (name for name in references if name in scores.methods):
            ours, theirs = scores.paired(reference)
            low, difference, high = interval(ours.draws() - theirs.draws())
            gain = ours.by_table() - theirs.by_table()
            defined = ours.defined_NJ
            for column, (method, metric) in enumerate(theirs.columns):
                rows.append(
                    {
                        "source": source,
                        "protocol": protocol,
                        "metric": metric,
                        "reference": reference,
                        "method": method,
                        "difference": difference[column],
                        "low": low[column],
                        "high": high[column],
                        **_over_tables(gain[:, column], metric in LOWER_IS_BETTER),
                        "n_episodes": int(defined[:, column].sum()),
                    }
                )
    return pd.DataFrame(rows)


def as_json(results: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """All that `summarise` and `compare` find, as plain values; None where undefined."""
    frames = {"summary": summarise(results), "comparisons": compare(results)}
    return {
        name: [
            {str(key): None if value != value else value for key, value in row.items()}
            for row in frame.to_dict("records")
        ]
        for name, frame in frames.items()
    }


def _over_tables(gain_G: Array, lower_is_better: bool) -> dict[str, Any]:
    gain = gain_G[~np.isnan(gain_G)]
    gain = np.where(np.abs(gain) < 1e-12, 0.0, gain)
    better = -gain if lower_is_better else gain
    return {
        "wins": int((better > 0).sum()),
        "ties": int((better == 0).sum()),
        "losses": int((better < 0).sum()),
        "p_value": float(signed_rank(gain[:, None])[0]),
        "n_tables": len(gain),
    }
