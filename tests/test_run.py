"""The whole job: train, evaluate, fill the run directory; again; go on; evaluate anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from making import table
from pandas.testing import assert_frame_equal
from running import QUICK_BASELINES, config, files

from metamine import checkpoint
from metamine.episode import Episodes
from metamine.errors import MetamineError, UsageError
from metamine.randomness import seed_of
from metamine.run import evaluate_job, train_job
from metamine.sampler import sample
from metamine.trained import trained_method


@pytest.fixture
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have tests of their own, and drawing takes longer than all else here."""
    monkeypatch.setattr("metamine.run.write_report", str)


pytestmark = pytest.mark.usefixtures("_no_report")


def folder_of_tables(place: Path) -> Path:
    """Six tables, t0 to t5, of different width and class count."""
    folder = place / "tables"
    folder.mkdir()
    for index in range(6):
        made = table(
            f"t{index}", n_features=2 + index, n_classes=2 + index % 3, n_rows=90, seed=index
        )
        frame = pd.DataFrame(made.x).assign(target=made.y)
        frame.to_csv(folder / f"t{index}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("finished") / "run"
    train_job(config(), directory, ["steps=6"], resuming=False)
    return directory


def test_run_directory_is_full(finished: Path) -> None:
    expected = {
        "checkpoints/index.json",
        "checkpoints/step-000006.pt",
        "config.yaml",
        "metrics.json",
        "metrics.jsonl",
        "overrides.json",
        "report.md",
        "results.parquet",
        "run.json",
    }
    assert expected <= set(files(finished))
    assert not [name for name in files(finished) if ".part" in name]
    facts = json.loads((finished / "run.json").read_text())
    assert facts["status"] == "done"
    assert facts["choices"] == {
        "source": "synthetic",
        "method": "ProtoNet",
        "family": "metric",
        "encoder": "Columnwise",
    }
    assert facts["absent"] == {}
    assert set(facts["plan_hash"]) == {"synthetic/5-shot", "shipped/5-shot"}
    cost = facts["cost"]
    assert {"train_seconds", "evaluate_seconds"} <= cost.keys()
    assert cost["task_milliseconds"].keys() == {
        "ProtoNet",
        "from scratch",
        "majority",
        "nearest_centroid",
        "knn",
    }
    assert all(value > 0 for value in cost["task_milliseconds"].values())
    assert cost["peak_memory_mb"]["host"] > 50


def test_every_learner_answers_every_episode(finished: Path) -> None:
    results = pd.read_parquet(finished / "results.parquet")
    learners = {"ProtoNet", "from scratch", *QUICK_BASELINES} - {"ridge"}  # ridge: regression only
    assert set(results["method"]) == learners
    asked = results.groupby("method")[["source", "table", "episode"]].apply(
        lambda frame: frozenset(map(tuple, frame.to_numpy()))
    )
    assert len(set(asked)) == 1
    assert len(asked.iloc[0]) == 8 + 2 * 3  # synthetic tasks, and 3 episodes of two tables
    assert results["accuracy"].between(0, 1).all()


def test_same_seed_same_results(finished: Path, tmp_path: Path) -> None:
    train_job(config(), tmp_path / "again", [], resuming=False)
    assert (tmp_path / "again/metrics.jsonl").read_bytes() == (
        finished / "metrics.jsonl"
    ).read_bytes()
    for name in ("results.parquet",):
        assert_frame_equal(
            pd.read_parquet(tmp_path / "again" / name), pd.read_parquet(finished / name)
        )
    train_job(config("seed=1"), tmp_path / "other", [], resuming=False)
    assert (tmp_path / "other/metrics.jsonl").read_bytes() != (
        finished / "metrics.jsonl"
    ).read_bytes()


def test_chunks_change_nothing_but_rounding(finished: Path, tmp_path: Path) -> None:
    train_job(config("chunk_size=3"), tmp_path / "run", [], resuming=False)
    ours, theirs = (
        pd.read_parquet(path / "results.parquet") for path in (tmp_path / "run", finished)
    )
    assert_frame_equal(ours, theirs, atol=0.05)


def test_going_on_is_as_if_never_stopped(finished: Path, tmp_path: Path) -> None:
    """Stopped in step 5, between a checkpoint (3) and a line of the journal (6)."""
    directory, drawn = tmp_path / "run", []

    def stop_at_fifth(*args: Any) -> Episodes:
        drawn.append(args)
        if len(drawn) == 5:
            raise KeyboardInterrupt
        return sample(*args)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("metamine.training.sample", stop_at_fifth)
        with pytest.raises(KeyboardInterrupt):
            train_job(config(), directory, [], resuming=False)
    assert json.loads((directory / "run.json").read_text())["status"] == "interrupted"
    with pytest.raises(UsageError, match="already holds a run"):
        train_job(config(), directory, [], resuming=False)
    train_job(config(), directory, [], resuming=True)
    assert_same_training(directory, finished)


def test_averaged_weights_are_those_judged(tmp_path: Path) -> None:
    """Kept are the moving average of the steps' weights, and what steps go on from; also later."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = ("averaging=0.5", "optimizer.final_lr=1.0", "optimizer.warmup=0")
    plain = [config(*words[1:], f"steps={n}", "checkpoint_every=1") for n in (1, 2, 3)]
    average = None
    for number, each in enumerate(plain):
        train_job(each, tmp_path / f"{number}", [], resuming=False)
        latest = checkpoint.load(tmp_path / f"{number}/checkpoints", "last", torch.device("cpu"))
        if average is None:
            average = latest.method
        average = {name: 0.5 * average[name] + 0.5 * latest.method[name] for name in average}
    train_job(config(*words, "steps=3"), whole, [], resuming=False)
    kept = checkpoint.load(whole / "checkpoints", "last", torch.device("cpu"))
    assert kept.latest is not None
    assert average is not None
    for name, value in average.items():
        torch.testing.assert_close(kept.method[name], value)
        assert torch.equal(kept.latest[name], latest.method[name])
    assert any((kept.latest[name] != kept.method[name]).any() for name in average)
    train_job(config(*words, "steps=2"), parts, [], resuming=False)
    train_job(config(*words, "steps=3"), parts, [], resuming=True)
    again = checkpoint.load(parts / "checkpoints", "last", torch.device("cpu"))
    assert all(torch.equal(again.method[name], value) for name, value in kept.method.items())


def assert_same_training(ours: Path, theirs: Path) -> None:
    assert (ours / "metrics.jsonl").read_bytes() == (theirs / "metrics.jsonl").read_bytes()
    for which in ("last", "best"):
        a, b = (
            checkpoint.load(p / "checkpoints", which, torch.device("cpu")) for p in (ours, theirs)
        )
        assert a.step == b.step
        for name, value in b.method.items():
            assert torch.equal(a.method[name], value)
    assert_frame_equal(
        pd.read_parquet(ours / "results.parquet"), pd.read_parquet(theirs / "results.parquet")
    )


def test_a_done_run_is_left_alone(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = {name: (finished / name).stat().st_mtime_ns for name in files(finished)}
    with caplog.at_level("INFO"):
        headline = train_job(config(), finished, [], resuming=True)
    assert "skip (done)" in caplog.text
    assert headline == json.loads((finished / "run.json").read_text())["headline"]
    assert before == {name: (finished / name).stat().st_mtime_ns for name in files(finished)}


def test_going_on_with_another_config_is_refused(finished: Path) -> None:
    with pytest.raises(UsageError, match="was made with another optimizer; going on may change"):
        train_job(config("optimizer.lr=0.5"), finished, [], resuming=True)


def test_a_finished_run_can_be_trained_further(finished: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    train_job(config(), directory, [], resuming=False)
    train_job(config("steps=9"), directory, [], resuming=True)
    events = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events if event["event"] == "train"] == [2, 4, 6, 8, 9]


@pytest.mark.parametrize("overrides", [(), ("evaluation.tasks=5",)])
def test_evaluating_a_checkpoint(
    finished: Path, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    asked = config(*overrides) | {"run": str(finished), "checkpoint": "best"}
    evaluate_job(asked, tmp_path / "again", [], resuming=False)
    ours, theirs = (
        pd.read_parquet(path / "results.parquet").query("role == 'meta' and source == 'shipped'")
        for path in (tmp_path / "again", finished)
    )
    assert_frame_equal(ours.reset_index(drop=True), theirs.reset_index(drop=True))
    facts = json.loads((tmp_path / "again/run.json").read_text())
    assert facts["evaluated"]["run"] == str(finished)


def test_a_checkpoint_of_another_method_is_refused(finished: Path, tmp_path: Path) -> None:
    asked = config("encoder.width=3") | {"run": str(finished), "checkpoint": "best"}
    with pytest.raises(UsageError, match="does not fit the method configured"):
        evaluate_job(asked, tmp_path / "again", [], resuming=False)
    assert files(tmp_path) == []


def test_starting_from_a_run(finished: Path, tmp_path: Path) -> None:
    first = trained_method(finished).state_dict()
    made = config(f"init={finished}", "steps=1", "optimizer.lr=1e-9")
    train_job(made, tmp_path / "run", [], resuming=False)
    for name, value in trained_method(tmp_path / "run").state_dict().items():
        torch.testing.assert_close(value, first[name], atol=1e-6, rtol=0)


def test_what_the_first_run_was_trained_on_counts_as_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of_tables(tmp_path)
    run = tmp_path / "first"
    train_job(config("source=tables", f"path={folder}", "steps=1"), run, [], resuming=False)
    trained_on = json.loads((run / "run.json").read_text())["trained_on"]
    held_out = [
        "+source@evaluation.also.mine=tables",
        f"evaluation.also.mine.path={folder}",
        "evaluation.also.mine.split.train=0",
        "evaluation.also.mine.split.validation=0",
    ]
    train_job(config(f"init={run}", "steps=1", *held_out), tmp_path / "second", [], resuming=False)
    facts = json.loads((tmp_path / "second/run.json").read_text())
    assert facts["trained_on"] == trained_on
    assert 1 < len(trained_on["tables"]) < 6
    leaked = {sentence.split(" of ")[0] for sentence in facts["leaks"]}
    assert leaked == set(trained_on["tables"])


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    overrides = ("method=maml", "method.inner_lr=1e30", "source.features=[2,4]")
    with pytest.raises(MetamineError, match="the loss is nan at step 1 ") as failure:
        train_job(config(*overrides), tmp_path / "run", [], resuming=False)
    assert str(seed_of(0, "training tasks", 1)) in str(failure.value)
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["status"] == "failed"
    assert "the loss is nan at step 1" in facts["error"]


def test_a_method_that_cannot_do_the_task_says_so_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ProtoNet cannot do regression"):
        train_job(config("source=sinusoid"), tmp_path / "run", [], resuming=False)
    assert files(tmp_path) == []


def test_parallel_chunks_of_a_method_that_draws(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"STUNT draws .* parallel_chunks=2 must be 1"):
        train_job(config("method=stunt", "parallel_chunks=2"), tmp_path / "run", [], resuming=False)
    assert files(tmp_path) == []


def test_a_folder_that_nothing_reads(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="path=somewhere needs a source that reads it"):
        train_job(config("path=somewhere"), tmp_path / "run", [], resuming=False)


def test_regression(tmp_path: Path) -> None:
    overrides = ("method=maml", "source=sinusoid")
    train_job(config(*overrides), tmp_path / "run", [], resuming=False)
    results = pd.read_parquet(tmp_path / "run/results.parquet")
    assert set(results["source"]) == {"sinusoid", "shipped_regression"}
    assert {"MAML", "from scratch", "majority", "knn", "ridge"} == set(results["method"])
    assert results["mse"].notna().all()


def test_an_evaluation_that_is_done_is_not_repeated(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = config() | {"run": str(finished), "checkpoint": "last"}
    first = evaluate_job(asked, tmp_path / "again", [], resuming=True)
    with caplog.at_level("INFO"):
        assert evaluate_job(asked, tmp_path / "again", [], resuming=True) == first
    assert "skip (done)" in caplog.text


def test_killed_before_the_config_was_written(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text('{"status": "running", "pid": 1}')
    train_job(config(), tmp_path / "run", [], resuming=True)
    assert_same_training(tmp_path / "run", finished)


def test_labelled_rows(tmp_path: Path) -> None:
    """Training and evaluating on rows as they come, of however many classes."""
    train_job(
        config("protocol=labelled_rows", "evaluation=labelled_rows"), tmp_path / "run", [], False
    )
    results = pd.read_parquet(tmp_path / "run/results.parquet")
    assert set(results["protocol"]) == {"5-shot", "5-rows", "10-rows"}


def test_a_folder_of_tables(tmp_path: Path) -> None:
    """Tables of different width and class count, trained on, validated on, tested on."""
    folder = folder_of_tables(tmp_path)
    train_job(config("source=tables", f"path={folder}"), tmp_path / "run", [], resuming=False)
    results = pd.read_parquet(tmp_path / "run/results.parquet")
    assert set(results["source"]) == {"tables", "shipped"}
    held_out = set(results.query("source == 'tables'")["table"])
    assert 1 <= len(held_out) < 6
    assert held_out < {f"t{index}" for index in range(6)}


def test_the_number_of_workers_may_change(finished: Path) -> None:
    assert train_job(config("workers=1"), finished, [], resuming=True) is not None
