"""How methods rank over tables, and which ranks are told apart; their interquartile means.

Janez Demšar: "Statistical Comparisons of Classifiers over Multiple Data Sets" (2006): rank the
methods on each table, ask Friedman's test whether they differ at all, then a post-hoc test which.

Dimension key: as in `scores`, and G tables that all methods have.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.stats import chi2, f, rankdata, studentized_range

from metamine.bootstrap import Array, Ids, bootstrap, interval
from metamine.scores import Scores
from metamine.signed_rank import signed_rank
from metamine.statistics import LOWER_IS_BETTER

FEWEST_METHODS, FEWEST_TABLES = 2, 5
LEVEL = 0.05


@dataclass(frozen=True)
class Friedman:
    """Friedman's test that all methods are alike, and the less conservative F made of it."""

    chi2: float
    p_chi2: float
    f: float
    p_f: float
    df: tuple[int, int]  # of F; the first is that of chi2


@dataclass(frozen=True)
class Ranking:
    """Methods on the tables that all of them have, the best mean rank first.

    n_tables: those that any method has.
    loss_GM: each table's mean; lower is better, so the negative of an accuracy.
    """

    methods: list[str]
    n_tables: int
    loss_GM: Array

    @staticmethod
    def of(results: pd.DataFrame, metric: str) -> Ranking:
        """Of one source and protocol, on the episodes that all methods of `results` have."""
        scores = _common(results, metric)
        n_tables = results.loc[results[metric].notna(), "table"].nunique()
        nothing = np.empty((0, len(scores.methods)))
        mean_GM = scores.by_table() if len(scores.table) else nothing
        # Means of the same scores in another order differ in the last digits, and are ties.
        loss_GM = np.round(mean_GM if metric in LOWER_IS_BETTER else -mean_GM, 12)
        order_M = np.argsort(rankdata(loss_GM, axis=1).sum(axis=0), kind="stable")
        methods = [scores.methods[index] for index in order_M]
        return Ranking(methods, n_tables, loss_GM[:, order_M])

    @property
    def enough(self) -> bool:
        """Whether there is anything to test."""
        return len(self.methods) >= FEWEST_METHODS and len(self.loss_GM) >= FEWEST_TABLES

    @cached_property
    def rank_GM(self) -> Array:
        """1 is best; equals share the average of their ranks."""
        rank_GM: Array = rankdata(self.loss_GM, axis=1)
        return rank_GM

    @property
    def mean_rank_M(self) -> Array:
        mean_rank_M: Array = self.rank_GM.mean(axis=0)
        return mean_rank_M

    def friedman(self) -> Friedman:
        """Friedman (1937) with the correction for ties; F of Iman and Davenport.

        R. L. Iman, J. M. Davenport: "Approximations of the critical region of the Friedman
        statistic" (1980): with the spread of mean ranks s over its largest possible value t,

            chi2 = G (M - 1) s / t,    F = (G - 1) chi2 / (G (M - 1) - chi2)

        where without ties s / t = 12 sum_j (R_j - (M + 1) / 2)^2 / (M (M^2 - 1)), as in Demšar.
        """
        n_tables, n_methods = self.rank_GM.shape
        middle = (n_methods + 1) / 2
        total = ((self.rank_GM - middle) ** 2).sum() / n_tables
        between = ((self.mean_rank_M - middle) ** 2).sum()
        share = between / total if total else 0.0
        most, df = n_tables * (n_methods - 1), (n_methods - 1, (n_methods - 1) * (n_tables - 1))
        statistic = most * share
        rest = most - statistic
        ratio = (n_tables - 1) * statistic / rest if rest > 1e-9 * most else np.inf
        return Friedman(
            float(statistic),
            float(chi2.sf(statistic, df[0])),
            float(ratio),
            float(f.sf(ratio, *df)),
            df,
        )

    @property
    def critical_difference(self) -> float:
        """Nemenyi (1963): mean ranks this far apart differ. Demšar's eq. for CD, at 5%.

            CD = q sqrt(M (M + 1) / (6 G))

        q: the quantile of the Studentized range for M methods, over sqrt(2).
        """
        n_tables, n_methods = self.loss_GM.shape
        q = studentized_range.ppf(1 - LEVEL, n_methods, np.inf) / np.sqrt(2)
        return float(q * np.sqrt(n_methods * (n_methods + 1) / (6 * n_tables)))

    def not_told_apart(self) -> list[tuple[int, int]]:
        """First and last method of each group that the critical difference does not divide.

        All methods are one group where Iman and Davenport's F does not say that they differ at
        all: the post-hoc test follows a rejection only.
        """
        last = len(self.methods) - 1
        if self.friedman().p_f >= LEVEL:
            return [(0, last)]
        reach = self.mean_rank_M + self.critical_difference
        ends = np.searchsorted(self.mean_rank_M, reach, side="left") - 1
        groups: list[tuple[int, int]] = []
        for start, end in enumerate(ends.tolist()):
            if end > start and (not groups or end > groups[-1][1]):
                groups.append((start, end))
        return groups

    def holm_p_MM(self) -> Array:
        """Wilcoxon signed-rank tests of all pairs, corrected by `holm`; NaN on the diagonal.

        All pairs count, also where only those with the best are looked at: which is best was not
        known beforehand. NaN throughout with too few tables for the test.
        """
        first, second = np.triu_indices(len(self.methods), k=1)
        gain_GP = np.round(self.loss_GM[:, first] - self.loss_GM[:, second], 12)
        p_P = holm(signed_rank(gain_GP))
        p_MM = np.full((len(self.methods), len(self.methods)), np.nan)
        p_MM[first, second] = p_MM[second, first] = p_P
        return p_MM

    def wins_MM(self) -> Ids:
        """On how many tables the method of the row beats that of the column."""
        wins: Ids = (self.loss_GM[:, :, None] < self.loss_GM[:, None, :]).sum(axis=0)
        return wins


