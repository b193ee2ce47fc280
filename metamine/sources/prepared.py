"""Prepared tables, kept between runs: one checksummed file for a folder and what was asked of it.

The file: the SHA-256 of what follows, then four .npy arrays end to end: a manifest (JSON as bytes),
all cells (float32), all targets, and which columns are categorical.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import astuple, dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path

import numpy as np
import platformdirs

from metamine.sources.table import Table
from metamine.sources.twins import Twin

_DIGEST_BYTES = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Tables of one kind, a sentence on everything that was left out of them, and their twins."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    twins: tuple[Twin, ...] = ()


def prepared(place: str, stamp: str, prepare: Callable[[], Prepared]) -> Prepared:
    """What `prepare` gives, from the cache if it is there.

    place: names the file in the cache; a later stamp replaces it, so that a folder that changes
        does not fill the cache.
    stamp: all that the result depends on.
    Any number of processes may do this at once. A damaged file is prepared anew; a cache that
    cannot be read or written is done without; both are logged.
    """
    file = cache_folder() / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.tables"
    result = _load(file, stamp)
    if result is None:
        result = prepare()
        _store(file, stamp, result)
    return result


def cache_folder() -> Path:
    """METAMINE_CACHE, or where the system keeps a user's caches."""
    return Path(os.environ.get("METAMINE_CACHE") or platformdirs.user_cache_path("metamine"))


def _load(file: Path, stamp: str) -> Prepared | None:
    try:
        with file.open("rb") as stream:
            expected = stream.read(_DIGEST_BYTES)
            if _digest(stream) != expected:
                log.warning("%s is damaged: preparing the tables anew", file)
                return None
            stream.seek(_DIGEST_BYTES)
            manifest = json.loads(np.load(stream).tobytes())
            if manifest["stamp"] != stamp:
                return None
            cells, targets, categorical = (np.load(stream) for _ in range(3))
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("the prepared tables cannot be read: %s", error)
        return None
    tables = []
    cell = row = column = 0
    for entry in manifest["tables"]:
        n_rows, features = entry.pop("rows"), tuple(entry.pop("features"))
        n_cells = n_rows * len(features)
        tables.append(
            Table(
                group=entry["name"],
                kind=manifest["kind"],
                x=cells[cell : cell + n_cells].reshape(n_rows, len(features)),
                y=targets[row : row + n_rows],
                categorical=categorical[column : column + len(features)],
                features=features,
                classes=tuple(entry.pop("classes")),
                **entry,
            )
        )
        cell, row, column = cell + n_cells, row + n_rows, column + len(features)
    twins = tuple(Twin(*twin) for twin in manifest["twins"])
    return Prepared(tuple(tables), tuple(manifest["notes"]), twins)


def _store(file: Path, stamp: str, result: Prepared) -> None:
    manifest = {
        "stamp": stamp,
        "kind": result.tables[0].kind,
        "notes": result.notes,
        "twins": [astuple(twin) for twin in result.twins],
        "tables": [
            {
                "name": table.name,
                "rows": len(table.y),
                "features": table.features,
                "classes": table.classes,
                "target_mean": table.target_mean,
                "target_sd": table.target_sd,
            }
            for table in result.tables
        ],
    }
    arrays = (
        np.frombuffer(json.dumps(manifest).encode(), dtype=np.uint8),
        np.concatenate([table.x.ravel() for table in result.tables]),
        np.concatenate([table.y for table in result.tables]),
        np.concatenate([table.categorical for table in result.tables]),
    )
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(".new", dir=file.parent)
        temporary = Path(name)
        with open(handle, "wb+") as stream:
            stream.write(bytes(_DIGEST_BYTES))
            for array in arrays:
                np.save(stream, array)
            stream.seek(_DIGEST_BYTES)
            digest = _digest(stream)
            stream.seek(0)
            stream.write(digest)
        temporary.replace(file)
    except OSError as error:
        log.warning("the tables will be read again next time, for the cache is no use: %s", error)
        if temporary:
            temporary.unlink(missing_ok=True)


def _digest(stream: BufferedReader | BufferedRandom) -> bytes:
    return hashlib.file_digest(stream, "sha256").digest()
