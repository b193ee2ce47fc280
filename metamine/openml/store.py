"""The store of OpenML tables: written once, whole or not at all; runs only read it.

    datasets/61/   data.parquet   all columns as OpenML has them, for other programs
                   cells.npy      the columns to predict from, float32, row by row: memory mapped
                   targets.npy    the columns to predict, float64, one after the other
                   sketch.npy     what tells twins, see sources/twins.py
                   dataset.json   names, types, provenance, licence, what was dropped, sha256
    tasks/59/      parts.npy      uint8, repeat x fold x row: 0 neither, 1 training, 2 test part
                   task.json
    suites/        snapshots that `--refresh` took

A folder of datasets/ or tasks/ appears by a rename, so whoever sees it sees all of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import platformdirs

from metamine.errors import MetamineError

Kind = Literal["datasets", "tasks"]
DESCRIPTION: dict[Kind, str] = {"datasets": "dataset.json", "tasks": "task.json"}
FORMAT = 1  # of what lies in the store
TRAINING, TEST = 1, 2  # parts of a split


def store_folder(given: str | None = None) -> Path:
    """`given`, else METAMINE_STORE, else where the system keeps a user's data."""
    named = given or os.environ.get("METAMINE_STORE")
    if named:
        return Path(named).expanduser().resolve()
    return platformdirs.user_data_path("metamine") / "openml"


def entry_folder(store: Path, kind: Kind, number: int) -> Path:
    return store / kind / str(int(number))


def seal(folder: Path, kind: Kind, description: Mapping[str, Any]) -> None:
    """Write the description of a finished folder, with the size and SHA-256 of each of its files,
    and a digest of itself; then make all of it durable."""
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in sorted(folder.iterdir())
    }
    content = {"format": FORMAT, **description, "files": files}
    content["digest"] = _digest(content)
    (folder / DESCRIPTION[kind]).write_text(json.dumps(content, indent=1) + "\n")
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read(folder: Path, kind: Kind) -> dict[str, Any]:
    """The description of an entry, checked against its digest; its files against their sizes.

    Raises FileNotFoundError if there is no such entry, MetamineError if it is damaged.
    """
    text = (folder / DESCRIPTION[kind]).read_text()
    try:
        content = dict(json.loads(text))
        digest = content.pop("digest")
        sound = digest == _digest(content)
    except (ValueError, KeyError):
        sound = False
    if sound:
        sizes = {name: file["bytes"] for name, file in content["files"].items()}
        sound = all(
            (folder / name).is_file() and (folder / name).stat().st_size == size
            for name, size in sizes.items()
        )
    if not sound:
        raise damaged(folder)
    if content["format"] != FORMAT:
        raise MetamineError(
            f"{folder} was written by another version of metamine (format {content['format']}, "
            f"this one reads {FORMAT}); prefetch into another store: dest=FOLDER"
        )
    return content | {"digest": digest}


def verify(folder: Path, kind: Kind) -> None:
    """Read every byte of an entry. Raises MetamineError if one is not as it was written."""
    content = read(folder, kind)
    for name, file in content["files"].items():
        if sha256(folder / name) != file["sha256"]:
            raise damaged(folder)


def mapped(folder: Path, name: str) -> np.ndarray:
    """An array of an entry, memory mapped; changes stay private, and need no right to write."""
    try:
        return np.load(folder / name, mmap_mode="c", allow_pickle=False)
    except ValueError as error:
        raise damaged(folder) from error


def damaged(folder: Path) -> MetamineError:
    return MetamineError(
        f"{folder} is damaged; mend it with: metamine prefetch --repair dest={folder.parent.parent}"
    )


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
