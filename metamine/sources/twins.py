"""Find tables that hold the same data under other names, so that a split can keep them together.

A re-upload may differ in names, codes and units, in the order of rows and columns, in a few of
either, and in the target. Columns that are distributed alike and rows that both have betray it.
Not found: rows picked by their values (those of one class, say) or fewer than a quarter, categories
recoded as several columns, numbers scaled in parts, and tables whose columns are all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64
from scipy.spatial import KDTree

from metamine.sources.table import Table

SKETCHED = 64  # columns of a table that are sketched: the most distinctive
FEW = 20  # up to so many different values are compared by their shares, whatever they stand for
SUSPECT, SURE = 25, 60  # bits: columns alike that are worth a look; that prove it by themselves
MOST = 0.8  # of a table's columns, or of their bits
COLUMNS, ROWS = 8, 5000  # that are compared, at most; rows of the smaller table
AGREE = 0.3  # the least share of rows that agree, less those that do by chance

_LEVELS = np.array([0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95])  # of the quantiles
_NORMAL = np.array([-1.645, -1.282, -0.674, -0.253, 0, 0.253, 0.674, 1.282, 1.645]) / 3.29
_GENERIC = np.stack([_NORMAL, (_LEVELS - 0.5) / 0.9])  # the quantiles of columns as they come
_SHARES, _QUANTILES = slice(3, 9), slice(9, 18)  # places in a signature
_Column = Float[np.ndarray, " _"]
_Ints = Int64[np.ndarray, "..."]


@dataclass(frozen=True)
class Twin:
    """Two tables that hold the same data, and what shows it."""

    first: str
    second: str
    reason: str


@dataclass(frozen=True)
class Contents:
    """What is compared of a table: its sketch, its cells (may be memory mapped), its group."""

    sketch: Float32[np.ndarray, "_ 18"]
    cells: Float32[np.ndarray, "_ _"]
    group: str


def sketch(x: Float32[np.ndarray, "M F"]) -> Float32[np.ndarray, "K 18"]:
    """Signatures of the most distinctive columns of a table, which no other encoding changes.

    x: cells; category codes or numbers, NaN = missing. Constant columns are left out.
    A row: the column's index, number of different values, share missing; the shares of the 6 most
    frequent values known; 9 quantiles (see _scaled; 0 if the values are few).
    """
    rows = []
    for index, column in enumerate(x.T):
        known = ~np.isnan(column)
        if known.any() and column[known].min() < column[known].max():
            _, values, shares, quantiles = _scaled(column)
            top = np.sort(np.pad(shares, (0, 5)))[:-7:-1]
            facts = [index, len(values), 1 - known.mean()]
            rows.append([*facts, *top, *(quantiles * (len(values) > FEW))])
    signatures = np.array(rows, dtype=np.float32).reshape(-1, 18)
    order = np.argsort(-_bits(signatures, 1000, 1000), kind="stable")  # the same for all twins
    return signatures[order[:SKETCHED]]


def contents_of(tables: Iterable[Table]) -> dict[str, Contents]:
    """Table -> its contents."""
    return {table.name: Contents(sketch(table.x), table.x, table.group) for table in tables}


def twins(
    sketches: Mapping[str, Float32[np.ndarray, "_ 18"]],
    n_rows: Mapping[str, int],
    cells: Callable[[str], Float32[np.ndarray, "_ _"]],
    known: Callable[[str, str], bool] = lambda first, second: False,
) -> list[Twin]:
    """The pairs of tables that hold the same data; of two, the one with more rows comes first.

    cells(name) is called only for suspects. Pairs for which known() is True are not looked at.
    """
    names = sorted(sketches, key=lambda name: -n_rows[name])
    table = np.repeat(np.arange(len(names)), [len(sketches[name]) for name in names])
    s = np.concatenate([np.zeros((0, 18)), *(sketches[name] for name in names)])
    pairs, distance = _alike(s, table, np.array([n_rows[name] for name in names], np.int64)[table])
    starts = np.flatnonzero(np.diff(table[pairs], axis=0, prepend=-1).any(axis=1))
    found = []
    for start, stop in zip(starts, np.r_[starts, len(pairs)][1:], strict=True):
        first, second = (names[each] for each in table[pairs[start]])
        here, gap, matched, used = pairs[start:stop], distance[start:stop], list[int](), set[int]()
        for index, pair in enumerate(here.tolist()):  # the most alike first, each column once
            if used.isdisjoint(pair):
                used.update(pair)
                matched.append(index)
        columns, sizes = here[matched], (n_rows[first], n_rows[second])
        bits = _bits(s[columns[:, 0]], *sizes)
        all_bits = min(_bits(sketches[name], *sizes).sum() for name in (first, second))
        n_columns = min(len(sketches[first]), len(sketches[second]))
        reason = f"{len(columns)} of {n_columns} columns match"
        few = len(columns) < MOST * n_columns and bits.sum() < max(SUSPECT, 0.3 * all_bits)
        if few or len(columns) < 2 or known(first, second):
            continue
        rivals = ((here == columns[:, None]).any(2) & (gap <= gap[matched, None] + 0.2)).sum(1) - 1
        # Rows are compared on columns that tell them apart and are hardly taken for another.
        telling = -np.log2((s[columns[:, 0], _SHARES] ** 2).sum(axis=1))
        order = np.argsort(-np.minimum(telling, 7) / (1 + rivals), kind="stable")[:COLUMNS]
        share, chance = _agreement(cells(first), cells(second), s[columns[order], 0])
        # Where most rows agree by chance, all have to.
        if share - chance >= (AGREE if chance < 0.5 else max(0.1, 0.9 * (1 - chance))):
            found.append(Twin(first, second, f"{reason} and {share:.0%} of the rows agree"))
        elif bits[rivals == 0].sum() >= max(SURE, MOST * all_bits):
            found.append(Twin(first, second, reason))
    return found


def _alike(s: Float[np.ndarray, "_ 18"], table: _Ints, n: _Ints) -> tuple[_Ints, _Column]:
    """Columns of two tables (of n rows) that are alike, and how far apart (at most 1); in order."""
    generic = (_bits(s, 1000, 1000) < 8)[:, None]  # too many are alike to look far
    sizes = np.log(np.c_[n, s[:, 1]]) / np.log(np.where(generic, 1.06, 4))
    near = np.c_[sizes, s[:, 2:] / np.where(generic, 0.03, 0.06)]
    pairs = KDTree(near).query_pairs(1.0, p=np.inf, output_type="ndarray").astype(np.int64)
    pairs = np.sort(pairs[table[pairs[:, 0]] != table[pairs[:, 1]]], axis=1)
    i, j = pairs.T
    gap, middle = np.abs(s[i] - s[j]), (s[i] + s[j]) / 2
    of_shares, of_quantiles = _errors(middle[:, 2:9], n[i, None], n[j, None])
    distance = np.c_[gap[:, 2:9] / of_shares / 3, gap[:, _QUANTILES] / of_quantiles].max(axis=1)
    fewest, most = 0.99 * s[i, 1] * n[j] / n[i] - 1, 1.01 * s[i, 1] + 1  # different values
    fits = (distance <= 1) & (fewest <= s[j, 1]) & (s[j, 1] <= most)
    pairs, distance = pairs[fits], distance[fits]
    order = np.lexsort((*pairs.T[::-1], distance, *table[pairs].T[::-1]))
    return pairs[order], distance[order]


def _errors(p: Any, n_large: Any, n_small: Any) -> tuple[Any, Any]:
    """Of a share p and of quantiles if the smaller table was drawn from the larger, and a row."""
    drawn, row = np.sqrt(1 / n_small - 1 / n_large), 0.5 / n_small
    return 0.001 + row + np.sqrt(p * (1 - p)) * drawn, 0.01 + 3 * row + 1.5 * drawn


def _bits(s: Float[np.ndarray, "_ 18"], n_large: int, n_small: int) -> _Column:
    """How much it says that another table has such a column: little if it is uniform or normal."""
    of_shares, of_quantiles = _errors(s[:, _SHARES], n_large, n_small)
    shares = np.log2(1 + np.abs(s[:, _SHARES] - 1 / s[:, 1:2]) / of_shares)
    free = np.arange(6) < s[:, 1:2] - 1  # the last share follows from the others
    off = np.abs(s[:, None, _QUANTILES] - _GENERIC).max(axis=2).min(axis=1)
    return (shares * free).sum(axis=1) + 2 * np.log2(1 + off / of_quantiles) * (s[:, 1] > FEW)


def _agreement(large: Any, small: Any, columns: Float[np.ndarray, "C 2"]) -> tuple[float, float]:
    """The share of the smaller table's rows that occur in the larger one, and by chance."""
    sides: list[tuple[_Column, _Column]] = []
    for i, j in columns.astype(np.int64).tolist():
        sides.append(_aligned(large[:, i], small[:, j]))
        a, b = (np.stack(side, axis=1) for side in zip(*sides, strict=True))
        if len(sides) == 3 and _overlap(a, b[:: len(b) // 500 + 1]) < AGREE / 2:
            return 0.0, 0.0  # further columns could only lessen it
    rng = np.random.default_rng(0)
    b = rng.permutation(b)[:ROWS]
    by_chance = _overlap(rng.permuted(a, axis=0), b), _overlap(a, rng.permuted(b, axis=0))
    return _overlap(a, b), max(by_chance)


def _overlap(large: Float[np.ndarray, "M C"], small: Float[np.ndarray, "N C"]) -> float:
    """The share of the smaller table's rows that have a row of the larger one to themselves."""
    key = np.random.default_rng(0).normal(size=large.shape[1])  # quicker than unique(axis=0)
    _, at, n_large = np.unique((large * key).sum(axis=1), return_index=True, return_counts=True)
    _, of, n_small = np.unique((small * key).sum(axis=1), return_index=True, return_counts=True)
    _, near = KDTree(large[at]).query(small[of], p=np.inf, distance_upper_bound=0.005)
    met = np.bincount(near, weights=n_small, minlength=len(at) + 1)[:-1]  # last: none so near
    return float(np.minimum(met, n_large).sum() / len(small))


def _aligned(a: _Column, b: _Column) -> tuple[_Column, _Column]:
    """Two columns on a common scale, on which values that may mean the same are equal."""
    (a, u, p, _), (b, v, q, _) = _scaled(a), _scaled(b)
    n = max(len(u), len(v))
    if n > FEW:
        # Find the factor and shift, near 1 and 0, that best take the values of b to some of a.
        x, y, x_high, y_high = np.reshape(np.meshgrid(u[:3], v[:3], u[-3:], v[-3:]), (4, -1))
        factors = np.r_[1, (x_high - x) / np.maximum(y_high - y, 1e-9)]
        maps = np.c_[factors, np.r_[0, x] - factors * np.r_[0, y]][np.abs(factors - 1) < 0.3]
        to = maps[:, :1] * v[:: len(v) // 200 + 1] + maps[:, 1:]
        after = np.clip(np.searchsorted(u, to), 1, len(u) - 1)
        off = np.minimum(np.abs(to - u[after - 1]), np.abs(to - u[after]))
        best = (np.minimum(off / 1e-2, 1) + np.minimum(off / 1e-4, 1)).mean(axis=1).argmin()
        return np.nan_to_num(a, nan=-99), np.nan_to_num(b * maps[best, 0] + maps[best, 1], nan=-99)
    p, q = np.pad(p, (0, n - len(p))), np.pad(q, (0, n - len(q)))
    error, _ = _errors(p, max(len(a), len(b)), min(len(a), len(b)))
    of_u = of_v = np.arange(n)
    if len(u) != len(v) or (np.abs(p - q) > 3 * error).any():
        # The most frequent is the same value on both sides, and so on; those near count as one.
        by_p, by_q = np.argsort(-p, kind="stable"), np.argsort(-q, kind="stable")
        apart = np.minimum(-np.diff(p[by_p]), -np.diff(q[by_q])) > 3 * error[by_p[:-1]]
        of_u, of_v = np.r_[0, np.cumsum(apart)][np.argsort([by_p, by_q])]
    a = np.where(np.isnan(a), -9.0, of_u[np.searchsorted(u[:-1], a)])
    return a, np.where(np.isnan(b), -9.0, of_v[np.searchsorted(v[:-1], b)])


def _scaled(column: _Column) -> tuple[_Column, _Column, _Column, Float[np.ndarray, " 9"]]:
    """A column in units of its middle 90 % from its median, which no outlier touches; its different
    values, sorted; the share of each among those known; quantiles, that ties do not make jump."""
    column = column.astype(np.float64)
    values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    shares = counts / counts.sum()
    quantiles = np.interp(_LEVELS, shares.cumsum() - shares / 2, values)
    median = quantiles[4]
    unit = quantiles[-1] - quantiles[0] or np.average(np.abs(values - median), weights=shares)
    return (column - median) / unit, (values - median) / unit, shares, (quantiles - median) / unit
