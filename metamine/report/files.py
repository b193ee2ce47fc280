"""A finished run as the report reads it: nothing but the files of its directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from metamine.errors import MetamineError
from metamine.files import write_whole
from metamine.rundir import RunDirectory, read_events


@dataclass(frozen=True)
class Run:
    """A run directory and its run.json, every key of which is optional."""

    path: Path
    record: Mapping[str, Any]

    @staticmethod
    def read(path: Path) -> Run:
        """Raises MetamineError if run.json cannot be read."""
        try:
            return Run(path, RunDirectory(path).read())
        except (OSError, ValueError) as error:
            raise MetamineError(f"{path / 'run.json'} cannot be read: {error}") from error

    def results(self) -> pd.DataFrame:
        """The scores of every episode. Raises MetamineError if there are none."""
        file = self.path / "results.parquet"
        try:
            return pd.read_parquet(file)
        except (OSError, ValueError) as error:
            raise MetamineError(f"{file} cannot be read: {error}") from error

    def events(self, kind: str) -> pd.DataFrame:
        """The lines of metrics.jsonl about `kind`, e.g. "train"; empty if there are none."""
        file = self.path / "metrics.jsonl"
        events = read_events(file) if file.exists() else []
        return pd.DataFrame([event for event in events if event.get("event") == kind])

    def part(self, key: str) -> dict[str, Any]:
        """A mapping within run.json, empty if absent."""
        return dict(self.record.get(key) or {})


Labelled = tuple[str, Run]  # what to call a run, and the run


def write(path: Path, content: str | bytes) -> None:
    """Replace a file of the report as a whole. Raises MetamineError if it cannot be written."""
    data = content if isinstance(content, bytes) else content.encode()
    write_whole(path, lambda file: file.write(data))
