"""What the scores of episodes say about methods: means, intervals, paired comparisons.

Scores come as `results`: one row per method, source, protocol, table, episode and seed, a column per
metric (see `NOT_METRICS` for the others). The statistic is the mean over tables of a table's mean;
`bootstrap` says what its intervals cover.

Dimension key: as in `bootstrap`, and M methods, K metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from metamine.bootstrap import Array, Ids, bootstrap, interval

COLUMN = ["source", "protocol"]  # what is looked at apart from all else: a column of the headline
BINS = ["bin_count", "bin_confidence", "bin_correct"]  # 10 numbers each; see metrics
NOT_METRICS = frozenset({"method", "role", *COLUMN, "table", "episode", "fallback", "seed", *BINS})
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece", "mse", "rmse", "mae"})
FEWEST_TABLES = 6  # with fewer, no outcome of the Wilcoxon test has p < 0.05


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95% interval (`low`, `high`): a row per source, protocol, method and metric.

    With calibration bins there is one metric more, `ece`: the expected calibration error over the
    pooled episodes of each table (of the source, where every episode has its own table), averaged.
    `n_fallbacks` counts over seeds. Raises ValueError if `results` has a row twice.
    """
    rows = []
    for (source, protocol), frame in results.groupby(COLUMN, sort=False):
        grid = _Grid.of(frame)
        low, mean, high = interval(grid.draws())
        defined = grid.defined.any(axis=1)
        for column, (method, metric) in enumerate(grid.columns):
            chosen = frame[frame["method"] == method]
            rows.append(
                {
                    "source": source,
                    "protocol": protocol,
                    "method": method,
                    "role": chosen["role"].iloc[0],
                    "metric": metric,
                    "mean": mean[column],
                    "low": low[column],
                    "high": high[column],
                    "n_tables": len(np.unique(grid.table[defined[:, column]])),
                    "n_episodes": int(defined[:, column].sum()),
                    "n_seeds": int(chosen["seed"].nunique()),
                    "n_fallbacks": int(chosen["fallback"].sum()),
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
        grid = _Grid.of(frame)
        for reference in (name for name in references if name in grid.methods):
            ours, theirs = grid.paired(reference)
            low, difference, high = interval(ours.draws() - theirs.draws())
            gain = ours.by_table() - theirs.by_table()
            defined = ours.defined.any(axis=1)
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
        name: frame.astype(object).where(frame.notna(), None).to_dict("records")
        for name, frame in frames.items()
    }


@dataclass(frozen=True)
class _Grid:
    """The scores of one source and protocol laid out for the bootstrap, NaN where there is none."""

    methods: list[str]
    metrics: list[str]
    table: Ids  # N, ascending
    value: Array  # N S M K
    gap: Array  # N S M 10: (confidence - hits) / query rows, by bin; N S 0 10 without bins

    @staticmethod
    def of(frame: pd.DataFrame) -> _Grid:
        if frame.duplicated(["method", "seed", "table", "episode"]).any():
            raise ValueError("a method has two results for the same seed, table and episode")
        metrics = [name for name in frame if name not in NOT_METRICS and frame[name].notna().any()]
        method, methods = pd.factorize(frame["method"])
        seed, seeds = pd.factorize(frame["seed"])
        episode = frame.groupby(["table", "episode"]).ngroup().to_numpy()
        table = np.empty(episode.max() + 1, dtype=np.int64)
        table[episode] = frame.groupby("table").ngroup()

        def laid_out(rows: Array) -> Array:
            grid = np.full((len(table), len(seeds), len(methods), rows.shape[1]), np.nan)
            grid[episode, seed, method] = rows
            return grid

        value = laid_out(frame[metrics].to_numpy(np.float64))
        if "bin_count" in frame and frame["bin_count"].notna().all():
            count, confidence, correct = (np.stack(frame[name].to_list()) for name in BINS)
            gap = laid_out((confidence - correct) / count.sum(axis=1, keepdims=True))
        else:
            gap = np.empty((len(table), len(seeds), 0, 10))
        return _Grid(list(methods), [str(name) for name in metrics], table, value, gap)

    @property
    def columns(self) -> list[tuple[str, str]]:
        """The method and the metric of each column J: all means, then the calibration errors."""
        means = [(method, metric) for method in self.methods for metric in self.metrics]
        return means + [(method, "ece") for method in self.methods[: self.gap.shape[2]]]

    @property
    def defined(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """N S J."""
        gap = ~np.isnan(self.gap).any(axis=3)
        return np.concatenate([~np.isnan(self._means_NSJ), gap], axis=2)

    def paired(self, reference: str) -> tuple[_Grid, _Grid]:
        """The reference, once for each other method, and those; NaN unless both have a score."""
        here = self.methods.index(reference)
        names = [name for name in self.methods if name != reference]

        def ours_and_theirs(part: Array) -> tuple[Array, Array]:
            ours, theirs = part[:, :, here : here + 1], np.delete(part, here, axis=2)
            return (
                np.where(np.isnan(theirs), np.nan, ours),
                np.where(np.isnan(ours), np.nan, theirs),
            )

        values = ours_and_theirs(self.value)
        gaps = ours_and_theirs(self.gap) if self.gap.shape[2] else (self.gap, self.gap)
        ours, theirs = (
            _Grid(names, self.metrics, self.table, value, gap)
            for value, gap in zip(values, gaps, strict=True)
        )
        return ours, theirs

    def draws(self) -> Array:
        """See `bootstrap`: a column for each of `columns`."""
        means = bootstrap(self._means_NSJ[..., None], self.table, _mean)
        return np.concatenate([means, bootstrap(self.gap, self.table, _ece)], axis=1)

    def by_table(self) -> Array:
        """G J: each table's statistic, averaged over seeds (NaN rows for the smaller G of ece)."""
        means = _group_means(self._means_NSJ, self.table)
        errors = np.abs(_group_means(self.gap, _pool(self.table))).sum(axis=3)
        rest = np.full((len(means) - len(errors), *errors.shape[1:]), np.nan)
        by_seed = np.concatenate([means, np.concatenate([errors, rest])], axis=2)
        one_group = np.zeros(by_seed.shape[1], dtype=np.int64)
        return _group_means(by_seed.swapaxes(0, 1), one_group)[0]

    @property
    def _means_NSJ(self) -> Array:
        return self.value.reshape(*self.value.shape[:2], -1)


def _mean(weights_BN: Array, value_NJ1: Array, table_N: Ids) -> Array:
    return weights_BN @ value_NJ1[..., 0]


def _ece(weights_BN: Array, gap_NJ: Array, table_N: Ids) -> Array:
    starts = np.flatnonzero(np.diff(_pool(table_N))) + 1
    pools = np.split(np.arange(len(table_N)), starts)
    sums = (np.tensordot(weights_BN[:, pool], gap_NJ[pool], axes=1) for pool in pools)
    return np.sum([np.abs(gap_BJ).sum(axis=2) for gap_BJ in sums], axis=0)


def _pool(table_N: Ids) -> Ids:
    """Whose episodes count together for calibration: a table's, or all if a table has but one."""
    return table_N if len(np.unique(table_N)) < len(table_N) else np.zeros_like(table_N)


def _group_means(value: Array, group: Ids) -> Array:
    """Means over runs of equal ids along axis 0; NaN is left out, and comes out of nothing."""
    first = np.flatnonzero(np.diff(group, prepend=-1))
    defined = ~np.isnan(value)
    total = np.add.reduceat(np.where(defined, value, 0.0), first)
    count = np.add.reduceat(defined.astype(np.float64), first)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _over_tables(gain_G: Array, lower_is_better: bool) -> dict[str, Any]:
    gain = gain_G[~np.isnan(gain_G)]
    gain = np.where(np.abs(gain) < 1e-12, 0.0, gain)
    better = -gain if lower_is_better else gain
    p_value = float("nan")
    if len(gain) >= FEWEST_TABLES:
        p_value = float(wilcoxon(gain).pvalue) if gain.any() else 1.0
    return {
        "wins": int((better > 0).sum()),
        "ties": int((better == 0).sum()),
        "losses": int((better < 0).sum()),
        "p_value": p_value,
        "n_tables": len(gain),
    }
