"""What the person at the terminal is told when something goes wrong."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from metamine.errors import Interrupted, MetamineError


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A hint to end a sentence with; empty if nothing is near."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def sentence(error: BaseException, log: Path | None = None) -> str:
    """What went wrong. `log`: where the traceback of an error that nobody foresaw is appended."""
    if isinstance(error, MetamineError | Interrupted):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "stopped by SIGINT"
    where = "METAMINE_DEBUG=1 shows the traceback"
    if log is not None:
        with contextlib.suppress(OSError), log.open("a") as file:  # the disk may be what failed
            file.writelines(traceback.format_exception(error))
            where = f"traceback in {log}"
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())} ({where})"


def say(text: str) -> None:
    """Print on stderr."""
    print(f"metamine: {text}", file=sys.stderr)


def complain(error: BaseException, log: Path | None = None) -> int:
    """Say what went wrong (METAMINE_DEBUG=1: with its traceback); return the exit code."""
    if os.environ.get("METAMINE_DEBUG") == "1":
        traceback.print_exception(error)
    say(sentence(error, log))
    return 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)
