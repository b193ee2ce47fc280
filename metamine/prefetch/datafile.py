"""Read a data file of OpenML, Parquet or ARFF, as its list of features declares it.

Types come from that list (features.xml), never from what a reader makes of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from metamine.errors import MetamineError

Type = Literal["numeric", "nominal", "string", "date"]


class Corrupt(MetamineError):
    """What the server sent is not what its own descriptions say."""


class TooMany(MetamineError):
    """A table has more cells than allowed."""


@dataclass(frozen=True)
class Feature:
    """A column as features.xml declares it; old lists name no levels of nominal columns."""

    name: str
    type: Type
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """A column as read: float64 numbers (NaN = missing) or labels and texts (None = missing)."""

    feature: Feature
    values: np.ndarray  # of M numbers, or M objects

    @property
    def missing(self) -> np.ndarray:
        """Which values are; among numbers also those beyond the range of float32."""
        if self.feature.type == "numeric":
            return ~(np.abs(self.values) <= np.finfo(np.float32).max)
        return np.array([value is None for value in self.values], dtype=bool)


def read_parquet(file: Path, features: Sequence[Feature], most_cells: int) -> list[Column]:
    """The columns of a Parquet file. Raises Corrupt; TooMany before it is read."""
    try:
        check_size(pq.read_metadata(file).num_rows, len(features), most_cells)
        table = pq.read_table(file, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise Corrupt(f"its Parquet file cannot be read: {_first_line(error)}") from error
    _check_names(table.column_names, features)
    return [_column(feature, _plain(table.column(index))) for index, feature in enumerate(features)]


def read_arff(
    file: Path, features: Sequence[Feature], sparse: bool, most_cells: int
) -> list[Column]:
    """The columns of a dense or sparse ARFF file. Raises Corrupt; TooMany before it is made dense.

    In a sparse one, a value that is not written is 0, or the first level of a nominal column.
    """
    import arff  # liac-arff, which comes with the openml package

    mode = arff.LOD_GEN if sparse else arff.DENSE_GEN
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            content = arff.load(_Readable(lines), return_type=mode)
            declared = content["attributes"]
            _check_names([name for name, _ in declared], features)
            rows = list(content["data"])
            check_size(len(rows), len(features), most_cells)
    except (arff.ArffException, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise Corrupt(f"its ARFF file cannot be read: {_first_line(error)}") from error
    columns = []
    for index, (feature, (_, kind)) in enumerate(zip(features, declared, strict=True)):
        if sparse:
            absent = kind[0] if isinstance(kind, list) else 0.0
            values = [row.get(index, absent) for row in rows]
        else:
            values = [row[index] for row in rows]
        if feature.type == "nominal" and not feature.levels and isinstance(kind, list):
            feature = Feature(feature.name, feature.type, tuple(kind))
        columns.append(_column(feature, values))
    return columns


class _Readable:
    """The lines of an ARFF file, its DATE attributes declared as the strings they are read as."""

    def __init__(self, lines: TextIO) -> None:
        self.lines = lines

    def __iter__(self) -> Iterator[str]:
        header = True
        for line in self.lines:
            if header and line[:5].lower() == "@data":
                header = False
            if header:
                line = _DATE.sub(r"\1 STRING", line.rstrip("\r\n")) + "\n"
            yield line.rstrip("\r\n")


_DATE = re.compile(
    r"""^(\s*@attribute\s+(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S+))\s+date\b.*$""",
    re.IGNORECASE,
)


def check_size(n_rows: int, n_columns: int, most_cells: int) -> None:
    """Raise TooMany for a table of too many cells."""
    if n_rows * n_columns > most_cells:
        raise TooMany(
            f"it has {n_rows:,} rows x {n_columns:,} columns, more than most_cells={most_cells:,}"
        )


def _check_names(found: Sequence[str], features: Sequence[Feature]) -> None:
    if len(found) != len(features):
        raise Corrupt(f"it has {len(found)} columns where features.xml lists {len(features)}")
    for name, feature in zip(found, features, strict=True):
        if name.strip() != feature.name.strip():
            raise Corrupt(f"its column '{name}' is called '{feature.name}' in features.xml")


def _plain(column: pa.ChunkedArray) -> Any:
    """Numbers as a NumPy array, anything else as a list."""
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    return column.to_pylist()


def _column(feature: Feature, values: Any) -> Column:
    if feature.type == "numeric":
        return Column(feature, _numbers(feature, values))
    to_text: Callable[[Any], str] = _labeller(feature) if feature.type == "nominal" else str
    texts: dict[Any, str | None] = {}  # each different value is looked at once
    result = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        if value is None or value != value:
            continue
        if value not in texts:
            texts[value] = to_text(value)
        result[index] = texts[value]
    return Column(feature, result)


def _numbers(feature: Feature, values: Iterable[Any]) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    try:
        return np.array([np.nan if value is None else float(value) for value in values])
    except (TypeError, ValueError) as error:
        raise Corrupt(
            f"its column '{feature.name}' is numeric by features.xml, but holds "
            f"{str(error).rpartition(': ')[2]}"
        ) from error


def _labeller(feature: Feature) -> Callable[[Any], str]:
    """The level that a value stands for: readers turn '1' into 1.0, and 'TRUE' into True."""
    exact = {level.strip(): level.strip() for level in feature.levels}
    folded = {level.casefold(): level for level in exact}
    numbers = {number: level for level in exact if (number := _number(level)) is not None}

    def label(value: Any) -> str:
        text = str(value).strip()
        if not exact:
            return text
        if text in exact:
            return exact[text]
        if isinstance(value, bool) and text.casefold() in folded:
            return folded[text.casefold()]
        number = _number(text)
        if isinstance(value, (int, float)) and number in numbers:
            return numbers[number]
        raise Corrupt(
            f"its column '{feature.name}' holds '{text}', which is none of the "
            f"{len(exact)} values that features.xml allows"
        )

    return label


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
