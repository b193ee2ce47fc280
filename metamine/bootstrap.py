"""One bootstrap, clustered by table and crossed with training seeds, for any number of columns.

Draw tables with replacement, then as many episodes as it has within each drawn table, so that a
single table still gets an interval. Seeds, if several, are drawn too, independently of the tables
(Owen, "The pigeonhole bootstrap", 2007). All columns see the same draws, so that the difference of
two columns is paired.

An interval from 4 tables covers the mean over all tables of their kind about 80% of the time, not
95%; from 30 on it does. Where tables do not differ it is up to sqrt(2) too wide.

Dimension key: N episodes, S training seeds, J columns, B resamples, G tables; one more axis after J
holds what the statistic takes: a number, or calibration bins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
# (what each episode counts for B N, values N J ..., table ids N) -> B J
Statistic = Callable[[Array, Array, Ids], Array]

RESAMPLES = 2000
SEED = 0


def bootstrap(value_NSJ: Array, table_N: Ids, statistic: Statistic) -> Array:
    """(1 + RESAMPLES) J: the statistic of the data in row 0, then of each resample.

    value_NSJ: NaN where there is no score; such episodes are no part of the column's data. NaN
        comes out for a column without any.
    table_N: ascending.
    """
    n_seeds, n_columns = value_NSJ.shape[1:3]
    flat = value_NSJ.reshape(len(table_N), n_seeds * n_columns, value_NSJ.shape[3])
    lacking: NDArray[np.bool_] = np.any(np.isnan(flat), axis=2)
    draws = np.full((1 + RESAMPLES, n_seeds * n_columns), np.nan)
    patterns = {column.tobytes(): column for column in lacking.T}
    for pattern in patterns.values():  # columns that lack the same episodes go together
        columns, keep = (pattern == lacking.T).all(axis=1), ~pattern
        if keep.any():
            kept, table = flat[keep][:, columns], table_N[keep]
            draws[:, columns] = np.concatenate(
                [statistic(weights_BN, kept, table) for weights_BN in _weights(table)]
            )
    return _over_seeds(draws.reshape(1 + RESAMPLES, n_seeds, n_columns))


def interval(draws: Array) -> tuple[Array, Array, Array]:
    """Low end, estimate and high end of the 95% interval (percentiles of the resamples).

    Resamples are centred on the estimate first, which moves means by next to nothing; but a
    calibration error is larger in a resample than in the data, noise being added to noise.
    """
    estimate, resampled = draws[0], draws[1:]
    centred = resampled - resampled.mean(axis=0) + estimate
    low, high = np.quantile(centred, [0.025, 0.975], axis=0)
    return low, estimate, high


def _weights(table_N: Ids) -> Iterator[Array]:
    """What each episode counts for: in the data (1 N), then in blocks of resamples (B N).

    Its table's share, 1 / G, over the episodes of the table; times how often it was drawn.
    """
    _, table_N, size_G = np.unique(table_N, return_inverse=True, return_counts=True)
    n_tables, first_G = len(size_G), np.cumsum(size_G) - size_G
    share_N = 1 / (size_G[table_N] * n_tables)
    yield share_N[None]
    generator = np.random.default_rng(SEED)
    block = max(1, 4_000_000 // len(table_N))  # bounds memory to some 100 MB
    for start in range(0, RESAMPLES, block):
        n = min(block, RESAMPLES - start)
        drawn_BG = generator.integers(n_tables, size=(n, n_tables))
        size_BG, first_BG = size_G[drawn_BG], first_G[drawn_BG]
        size = np.repeat(size_BG.ravel(), size_BG.ravel())  # one entry for each drawn episode
        place = (generator.random(len(size)) * size).astype(np.int64)
        episode = np.repeat(first_BG.ravel(), size_BG.ravel()) + place
        resample = np.repeat(np.arange(n), size_BG.sum(axis=1))
        times = np.bincount(resample * len(table_N) + episode, minlength=n * len(table_N))
        yield times.reshape(n, -1) * share_N


def _over_seeds(draws_BSJ: Array) -> Array:
    """Average over the seeds a column has: over each once in row 0, over resampled ones below."""
    averaged = np.full((len(draws_BSJ), draws_BSJ.shape[2]), np.nan)
    for column, seeds in enumerate(~np.isnan(draws_BSJ[0]).T):
        if n := int(seeds.sum()):
            generator = np.random.default_rng([SEED, n])
            times_BS = generator.multinomial(n, np.full(n, 1 / n), size=len(averaged))
            times_BS[0] = 1
            averaged[:, column] = (draws_BSJ[:, seeds, column] * times_BS).sum(axis=1) / n
    return averaged
