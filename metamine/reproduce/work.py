"""Carry out what a table needs, several commands at a time; what is done is not done again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from metamine.errors import MetamineError, UsageError
from metamine.files import write_json
from metamine.interruption import Interruption
from metamine.overrides import digest
from metamine.reproduce.table import Cell, file_name

METAMINE = (sys.executable, "-m", "metamine")
LOOK = 0.5  # seconds between two looks at whether a signal has come


class Failed(MetamineError):
    """A command did not end well."""


class Work:
    """The commands of a table: a training sweep for each cell, then evaluations of its runs.

    evaluated: overrides of `metamine evaluate` by column; {} takes the evaluation at the end of
        training.
    output: holds runs/CELL/trained/RUN, runs/CELL/evaluated/RUN/COLUMN, runs/CELL/log.txt and,
        when all of a cell is done, runs/CELL/done.json.
    program: what carries out a command.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        evaluated: Mapping[str, Sequence[str]],
        output: Path,
        program: Sequence[str] = METAMINE,
    ) -> None:
        self.cells, self.evaluated = cells, evaluated
        self.output, self.program = output, program
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def carry_out(self, jobs: int, say: Callable[[str], None]) -> list[str]:
        """Do what is not done, `jobs` commands at a time; return a sentence for each failure.

        A failed cell does not stop the others. What cannot be run as written does (UsageError),
        and so does a signal (Interrupted), once the commands that run have left their checkpoints.
        """
        todo = [cell for cell in self.cells if not self.is_done(cell)]
        if len(todo) < len(self.cells):
            say(f"{len(self.cells) - len(todo)} of {len(self.cells)} cells are done already")
        failures = []
        with Interruption() as interruption, ThreadPoolExecutor(jobs) as pool:
            waiting: set[Future[str]] = {pool.submit(self._cell, cell) for cell in todo}
            try:
                while waiting:
                    interruption.check()
                    ended, waiting = wait(waiting, timeout=LOOK, return_when=FIRST_COMPLETED)
                    for future in ended:
                        try:
                            told = future.result()
                        except Failed as error:
                            told = str(error)
                            failures.append(told)
                        say(f"[{len(self.cells) - len(waiting)}/{len(self.cells)}] {told}")
            except BaseException:
                for future in waiting:
                    future.cancel()
                self._stop()
                raise
        return failures

    def is_done(self, cell: Cell) -> bool:
        """Whether all of a cell is there."""
        return self._done(cell).get("evaluated") == self.evaluated

    def seconds(self) -> float:
        """What the commands of all cells that are done took, one after another."""
        return sum(map(self._seconds, self.cells))

    def directories(self, cell: Cell) -> Iterator[tuple[str, Path]]:
        """The directories that hold a cell's results: column of the evaluation, directory."""
        folder = self._folder(cell)
        for run in _runs(folder / "trained"):
            if not self.evaluated:
                yield "", run
            for column, words in self.evaluated.items():
                yield column, folder / "evaluated" / run.name / _named(column, words)

    def _folder(self, cell: Cell) -> Path:
        return self.output / "runs" / cell.folder

    def _done(self, cell: Cell) -> dict[str, Any]:
        """What done.json says; {} if there is none."""
        file = self._folder(cell) / "done.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    def _seconds(self, cell: Cell) -> float:
        return float(self._done(cell).get("seconds", 0))

    def _cell(self, cell: Cell) -> str:
        started, folder = time.monotonic(), self._folder(cell)
        folder.mkdir(parents=True, exist_ok=True)
        sweep = f"hydra.sweep.dir={folder / 'trained'}"
        self._command(cell, "train", "-m", *cell.words, sweep)
        for run in _runs(folder / "trained"):
            for column, words in self.evaluated.items():
                place = f"hydra.sweep.dir={folder / 'evaluated' / run.name}"
                name = f"hydra.sweep.subdir={_named(column, words)}"
                self._command(cell, "evaluate", "-m", f"run={run}", *words, place, name)
        seconds = time.monotonic() - started
        done = {
            "words": cell.words,
            "evaluated": self.evaluated,
            "seconds": round(self._seconds(cell) + seconds, 1),
        }
        write_json(folder / "done.json", done)
        return f"{cell.name}: done in {seconds:.0f} s"

    def _command(self, cell: Cell, *words: str) -> None:
        log = self._folder(cell) / "log.txt"
        with log.open("ab") as file:
            before = file.tell()
            with self._lock:
                if self._stopped:
                    raise Failed(f"{cell.name}: not begun")
                process = subprocess.Popen(
                    [*self.program, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
                self._running.add(process)
            process.wait()
        self._running.discard(process)
        if process.returncode:
            reason = _reason(log.read_bytes()[before:].decode(errors="replace"))
            kind = UsageError if process.returncode == UsageError.exit_code else Failed
            told = reason or f"exit code {process.returncode}"
            raise kind(f"{cell.name}: {told}; all it said is in {log}")

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def _reason(said: str) -> str:
    """The first complaint of a command; of a sweep, what its first job that failed said."""
    complaints = [line for line in said.splitlines() if line.startswith("metamine: ")]
    return re.sub(r"^metamine: (\S+ failed: )?", "", complaints[0]) if complaints else ""


def _named(column: str, words: Sequence[str]) -> str:
    """The folder of an evaluation: another one for other words."""
    return f"{file_name(column)}_{digest(words)}"


def _runs(folder: Path) -> list[Path]:
    """The finished runs of a sweep."""
    found = []
    for record in sorted(folder.glob("*/run.json")):
        if json.loads(record.read_text()).get("status") == "done":
            found.append(record.parent)
    return found
