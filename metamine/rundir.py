"""The run directory: one owner at a time, whole files or none, a status one can trust."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from filelock import FileLock, Timeout

from metamine.errors import MetamineError, UsageError
from metamine.files import cannot_write, write_json

Status = Literal["running", "done", "failed", "interrupted"]


class RunDirectory:
    """A directory that belongs to one run, and while it is open to one process.

    As a context manager it holds the lock and keeps `run.json`: status `running`, and on leaving
    `done`, `failed` (with the error) or `interrupted`. A kill -9 leaves `running` without a lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, Any] = {}
        self._lock = FileLock(path / ".lock", timeout=0)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def status(self) -> Status | None:
        """What `run.json` says; None if there is none."""
        return self.read().get("status")

    def read(self) -> dict[str, Any]:
        """The contents of `run.json`, {} if there is none."""
        try:
            return dict(json.loads((self / "run.json").read_text()))
        except FileNotFoundError:
            return {}

    def claim(self, resuming: bool) -> None:
        """Take the directory for this process.

        Raises UsageError if another process holds it, or if it holds a run and `resuming` is False.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise UsageError(
                f"{self.path} is in use by another process (pid {self.read().get('pid')}); "
                "wait for it or choose another hydra.run.dir"
            ) from None
        except OSError as error:
            raise cannot_write(self.path, error) from error
        if not resuming and (self / "run.json").exists():
            self._lock.release()
            raise UsageError(
                f"{self.path} already holds a run; go on with it by resume={self.path} "
                "or choose another hydra.run.dir"
            )

    def record(self, **facts: Any) -> None:
        """Add facts to `run.json`."""
        self.facts.update(facts)
        write_json(self / "run.json", self.facts)

    def __enter__(self) -> Self:
        self.record(status="running", pid=os.getpid(), started=_now())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        status: Status = "done"
        if error is not None:
            status = "failed" if isinstance(error, Exception) else "interrupted"
        try:
            self.record(
                status=status, ended=_now(), error=None if error is None else _sentence(error)
            )
        except MetamineError:
            if error is None:
                raise
            # The disk that stopped the run also refuses the status: the first error is the one to
            # show.
        finally:
            self._lock.release()


class Journal:
    """`metrics.jsonl`: one event a line, flushed as it happens, and cut back on resuming."""

    def __init__(self, path: Path, size: int) -> None:
        """Go on at `size` bytes: what was written after the checkpoint being resumed is redone."""
        self.path = path
        try:
            with path.open("ab") as file:
                file.truncate(size)
        except OSError as error:
            raise cannot_write(path, error) from error

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size

    def write(self, **event: float | str | None) -> None:
        """Append one event."""
        try:
            with self.path.open("ab") as file:
                file.write(json.dumps(event).encode() + b"\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error


def read_events(path: Path) -> list[Mapping[str, Any]]:
    """The events of a `metrics.jsonl`, a half-written last line left out."""
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _sentence(error: BaseException) -> str:
    return str(error) or type(error).__name__
