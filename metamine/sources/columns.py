"""One column of a file: numbers, category codes, or nothing that a method here reads.

- Numbers stay numbers; infinite ones, and those beyond the range of float32, count as missing.
- Booleans, declared categories and strings become the codes of their sorted labels.
- Strings with more than `FEW_LEVELS` different values and fewer than `ROWS_PER_LEVEL` rows for each
  are text. Text, dates and whatever else there is cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int64

from metamine.episode import Kind
from metamine.sources.table import standardised

FEW_LEVELS = 20
ROWS_PER_LEVEL = 5

# What pandas.api.types.infer_dtype calls them.
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal"}
_LABELS = {"boolean", "categorical", "string"}
_DATES = {"date", "datetime", "datetime64", "timedelta", "timedelta64", "period", "time"}

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class Unreadable(ValueError):
    """The values are of no use here; the message says what they are."""


@dataclass(frozen=True)
class Feature:
    """A column to predict from."""

    values: Float[np.ndarray, " M"]  # float32; NaN = missing
    categorical: bool
    n_infinite: int  # of the values that count as missing


@dataclass(frozen=True)
class Target:
    """The column to predict; see Table."""

    y: Int64[np.ndarray, " M"] | Float[np.ndarray, " M"]
    classes: tuple[str, ...]
    mean: float
    sd: float


def feature(column: pd.Series[Any]) -> Feature:
    """Read a column with a value at least. Raises Unreadable."""
    if holds_numbers(column):
        values = column.to_numpy(np.float64, na_value=np.nan)
        infinite = np.abs(values) > np.finfo(np.float32).max
        if (infinite | np.isnan(values)).all():
            raise Unreadable("infinite values")
        scaled, _, _ = standardised(np.where(infinite, np.nan, values))
        return Feature(scaled, categorical=False, n_infinite=int(infinite.sum()))
    codes, _ = codes_of(column)
    values = np.where(codes < 0, np.nan, codes).astype(np.float32)
    return Feature(values, categorical=True, n_infinite=0)


def holds_numbers(column: pd.Series[Any]) -> bool:
    """Whether a column to predict from holds numbers, else categories. Raises Unreadable."""
    what = pd.api.types.infer_dtype(column)
    if what in _NUMBERS:
        return True
    if what not in _LABELS:
        raise _neither(what)
    n_levels = column.nunique()
    if what == "string" and n_levels > FEW_LEVELS and n_levels * ROWS_PER_LEVEL > column.count():
        raise Unreadable(f"text ({n_levels} different values)")
    return False


def target(column: pd.Series[Any], kind: Kind) -> Target:
    """Read a column in which no value is missing or infinite. Raises Unreadable."""
    what = pd.api.types.infer_dtype(column)
    if kind == "regression":
        if what not in _NUMBERS:
            raise Unreadable("labels" if what in _LABELS else str(_neither(what)))
        y, mean, sd = standardised(column.to_numpy(np.float64))
        if not y.any():
            raise Unreadable(f"a single value, {mean:g}")
        return Target(y, (), mean, sd)
    if what in _NUMBERS:
        column = column.astype(np.float64)
        fractions = column[column % 1 != 0]
        if len(fractions):
            raise Unreadable(f"{fractions.iloc[0]:g}, which is no class")
    elif what not in _LABELS:
        raise _neither(what)
    codes, labels = codes_of(column)
    if len(labels) == 1:
        raise Unreadable(f"a single class, {labels[0]}")
    if len(labels) == len(codes) > 2:
        raise Unreadable("another class in every row")
    return Target(codes, labels, mean=0.0, sd=1.0)


def _neither(what: str) -> Unreadable:
    return Unreadable("dates" if what in _DATES else f"{what} values")


def codes_of(column: pd.Series[Any]) -> tuple[Int64[np.ndarray, " M"], tuple[str, ...]]:
    """The rank of each value's label among the sorted labels (-1: missing), and the labels."""
    codes, values = pd.factorize(column)
    labels = [label_of(value) for value in values]
    ordered = ordered_labels(labels)
    rank_of = {label: rank for rank, label in enumerate(ordered)}
    rank = np.array([*(rank_of[label] for label in labels), -1], dtype=np.int64)
    return rank[codes], tuple(ordered)


def label_of(value: object) -> str:
    """1 and 1.0 are the same class: a missing value elsewhere makes floats of a file's integers."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def ordered_labels(labels: Collection[str]) -> list[str]:
    """Each label once, as numbers if all are: a file that quotes them gives the same codes."""
    labels = set(labels)
    numeric = all(_NUMBER.fullmatch(label) for label in labels)
    return sorted(labels, key=lambda label: (float(label) if numeric else 0, label))
