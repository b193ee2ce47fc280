"""What can go wrong, in one sentence for the person at the terminal."""

from __future__ import annotations

import signal


class MetamineError(Exception):
    """A failure the user can mend: the message names the thing, its value, and the mend."""

    exit_code = 1


class UsageError(MetamineError):
    """What was typed or configured cannot be run; nothing has been written."""

    exit_code = 2


class Interrupted(BaseException):
    """A signal asked the run to stop. Not an Exception: no handler of errors should keep it."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum
