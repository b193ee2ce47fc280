"""What a run directory promises when the process is killed, stopped, or out of disk."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from running import config
from test_run import assert_same_training

from metamine import checkpoint
from metamine.cli import main
from metamine.run import train_job

fork = multiprocessing.get_context("fork")
CPU = torch.device("cpu")
LONGER = ("steps=30", "log_every=4", "checkpoint_every=5", "evaluation.also.shipped.tables=[iris]")


def start(work: Callable[..., object], *args: object) -> Any:
    """Run `work` in a process of its own, which has imported all that this one has."""
    process = fork.Process(target=work, args=args)
    process.start()
    return process


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@pytest.fixture(scope="module", autouse=True)
def _no_report() -> Iterator[None]:
    """Reports have tests of their own, and drawing takes longer than all else here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("metamine.run.write_report", str)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    train_job(config(*LONGER), directory, [], resuming=False)
    return directory


def test_kill_minus_nine_twenty_times(undisturbed: Path, tmp_path: Path) -> None:
    directory, moments = tmp_path / "run", random.Random(0)
    started = time.monotonic()
    timed = start(train_job, config(*LONGER), tmp_path / "timed", [], False)
    wait_for((tmp_path / "timed/checkpoints/step-000030.pt").exists)
    seconds = time.monotonic() - started
    timed.kill()
    timed.join()
    steps = []
    for _ in range(20):
        job = start(train_job, config(*LONGER), directory, [], True)
        job.join(timeout=moments.uniform(0, seconds))
        job.kill()
        job.join()
        if checkpoint.exists(directory / "checkpoints"):
            steps.append(checkpoint.load(directory / "checkpoints", "last", CPU).step)
    assert steps == sorted(steps)
    assert steps, "killed too early each time to test anything"
    train_job(config(*LONGER), directory, [], resuming=True)
    assert_same_training(directory, undisturbed)
    assert json.loads((directory / "run.json").read_text())["status"] == "done"


def command_line(*words: str) -> None:
    sys.argv = ["metamine", *words]
    sys.exit(main())


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_leave_a_checkpoint_and_a_status(
    tmp_path: Path, signum: int, code: int, undisturbed: Path
) -> None:
    directory = tmp_path / "run"
    words = ["train", "experiment=smoke", "steps=100000", f"hydra.run.dir={directory}"]
    job = start(command_line, *words)
    journal = directory / "metrics.jsonl"
    wait_for(lambda: journal.exists() and journal.stat().st_size > 0)
    os.kill(job.pid, signum)
    job.join()
    assert job.exitcode == code
    facts = json.loads((directory / "run.json").read_text())
    assert facts["status"] == "interrupted"
    assert facts["error"] == f"stopped by {signal.Signals(signum).name}"
    last = checkpoint.load(directory / "checkpoints", "last", CPU)
    assert last.step > 0
    logged = json.loads(journal.read_text().splitlines()[-1])["step"]
    assert last.step >= logged


def without_disk(directory: Path, journal_bytes: int, said: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal_bytes, resource.RLIM_INFINITY))
    try:
        train_job(config("steps=9"), directory, [], resuming=True)
    except Exception as error:
        os.write(
            os.open(said, os.O_WRONLY | os.O_CREAT), f"{type(error).__name__}: {error}".encode()
        )


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    """No file may grow beyond 8 kB: config and journal fit, a checkpoint does not."""
    directory, said = tmp_path / "run", tmp_path / "said"
    train_job(config(), directory, [], resuming=False)
    before = (directory / "metrics.jsonl").read_bytes()
    assert (directory / "checkpoints/step-000006.pt").stat().st_size > 8192
    start(without_disk, directory, 8192, said).join()
    sentence = said.read_text()
    assert sentence.startswith("MetamineError: cannot write ")
    assert "File too large" in sentence
    assert checkpoint.load(directory / "checkpoints", "last", CPU).step == 6
    assert not list(directory.rglob("*.part"))
    assert (directory / "metrics.jsonl").read_bytes().startswith(before)
    train_job(config("steps=9"), directory, [], resuming=True)
    assert checkpoint.load(directory / "checkpoints", "last", CPU).step == 9


def test_a_sweep_survives_a_failing_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "-m", "experiment=smoke", "method=maml", "method.inner_lr=1e30,0.2"]
    words += ["steps=4", "workers=1", "encoder.hidden=4", "evaluation.tasks=2"]
    words += ["~evaluation.baselines.gradient_boosting", "~evaluation.baselines.random_forest"]
    statuses = {}
    for attempt in range(2):
        monkeypatch.setattr(sys, "argv", ["metamine", *words])
        with pytest.raises(SystemExit) as ended:
            sys.exit(main())
        assert ended.value.code == 1
        for facts in (tmp_path / "outputs").rglob("run.json"):
            statuses[facts, attempt] = json.loads(facts.read_text())
    assert sorted(facts["status"] for facts in statuses.values()) == ["done"] * 2 + ["failed"] * 2
    done = {path: facts for (path, _), facts in statuses.items() if facts["status"] == "done"}
    for path, facts in done.items():  # the second time left what was done as it was
        assert statuses[path, 0] == statuses[path, 1] == facts
    said = capsys.readouterr().err
    assert said.count("skip (done)") == 1
    assert said.count("the loss is nan at step 1") >= 2
