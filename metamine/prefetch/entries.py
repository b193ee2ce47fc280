"""Make the entries of the store: a data set out of its columns, a task out of its splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from metamine.openml.store import TEST, TRAINING, seal
from metamine.prefetch.datafile import Column, Corrupt
from metamine.sources.columns import ordered_labels
from metamine.sources.table import standardised
from metamine.sources.twins import sketch


def write_dataset(
    folder: Path,
    columns: Sequence[Column],
    targets: Sequence[str],
    left_out: Mapping[str, str],
    description: Mapping[str, Any],
) -> None:
    """Fill `folder`, which is empty, with a data set; see store.py for the files.

    targets: the columns that are to be predicted. left_out: columns that are not to be used -> why.
    Raises Corrupt if a target is no column, or named twice.
    """
    names = [column.feature.name for column in columns]
    for target in targets:
        if target not in names:
            raise Corrupt(f"its target '{target}' is none of its columns")
    if len(set(targets)) != len(targets):
        raise Corrupt(f"it names a target twice: {', '.join(targets)}")
    n_rows = len(columns[0].values)
    entries: list[dict[str, Any]] = []
    cells: list[np.ndarray] = []
    answers: list[np.ndarray] = []
    for column in columns:
        feature, missing = column.feature, column.missing
        entry: dict[str, Any] = {
            "name": feature.name,
            "type": feature.type,
            "missing": int(missing.sum()),
        }
        why = left_out.get(feature.name)
        if feature.type in ("string", "date"):
            why = why or {"string": "text", "date": "dates"}[feature.type]
        elif missing.all():
            why = why or "no value"
        if feature.name in targets and why != "no value" and feature.type in ("numeric", "nominal"):
            why = None
        if why is None:
            values = _coded(column, entry, missing)
            if feature.name in targets:
                entry |= {"role": "target", "at": len(answers)}
                answers.append(values)
            else:
                if feature.type == "numeric":
                    values, entry["mean"], entry["sd"] = standardised(values)
                entry |= {"role": "feature", "at": len(cells)}
                cells.append(values.astype(np.float32))
        else:
            entry |= {"role": "left out", "why": why}
        entries.append(entry)
    if not cells:
        raise Corrupt("it has no column to predict from")
    pq.write_table(
        pa.table({column.feature.name: _arrow(column) for column in columns}),
        folder / "data.parquet",
        compression="zstd",
    )
    x = np.stack(cells, axis=1)
    np.save(folder / "cells.npy", x)
    np.save(folder / "targets.npy", np.array(answers, dtype=np.float64).reshape(-1, n_rows))
    np.save(folder / "sketch.npy", sketch(x))
    seal(folder, "datasets", {**description, "rows": n_rows, "columns": entries})


def write_task(
    folder: Path,
    parts: np.ndarray | None,
    description: Mapping[str, Any],
) -> None:
    """Fill `folder` with a task. parts: uint8, repeat x fold x row; None: without splits."""
    if parts is not None:
        np.save(folder / "parts.npy", parts)
    seal(folder, "tasks", description)


def parts_of(
    splits: Mapping[int, Mapping[int, Mapping[int, Any]]], n_rows: int, procedure: Mapping[str, Any]
) -> np.ndarray:
    """Which part each row belongs to, uint8, repeat x fold x row, once all of it is checked.

    splits: repeat -> fold -> sample -> (train, test), as the openml package has them.
    Raises Corrupt unless the splits are of these rows, do not overlap, number what the procedure
    says, and, of a cross-validation, have test parts that share out all rows.
    """
    parameters = procedure.get("parameters") or {}
    n_folds = {len(folds) for folds in splits.values()}
    if len(n_folds) != 1:
        raise Corrupt("the splits have repeats of different numbers of folds")
    shape = (len(splits), n_folds.pop())
    for name, found in zip(("number_repeats", "number_folds"), shape, strict=True):
        declared = str(parameters.get(name) or "")
        if declared.isdecimal() and int(declared) != found:
            raise Corrupt(f"the splits have {name} {found} where the task says {declared}")
    crossing = str(procedure.get("type")) in ("crossvalidation", "leaveoneout")
    parts = np.zeros((*shape, n_rows), dtype=np.uint8)
    for repeat in range(shape[0]):
        for fold in range(shape[1]):
            try:
                (split,) = splits[repeat][fold].values()
            except (KeyError, ValueError):
                raise Corrupt(f"the splits lack repeat {repeat}, fold {fold}") from None
            part = parts[repeat, fold]
            for rows, number in zip(split, (TRAINING, TEST), strict=True):
                rows = np.asarray(rows, dtype=np.int64)
                if not len(rows) or rows.min() < 0 or rows.max() >= n_rows:
                    raise Corrupt(f"the splits name rows outside the {n_rows} of the data")
                if part[rows].any() or len(np.unique(rows)) != len(rows):
                    raise Corrupt(f"the splits name a row twice in repeat {repeat}, fold {fold}")
                part[rows] = number
            if crossing and (part == 0).any():
                raise Corrupt(f"the splits lack rows in repeat {repeat}, fold {fold}")
        if crossing and ((parts[repeat] == TEST).sum(axis=0) != 1).any():
            raise Corrupt(f"the test folds of repeat {repeat} do not share out the rows")
    return parts


def _coded(column: Column, entry: dict[str, Any], missing: np.ndarray) -> np.ndarray:
    """Numbers, or codes of the labels that occur, sorted; float64, NaN = missing."""
    if column.feature.type == "numeric":
        return np.where(missing, np.nan, column.values)
    labels = ordered_labels([value for value in column.values if value is not None])
    code = {label: index for index, label in enumerate(labels)}
    entry["levels"] = labels
    return np.array([np.nan if value is None else code[value] for value in column.values])


def _arrow(column: Column) -> pa.Array:
    if column.feature.type == "numeric":
        return pa.array(column.values, from_pandas=True)
    texts = pa.array(column.values, pa.string())
    return texts.dictionary_encode() if column.feature.type == "nominal" else texts
