"""Rows of a user as cells that methods read: numbers, and codes of the categories they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from metamine.sources.columns import Unreadable, codes_of, holds_numbers, label_of

Unseen = Literal["missing", "refuse"]
FURTHEST = 1e15  # standard deviations; squares of these are finite in float32


@dataclass(frozen=True)
class Cells:
    """What labelled rows say of each column.

    levels: column -> category -> its code; columns that are not named hold numbers.
    mean, sd: of the numbers, as float32 does not tell 1e9 from 1e9 + 1.
    """

    levels: Mapping[str, Mapping[str, int]]
    mean: Float[np.ndarray, " F"]
    sd: Float[np.ndarray, " F"]

    @staticmethod
    def of(frame: pd.DataFrame) -> Cells:
        """Raises ValueError, naming the column, for dates, text, and other values of no use."""
        levels = {}
        mean, sd = np.zeros(frame.shape[1]), np.ones(frame.shape[1])
        for place, (name, column) in enumerate(frame.items()):
            try:
                numeric = column.isna().all() or holds_numbers(column)
            except Unreadable as error:
                raise ValueError(
                    f"the column '{name}' holds {error}, which no method here reads; leave it out"
                ) from error
            if not numeric:
                levels[str(name)] = {label: code for code, label in enumerate(codes_of(column)[1])}
            elif len(values := _known(_numbers(column))):
                mean[place], sd[place] = values.mean(), values.std() or 1.0
        return Cells(levels, mean, sd)

    def categorical(self, frame: pd.DataFrame) -> Bool[np.ndarray, " F"]:
        """Which columns hold codes."""
        return np.array([str(name) in self.levels for name in frame], dtype=bool)

    def read(self, frame: pd.DataFrame, unseen: Unseen) -> Float[np.ndarray, "M F"]:
        """The cells as float32, NaN = missing.

        unseen: categories that no labelled row shows count as "missing", or are refused.
        Raises ValueError, naming the column, for those, and for words in a column of numbers.
        """
        read = np.empty(frame.shape, dtype=np.float32)
        for place, (name, column) in enumerate(frame.items()):
            levels = self.levels.get(str(name))
            if levels is None:
                values = (_numbers(column) - self.mean[place]) / self.sd[place]
                read[:, place] = values.clip(-FURTHEST, FURTHEST)
                continue
            known = {value: levels.get(label_of(value)) for value in column.dropna().unique()}
            strange = [value for value, code in known.items() if code is None]
            if strange and unseen == "refuse":
                raise ValueError(
                    f"the column '{name}' holds '{strange[0]}', which no labelled row shows; label "
                    "a row with it, or have it count as missing by unseen=missing"
                )
            read[:, place] = column.map(known).astype(np.float64)
        return read


def _numbers(column: pd.Series[Any]) -> Float[np.ndarray, " M"]:
    """Infinite ones count as missing, as in files."""
    try:
        values = column.to_numpy(np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"the column '{column.name}' holds numbers in the labelled rows, and here: {error}"
        ) from error
    return np.where(np.isinf(values), np.nan, values)


def _known(values: Float[np.ndarray, " M"]) -> Float[np.ndarray, " K"]:
    return values[~np.isnan(values)]
