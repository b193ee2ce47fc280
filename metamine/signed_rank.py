"""The Wilcoxon signed-rank test over tables, for many pairs of methods at once.

Dimension key: G tables, P pairs.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from metamine.bootstrap import Array

FEWEST_TABLES = 6  # with fewer, no outcome has p < 0.05


def signed_rank(gain_GP: Array) -> Array:
    """Two-sided p of each pair, 1 where no table differs; NaN below FEWEST_TABLES."""
    p_P = np.full(gain_GP.shape[1], np.nan)
    if len(gain_GP) < FEWEST_TABLES:
        return p_P
    size_GP = np.sort(np.abs(gain_GP), axis=0)
    differ_P: NDArray[np.bool_] = size_GP[-1] > 0
    tied_P: NDArray[np.bool_] = (size_GP[0] == 0) | np.any(np.diff(size_GP, axis=0) == 0, axis=0)
    p_P[~differ_P] = 1.0
    # With ties scipy's "auto" turns to permutations, for a fifth of a second each.
    methods: tuple[Literal["approx", "auto"], ...] = ("auto", "approx")
    for method, chosen_P in zip(methods, (~tied_P, tied_P & differ_P), strict=True):
        if chosen_P.any():
            p_P[chosen_P] = wilcoxon(gain_GP[:, chosen_P], axis=0, method=method).pvalue
    return p_P
