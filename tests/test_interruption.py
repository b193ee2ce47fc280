"""A signal waits for the end of a step; what it breaks counts as interrupted, not as failed."""

from __future__ import annotations

import os
import signal

import pytest

from metamine.errors import Interrupted
from metamine.interruption import Interruption


def send(signum: signal.Signals) -> None:
    os.kill(os.getpid(), signum)


def break_after(signum: signal.Signals | None) -> None:
    with Interruption():
        if signum is not None:
            send(signum)
        raise RuntimeError("a worker died")


def test_a_first_signal_waits_and_a_second_acts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as asked:
        asked.check()
        send(signal.SIGTERM)
        assert asked.signum == signal.SIGTERM
        with pytest.raises(Interrupted, match="stopped by SIGTERM") as stopped:
            send(signal.SIGTERM)
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_check_raises_what_came() -> None:
    with Interruption() as asked:
        send(signal.SIGINT)
        with pytest.raises(Interrupted, match="stopped by SIGINT") as stopped:
            asked.check()
    assert stopped.value.exit_code == 130


def test_what_a_signal_breaks_is_interrupted() -> None:
    with pytest.raises(Interrupted, match="SIGINT"):
        break_after(signal.SIGINT)
    with pytest.raises(RuntimeError, match="a worker died"):
        break_after(None)
