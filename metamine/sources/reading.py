"""Read one CSV, Parquet or ARFF file into a Table; columns.py says what becomes of each column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.io import arff

from metamine.complaints import did_you_mean
from metamine.episode import Kind
from metamine.errors import MetamineError
from metamine.sources import columns
from metamine.sources.table import Table


def read_table(file: Path, kind: Kind, target: str, text: str) -> tuple[Table, list[str]]:
    """The table of a file (its group: its own name), and notes on what was left out of it.

    Rows without a target and columns without any value are left out; with `text` = "drop" also the
    columns that cannot be read. Constant columns stay.
    Raises MetamineError, naming the file, if it cannot be read or leaves nothing to learn.
    """
    frame = read_frame(file)
    notes: list[str] = []

    def note(what: str) -> None:
        notes.append(f"{file.name}: {what}")

    if target not in frame:
        shown = ", ".join(frame.columns[:8]) + (", ..." if frame.shape[1] > 8 else "")
        raise MetamineError(
            f"{file} has no column '{target}' to predict, but: {shown}; name the column with "
            f"source.target=COLUMN, source.targets={{{file.stem}:COLUMN}}, or in index.csv"
            + did_you_mean(target, frame.columns)
        )
    if frame.columns[0] == "Unnamed: 0" and _counts(frame.iloc[:, 0]):
        # In a file sorted by class it would give the class away.
        note("the nameless first column only counts the rows and is left out")
        frame = frame.iloc[:, 1:]
    labelled = ~frame[target].isin([np.inf, -np.inf]) & frame[target].notna()
    if not labelled.all():
        note(f"{(~labelled).sum()} rows without a value of '{target}' are left out")
        frame = frame[labelled]
    if frame.empty:
        raise MetamineError(f"{file} has no row with a value of '{target}'")
    x, categorical, features = _features(file, frame.drop(columns=target), text, note)
    try:
        to_predict = columns.target(frame[target], kind)
    except columns.Unreadable as error:
        raise MetamineError(
            f"{file}: the target '{target}' holds {error}, no use for {kind}; see source.target, "
            f"source.kind, or leave the table out with source.tables=['!{file.stem}']"
        ) from error
    table = Table(
        name=file.stem,
        group=file.stem,
        kind=kind,
        x=x,
        y=to_predict.y,
        categorical=categorical,
        features=features,
        classes=to_predict.classes,
        target_mean=to_predict.mean,
        target_sd=to_predict.sd,
    )
    return table, notes


def read_frame(file: Path) -> pd.DataFrame:
    """The file as it is, columns named by strings.

    Raises MetamineError, naming the file, if it cannot be read.
    """
    suffix = file.suffix.lower()
    if suffix not in _FORMATS:
        raise MetamineError(f"{file} is no table: metamine reads {', '.join(_FORMATS)}")
    try:
        frame = _FORMATS[suffix](file)
    except _UNREADABLE as error:
        lines = str(error).splitlines() or [type(error).__name__]
        hint = "; save it as CSV or Parquet" if suffix == ".arff" else ""
        raise MetamineError(f"{file} cannot be read: {lines[0].rstrip('. ')}{hint}") from error
    frame.columns = frame.columns.map(str)
    return frame


def _csv(file: Path) -> pd.DataFrame:
    # "?" marks missing values in many old tables, as in ARFF.
    return pd.read_csv(file, na_values=["?"], skipinitialspace=True, low_memory=False)


def _arff(file: Path) -> pd.DataFrame:
    with file.open(encoding="utf-8") as lines:
        rows, meta = arff.loadarff(lines)
    frame = {}
    for name, kind in zip(meta.names(), meta.types(), strict=True):
        column = pd.Series(rows[name])
        if kind == "nominal":
            column = column.str.decode("utf-8")
            column = column.mask(column == "?").astype("category")
        frame[name] = column
    return pd.DataFrame(frame)


_FORMATS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _csv,
    ".parquet": pd.read_parquet,
    ".pq": pd.read_parquet,
    ".arff": _arff,
}
# ValueError: also pandas' and pyarrow's own, and UnicodeDecodeError; the others come for bad ARFF.
_UNREADABLE = (OSError, ValueError, NotImplementedError, arff.ArffError, StopIteration, IndexError)


def _counts(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_integer_dtype(column) and bool(column.diff().iloc[1:].eq(1).all())


def _features(
    file: Path, frame: pd.DataFrame, text: str, note: Callable[[str], None]
) -> tuple[Float[np.ndarray, "M F"], Bool[np.ndarray, " F"], tuple[str, ...]]:
    """The cells of all columns that can be used, which of them are categorical, and their names."""
    kept = {}
    for name, column in frame.items():
        if column.isna().all():
            note(f"the column '{name}' has no value and is left out")
            continue
        try:
            read = columns.feature(column)
        except columns.Unreadable as error:
            if text == "refuse":
                raise MetamineError(
                    f"{file}: the column '{name}' holds {error}, which no method here reads; "
                    "leave such columns out with source.text=drop"
                ) from error
            note(f"the column '{name}' holds {error} and is left out")
            continue
        if read.n_infinite:
            note(f"{read.n_infinite} infinite values of '{name}' count as missing")
        kept[str(name)] = read
    if not kept:
        raise MetamineError(f"{file} has no column to predict from")
    return (
        np.stack([read.values for read in kept.values()], axis=1),
        np.array([read.categorical for read in kept.values()]),
        tuple(kept),
    )
