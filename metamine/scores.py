"""The scores of one source and protocol, laid out for a bootstrap that all methods share.

Dimension key: as in `bootstrap`, and M methods, K metrics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamine.bootstrap import Array, Ids, bootstrap

COLUMN = ["source", "protocol"]  # what is looked at apart from all else: a column of the headline
BINS = ["bin_count", "bin_confidence", "bin_correct"]  # 10 numbers each; see metrics
ABOUT_THE_EPISODE = ["table", "episode", "fallback", "column_subsets", "seed"]
NOT_METRICS = frozenset({"method", "role", *COLUMN, *ABOUT_THE_EPISODE, *BINS})


@dataclass(frozen=True)
class Scores:
    """NaN where there is no score. The J columns of all results are those of `columns`."""

    methods: list[str]
    metrics: list[str]
    table: Ids  # N, ascending
    value: Array  # N S M K
    gap: Array  # N S M 10: (confidence - hits) / query rows, by bin; N S 0 10 without bins

    @staticmethod
    def of(frame: pd.DataFrame) -> Scores:
        """Lay out the rows of one source and protocol. Raises ValueError if one occurs twice."""
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
        return Scores(list(methods), [str(name) for name in metrics], table, value, gap)

    @property
    def columns(self) -> list[tuple[str, str]]:
        """The method and the metric of each column J: all means, then the calibration errors."""
        means = [(method, metric) for method in self.methods for metric in self.metrics]
        return means + [(method, "ece") for method in self.methods[: self.gap.shape[2]]]

    @property
    def defined_NJ(self) -> NDArray[np.bool_]:
        """Whether any seed has a score."""
        value_NSJ = np.concatenate([self._means_NSJ, self.gap.sum(axis=3)], axis=2)
        defined: NDArray[np.bool_] = np.any(~np.isnan(value_NSJ), axis=1)
        return defined

    def paired(self, reference: str) -> tuple[Scores, Scores]:
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
            Scores(names, self.metrics, self.table, value, gap)
            for value, gap in zip(values, gaps, strict=True)
        )
        return ours, theirs

    def draws(self) -> Array:
        """See `bootstrap`: a column for each of `columns`."""
        means = bootstrap(self._means_NSJ[..., None], self.table, mean_of_tables)
        return np.concatenate([means, bootstrap(self.gap, self.table, calibration_error)], axis=1)

    def by_table(self) -> Array:
        """G J: each table's statistic, averaged over seeds (NaN rows for the smaller G of ece)."""
        means = _group_means(self._means_NSJ, self.table)
        errors = np.abs(_group_means(self.gap, _pool(self.table))).sum(axis=3)
        rest = np.full((len(means) - len(errors), *errors.shape[1:]), np.nan)
        by_seed = np.concatenate([means, np.concatenate([errors, rest])], axis=2)
        one_group = np.zeros(by_seed.shape[1], dtype=np.int64)
        averaged: Array = _group_means(by_seed.swapaxes(0, 1), one_group)[0]
        return averaged

    @property
    def _means_NSJ(self) -> Array:
        means: Array = self.value.reshape(*self.value.shape[:2], -1)
        return means


def mean_of_tables(weights_BN: Array, value_NJ1: Array, table_N: Ids) -> Array:
    """B J: the mean over tables of the mean over a table's episodes, which is in the weights."""
    means: Array = weights_BN @ value_NJ1[..., 0]
    return means


def calibration_error(weights_BN: Array, gap_NJ: Array, table_N: Ids) -> Array:
    """B J: the mean over pools of sum over bins of |confidence - hits|, in shares of the rows.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), eq. 3.
    """
    starts = np.flatnonzero(np.diff(_pool(table_N))) + 1
    pools = np.split(np.arange(len(table_N)), starts)
    sums = (np.tensordot(weights_BN[:, pool], gap_NJ[pool], axes=1) for pool in pools)
    errors: Array = np.sum([np.abs(gap_BJ).sum(axis=2) for gap_BJ in sums], axis=0)
    return errors


def _pool(table_N: Ids) -> Ids:
    """Whose episodes count together for calibration: a table's, or all if a table has but one."""
    return table_N if len(np.unique(table_N)) < len(table_N) else np.zeros_like(table_N)


def _group_means(value: Array, group: Ids) -> Array:
    """Means over runs of equal ids along axis 0; NaN is left out, and comes out of nothing."""
    first = np.flatnonzero(np.diff(group, prepend=-1))
    defined = ~np.isnan(value)
    total = np.add.reduceat(np.where(defined, value, 0.0), first)
    count = np.add.reduceat(defined.astype(np.float64), first)
    means: Array = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return means
