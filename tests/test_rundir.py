"""Whole files or none, one owner at a time, a status that tells the truth."""

from __future__ import annotations

import json
import multiprocessing
from contextlib import nullcontext
from pathlib import Path

import pytest

from metamine.errors import Interrupted, MetamineError, UsageError
from metamine.files import write_json, write_whole
from metamine.rundir import Journal, RunDirectory, read_events


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})

    def half(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    with pytest.raises(MetamineError, match=r"cannot write .*file.json: No space left on device"):
        write_whole(path, half)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["file.json"]


def test_status_done_failed_interrupted(tmp_path: Path) -> None:
    for error, status in (
        (None, "done"),
        (ValueError("too bad"), "failed"),
        (Interrupted(15), "interrupted"),
    ):
        run = RunDirectory(tmp_path / status)
        assert run.status is None
        run.claim(resuming=False)
        with nullcontext() if error is None else pytest.raises(type(error)), run:
            assert run.status == "running"
            run.record(seed=3)
            if error:
                raise error
        facts = run.read()
        assert (facts["status"], facts["seed"]) == (status, 3)
        assert facts["error"] == (str(error) if error else None)
        assert facts["started"] <= facts["ended"]


def test_an_occupied_directory_is_refused(tmp_path: Path) -> None:
    first = RunDirectory(tmp_path)
    first.claim(resuming=False)
    with first, pytest.raises(UsageError, match="in use by another process"):
        RunDirectory(tmp_path).claim(resuming=True)
    with pytest.raises(UsageError, match=r"already holds a run; go on with it by resume="):
        RunDirectory(tmp_path).claim(resuming=False)
    again = RunDirectory(tmp_path)
    again.claim(resuming=True)
    with again:
        assert again.status == "running"


def _claim(path: Path, together: object, claimed: object) -> None:
    run = RunDirectory(path)
    together.wait()  # type: ignore[attr-defined]
    try:
        run.claim(resuming=False)
        with run:
            claimed.put(True)  # type: ignore[attr-defined]
    except UsageError:
        claimed.put(False)  # type: ignore[attr-defined]


def test_of_two_that_start_together_one_gets_the_directory(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    together, claimed = context.Barrier(4), context.Queue()
    racers = [
        context.Process(target=_claim, args=(tmp_path / "run", together, claimed)) for _ in range(4)
    ]
    for racer in racers:
        racer.start()
    answers = [claimed.get(timeout=30) for _ in racers]
    for racer in racers:
        racer.join()
    assert sorted(answers) == [False, False, False, True]


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(MetamineError, match=r"cannot write .*file/run"):
        RunDirectory(blocked / "run").claim(resuming=False)


def test_journal_goes_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path, 0)
    journal.write(event="train", step=1, loss=0.5)
    size = journal.size
    journal.write(event="train", step=2, loss=0.4)
    with path.open("ab") as file:
        file.write(b'{"event": "tr')  # killed in the middle of a line
    assert [event["step"] for event in read_events(path)] == [1, 2]
    Journal(path, size).write(event="train", step=2, loss=0.4)
    assert [event["step"] for event in read_events(path)] == [1, 2]
