"""How well predictors rank gains: Spearman's correlation, with intervals over tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from metamine.bootstrap import RESAMPLES, SEED, Array, interval

FEWEST = 3  # tables: with less, there is nothing to resample


def correlations(pairs: pd.DataFrame, predictors: Sequence[str]) -> pd.DataFrame:
    """A row for each kind of row and predictor that varies in it.

    pairs: `kind`, `table`, `mean` (the gain) and the predictors; NaN where one says nothing.
    Returns Spearman's `rho` over all pairs with its 95% interval `low` to `high`, and the same
    within tables (`within`, ...): after the mean of each table is taken out of both, so that it
    asks which row to train on for a table. Intervals are over other tables, rows staying the same.
    `pairs` and `tables` count what they rest on.
    """
    rows = []
    for kind, of_kind in pairs.groupby("kind", sort=False):
        for name in predictors:
            known = of_kind[of_kind[name].notna() & of_kind["mean"].notna()]
            if known["table"].nunique() < FEWEST:
                continue
            told = dict(_with_interval(known[name], known["mean"], known["table"], ""))
            if told["rho"] != told["rho"]:
                continue
            table = known.groupby("table")
            centred = known[[name, "mean"]] - table[[name, "mean"]].transform("mean")
            within = _with_interval(centred[name], centred["mean"], known["table"], "within_")
            told |= dict(within)
            told |= {"pairs": len(known), "tables": table.ngroups}
            rows.append({"kind": kind, "predictor": name, **told})
    columns = ["kind", "predictor", "rho", "low", "high"]
    columns += ["within", "within_low", "within_high", "pairs", "tables"]
    return pd.DataFrame(rows).rename(columns={"within_rho": "within"}).reindex(columns=columns)


def spearman(x_N: Array, y_N: Array, times_BN: Array) -> Array:
    """Spearman's rank correlation where pair n counts times_BN times: one for each B.

    Ties share their mean rank. NaN where either does not vary.
    """
    weight_BN = times_BN / times_BN.sum(axis=1, keepdims=True)
    x_BN, y_BN = (midranks(value_N, times_BN) for value_N in (x_N, y_N))
    x_BN, y_BN = (rank - (weight_BN * rank).sum(axis=1, keepdims=True) for rank in (x_BN, y_BN))
    both, x_alone, y_alone = (
        (weight_BN * one * other).sum(axis=1)
        for one, other in ((x_BN, y_BN), (x_BN, x_BN), (y_BN, y_BN))
    )
    scale = np.sqrt(x_alone * y_alone)
    return np.divide(both, scale, out=np.full_like(scale, np.nan), where=scale > 1e-9)


def midranks(value_N: Array, times_BN: Array) -> Array:
    """B N: ranks from 1 where value n occurs times_BN times; equal values share their mean rank."""
    order = np.argsort(value_N, kind="stable")
    _, first, place = np.unique(value_N[order], return_index=True, return_inverse=True)
    count_BU = np.add.reduceat(times_BN[:, order], first, axis=1)
    rank_BN = np.empty_like(times_BN)
    rank_BN[:, order] = (count_BU.cumsum(axis=1) - (count_BU - 1) / 2)[:, place]
    return rank_BN


def _with_interval(
    x: pd.Series[float], y: pd.Series[float], table: pd.Series[Any], prefix: str
) -> Iterator[tuple[str, float]]:
    """Name and value of the correlation and the ends of its interval; NaN if there is none."""
    # Rounded, so that what is equal but for the last digit is a tie.
    x_N, y_N = (np.asarray(each, dtype=np.float64).round(12) for each in (x, y))
    draws = spearman(x_N, y_N, _times(table))
    known = ~np.isnan(draws)  # a resample of few tables may not vary
    low = rho = high = np.nan
    if known[0]:
        ends = interval(draws[known][:, None])
        low, rho, high = (float(each[0].clip(-1, 1)) for each in ends)
    yield from ((f"{prefix}low", low), (f"{prefix}rho", rho), (f"{prefix}high", high))


def _times(table: pd.Series[Any]) -> Array:
    """(1 + RESAMPLES) N: how often a pair counts: once, then as often as its table was drawn."""
    place_N, names = pd.factorize(table)
    generator = np.random.default_rng(SEED)
    share = np.full(len(names), 1 / len(names))
    times_BG = generator.multinomial(len(names), share, size=RESAMPLES).astype(np.float64)
    return np.concatenate([np.ones((1, len(place_N))), times_BG[:, place_N]])
