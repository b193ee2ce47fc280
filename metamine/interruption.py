"""SIGTERM and Ctrl-C: finish the step, leave a checkpoint, go."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

from metamine.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While entered, a first signal waits until `check` is called; a second acts at once."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.signum is not None:
            raise Interrupted(self.signum)

    def __enter__(self) -> Self:
        # Python lets only the main thread handle signals; elsewhere (a launcher's thread) they act
        # as ever.
        self._replaced = {}
        if threading.current_thread() is threading.main_thread():
            self._replaced = {signum: signal.signal(signum, self._remember) for signum in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, handler in self._replaced.items():
            signal.signal(signum, handler)
        # Ctrl-C reaches worker processes too, and what breaks then breaks because of it.
        if self.signum is not None and isinstance(error, Exception):
            raise Interrupted(self.signum) from error

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            raise Interrupted(signum)
        self.signum = signum