def holm(p_P: Array) -> Array:
    """Sture Holm: "A simple sequentially rejective multiple test procedure" (1979), adjusted p.

    The smallest p is multiplied by the number of tests P, the next by P - 1, and so on; none comes
    out below one before it, nor above 1.
    """
    order = np.argsort(p_P, kind="stable")
    adjusted_P = np.empty_like(p_P)
    factor = np.arange(len(p_P), 0, -1)
    adjusted_P[order] = np.minimum(np.maximum.accumulate(p_P[order] * factor), 1.0)
    return adjusted_P


def interquartile_means(results: pd.DataFrame, metric: str) -> pd.DataFrame:
    """`method`, `mean`, `low`, `high`: of one source and protocol, on common episodes.

    Rishabh Agarwal et al.: "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
    (2021): the mean of the middle half of all scores, which outliers do not move, while the median
    would leave the most of what is known unused. Here over the episodes of all tables; of several
    seeds the mean. The interval is that of `bootstrap`.
    """
    scores = _common(results, metric)
    draws = bootstrap(scores.value[..., 0, None], scores.table, interquartile_mean)
    low, mean, high = interval(draws)
    return pd.DataFrame({"method": scores.methods, "mean": mean, "low": low, "high": high})


def interquartile_mean(weights_BN: Array, value_NJ1: Array, table_N: Ids) -> Array:
    """B J: the mean of the values between the quartiles, every table being one G-th of them.

    A value that a quartile falls on counts with the share of it that lies inside.
    """
    means = np.empty((len(weights_BN), value_NJ1.shape[1]))
    for column, value_N in enumerate(value_NJ1[..., 0].T):
        order = np.argsort(value_N, kind="stable")
        within_BN = weights_BN[:, order]
        np.cumsum(within_BN, axis=1, out=within_BN)
        np.clip(within_BN, 0.25, 0.75, out=within_BN)
        within_BN[:, 1:] -= within_BN[:, :-1]
        within_BN[:, 0] -= 0.25
        means[:, column] = within_BN @ value_N[order] / 0.5
    return means


def _common(results: pd.DataFrame, metric: str) -> Scores:
    """The scores of one metric, of the episodes on which every method has one (by any seed)."""
    scores = Scores.of(results[results[metric].notna()])
    value = scores.value[..., scores.metrics.index(metric), None]
    kept = np.any(~np.isnan(value[..., 0]), axis=1).all(axis=1)
    return Scores(
        scores.methods,
        [metric],
        scores.table[kept],
        value[kept],
        np.empty((*value[kept].shape[:2], 0, 10)),
    )
