"""`metamine reproduce`: what is run for a table, and how its numbers are held against others'."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from running import files

from metamine import cli
from metamine.confdir import conf_dir
from metamine.errors import Interrupted, MetamineError, UsageError
from metamine.report.reproduced import collect, comparison, write_report
from metamine.reproduce.table import Table, load, tables
from metamine.reproduce.work import Work
from metamine.statistics import summarise

TABLE = Table(
    title="How good they are",
    about="Somebody (2000), table 1",
    minutes=None,
    metric="accuracy",
    common=["steps=2", "seed=0,1"],
    rows={"A": ["method=a"], "B": ["method=b"]},
    trained={"small": ["size=1"], "large": ["size=2"]},
    evaluated={"0 steps": ["n=0"], "1 step": ["n=1"]},
    shown=None,
    names={"knn": "KNN"},
    published={"A": {"small, 1 step": [(0.5, "paper")]}},
    published_by_table=None,
    sources={"paper": "table 1"},
    deviations=["Other folds."],
)
# Stands for the program: a sweep of two runs, or an evaluation; notes each call. A run of method=b
# with size=2 fails while there is a file `broken`; one of method=slow takes a minute.
PROGRAM = """
import json, pathlib, sys, time
words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
with open("calls.txt", "a") as file:
    print(*sys.argv[1:], file=file)
if words.get("method") == "wrong":
    print("metamine: there is no method wrong"); sys.exit(2)
if words.get("method") == "slow":
    pathlib.Path("slow").touch(); time.sleep(60)
if words.get("method") == "b" and words["size"] == "2" and pathlib.Path("broken").exists():
    print("metamine: out/b failed: b broke\\nmetamine: 1 failed; the same command runs it again")
    sys.exit(1)
for name in ("s0", "s1") if sys.argv[1] == "train" else (words["hydra.sweep.subdir"],):
    run = pathlib.Path(words["hydra.sweep.dir"]) / name
    run.mkdir(parents=True, exist_ok=True)
    (run / "run.json").write_text(json.dumps({"status": "done"}))
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Work]:
    monkeypatch.chdir(tmp_path)
    Path("program.py").write_text(PROGRAM)

    def make(table: Table = TABLE, more: tuple[str, ...] = ()) -> Work:
        cells = list(table.cells(more))
        return Work(cells, table.evaluated, Path("out"), (sys.executable, "program.py"))

    return make


def calls() -> list[str]:
    return Path("calls.txt").read_text().splitlines()


def test_cells_are_rows_by_columns() -> None:
    cells = list(TABLE.cells(["path=here"]))
    assert [cell.name for cell in cells] == ["A, small", "A, large", "B, small", "B, large"]
    assert cells[1].words == ("steps=2", "seed=0,1", "method=a", "size=2", "path=here")
    assert len({cell.folder for cell in cells}) == 4
    assert [cell.name for cell in replace(TABLE, trained={}).cells()] == ["A", "B"]
    # Another folder for other words, the same for what changes no result.
    folders = [next(TABLE.cells(more)).folder for more in ([], ["steps=9"], ["device=cuda"])]
    assert folders[0] == folders[2] != folders[1]


def test_each_cell_is_trained_and_each_of_its_runs_evaluated(work: Callable[..., Work]) -> None:
    said: list[str] = []
    made = work()
    assert made.carry_out(2, said.append) == []
    assert [line.split(":")[0].partition("] ")[0] for line in said] == [
        f"[{n}/4" for n in range(1, 5)
    ]
    assert (
        sum(call.startswith("train -m steps=2 seed=0,1 method=a size=1") for call in calls()) == 1
    )
    assert len(calls()) == 4 + 4 * 2 * 2
    found = [list(made.directories(cell)) for cell in made.cells]
    assert [[column for column, _ in places] for places in found] == [
        ["0 steps", "1 step", "0 steps", "1 step"]
    ] * 4
    assert all((path / "run.json").exists() for places in found for _, path in places)

    assert made.seconds() > 0

    again: list[str] = []
    assert work().carry_out(2, again.append) == []
    assert again == ["4 of 4 cells are done already"]
    assert len(calls()) == 20

    # Evaluated otherwise: the old evaluations do not count as the new ones.
    other = work(replace(TABLE, evaluated={"0 steps": ["n=0"], "1 step": ["n=1", "clip=1"]}))
    assert other.carry_out(2, again.append) == []
    assert sum("clip=1" in call for call in calls()) == 8
    assert len({path for _, path in other.directories(other.cells[0])}) == 4


def test_a_failing_cell_does_not_stop_the_others_and_is_tried_again(
    work: Callable[..., Work],
) -> None:
    Path("broken").touch()
    said: list[str] = []
    (failure,) = work().carry_out(1, said.append)
    log = next(Path("out/runs").glob("B__large_*/log.txt"))
    assert failure == f"B, large: b broke; all it said is in {log}"
    assert len(said) == 4
    Path("broken").unlink()
    before = len(calls())
    assert work().carry_out(1, said.append) == []
    assert len(calls()) == before + 1 + 4


def test_what_cannot_be_run_as_written_stops_all(work: Callable[..., Work]) -> None:
    table = replace(TABLE, rows={"A": ["method=wrong"], "B": ["method=b"]})
    with pytest.raises(UsageError, match="A, small: there is no method wrong"):
        work(table).carry_out(1, lambda _: None)
    assert not any("method=b" in call for call in calls())


def test_a_signal_stops_what_runs(work: Callable[..., Work]) -> None:
    table = replace(TABLE, rows={"A": ["method=slow"], "B": ["method=b"]})
    killer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, pathlib, signal, sys, time\n"
            "while not pathlib.Path('slow').exists(): time.sleep(0.05)\n"
            "os.kill(int(sys.argv[1]), signal.SIGTERM)",
            str(os.getpid()),
        ]
    )
    started = time.monotonic()
    with pytest.raises(Interrupted, match="SIGTERM"):
        work(table).carry_out(1, lambda _: None)
    killer.wait()
    assert time.monotonic() - started < 30
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def results(row: str, seed: int, level: float) -> pd.DataFrame:
    rows = []
    for role, method, more in (("meta", "ProtoNet", 0.1), ("baseline", "knn", 0.0)):
        for table in range(6):
            for episode in range(3):
                score = level + more + 0.01 * table + 0.001 * episode
                rows.append(
                    {
                        "method": method,
                        "role": role,
                        "source": "made",
                        "protocol": "5-shot",
                        "table": f"t{table}",
                        "episode": episode,
                        "seed": seed,
                        "fallback": False,
                        "accuracy": score,
                    }
                )
    return pd.DataFrame(rows)


def finished(folder: Path, frame: pd.DataFrame) -> Path:
    folder.mkdir(parents=True)
    frame.to_parquet(folder / "results.parquet")
    (folder / "run.json").write_text(json.dumps({"status": "done"}))
    return folder


def found(tmp_path: Path, table: Table) -> Any:
    places = []
    for index, cell in enumerate(table.cells()):
        for place, column in enumerate(table.evaluated or [""]):
            path = finished(tmp_path / f"{index}-{place}", results(cell.row, 0, 0.1 * index))
            places.append((cell, column, path))
    return places


def test_columns_and_rows_are_named_as_in_the_table(tmp_path: Path) -> None:
    frame = collect(TABLE, found(tmp_path, TABLE)).frame
    assert set(frame["method"]) == {"A", "B", "KNN"}
    columns = {f"{size}, {steps}" for size in ("small", "large") for steps in ("0 steps", "1 step")}
    assert set(frame["protocol"]) == columns
    plain = replace(TABLE, trained={}, evaluated={}, shown=["A"])
    frame = collect(plain, found(tmp_path / "plain", plain)).frame
    assert set(frame["method"]) == {"A"}
    assert set(frame["protocol"]) == {"5-shot"}
    by_protocol = replace(plain, evaluated={"": ["n=0"]})
    frame = collect(by_protocol, found(tmp_path / "by protocol", by_protocol)).frame
    assert set(frame["protocol"]) == {"5-shot"}
    with pytest.raises(MetamineError, match="nothing is finished"):
        collect(TABLE, [])
    with pytest.raises(UsageError, match="no run has a metric auc; there are accuracy"):
        collect(replace(plain, metric="auc"), found(tmp_path / "other", plain))


def test_the_difference_from_a_printed_number(tmp_path: Path) -> None:
    frame = collect(TABLE, found(tmp_path, TABLE)).frame
    (row,) = comparison(TABLE, frame, tmp_path).to_dict("records")
    ours = summarise(frame).query("method == 'A' and protocol == 'small, 1 step'").iloc[0]
    assert row["ours"] == pytest.approx(ours["mean"]) == pytest.approx(0.126)
    assert row["difference"] == pytest.approx(0.126 - 0.5)
    assert row["low"] == pytest.approx(ours["low"] - 0.5)
    assert row["high"] == pytest.approx(ours["high"] - 0.5)


def test_numbers_of_single_tables_are_compared_on_the_tables_that_both_have(
    tmp_path: Path,
) -> None:
    theirs = pd.DataFrame(
        {
            "column": "5-shot",
            "table": ["t1", "t2", "t3", "elsewhere", "t4"],
            "A": [0.10, 0.20, 0.15, 0.9, 0.5],
            "Z": [0.5, 0.5, 0.5, 0.5, np.nan],  # t4 is not complete, and so not compared
        }
    )
    theirs.to_csv(tmp_path / "theirs.csv", index=False)
    table = replace(
        TABLE,
        trained={},
        evaluated={},
        published={},
        published_by_table="theirs.csv",
        sources={"by_table": "their files"},
    )
    frame = collect(table, found(tmp_path, table)).frame
    row, other = comparison(table, frame, tmp_path).to_dict("records")
    gap = np.array([0.111, 0.121, 0.131]) - np.array([0.10, 0.20, 0.15])
    half = 1.96 * gap.std(ddof=1) / 3**0.5
    assert [row["row"], other["row"]] == ["A", "Z"]
    assert other["published"] == 0.5
    assert other["tables"] == 3
    assert np.isnan([other[key] for key in ("ours", "difference", "low", "high")]).all()
    assert row["tables"] == 3
    assert row["published"] == pytest.approx(0.15)
    assert row["ours"] == pytest.approx(0.121)
    assert row["difference"] == pytest.approx(gap.mean())
    assert [row["low"], row["high"]] == pytest.approx([gap.mean() - half, gap.mean() + half])


def test_the_report(tmp_path: Path) -> None:
    gathered = collect(TABLE, found(tmp_path, TABLE))
    output = tmp_path / "out"
    shown = write_report(TABLE, gathered, tmp_path, output, ["B, large: it broke"], 90)
    assert files(output) == [
        "published.csv",
        "report.html",
        "report.md",
        "results.csv",
        "table.tex",
    ]
    text = (output / "report.md").read_text()
    for part in ("| A   | small, 1 step | 0.500     | 0.126 | -0.374     |", "- paper: table 1"):
        assert part in shown
        assert part in text
    assert "- Other folds." in text
    assert "- missing: B, large: it broke" in text
    assert text.startswith("# How good they are\n\nSomebody (2000), table 1\n\n")
    assert "all commands together 2 min" in text


def test_the_report_tells_what_rows_cost(tmp_path: Path) -> None:
    table = replace(TABLE, trained={}, evaluated={}, published={})
    places = found(tmp_path, table)
    for seconds, (*_, path) in zip((30.0, 500.0), places, strict=True):
        cost = {"train_seconds": seconds, "task_milliseconds": {"ProtoNet": 1.234, "knn": 9.0}}
        record = {"status": "done", "parameters": 123456, "cost": cost}
        (path / "run.json").write_text(json.dumps(record))
    write_report(table, collect(table, places), tmp_path, tmp_path, [], 0)
    text = (tmp_path / "report.md").read_text()
    assert "| A   | 123456     | 30      | 1.23      | —         |" in text
    assert "| B   | 123456     | 500     | 1.23      | —         |" in text


def test_the_report_is_about_the_metric_of_the_table(tmp_path: Path) -> None:
    table = replace(TABLE, metric="roc_auc_ovr", published={})
    places = found(tmp_path, table)
    for *_, path in places:
        frame = pd.read_parquet(path / "results.parquet")
        frame.assign(roc_auc_ovr=frame["accuracy"]).to_parquet(path / "results.parquet")
    write_report(table, collect(table, places), tmp_path, tmp_path, [], 0)
    (comparisons,) = re.findall(r"(?s)## Paired.*?\n## ", (tmp_path / "report.md").read_text())
    assert "roc_auc_ovr" in comparisons
    assert "accuracy" not in comparisons


@pytest.mark.pictures
def test_columns_that_differ_in_inner_steps_give_a_curve(tmp_path: Path) -> None:
    from metamine.report import adaptation

    frame = collect(TABLE, found(tmp_path, TABLE)).frame
    assert adaptation.draw(frame, "accuracy", tmp_path / "pictures") == "adaptation-accuracy.png"
    first = (tmp_path / "pictures/adaptation-accuracy.svg").read_bytes()
    assert b"large" in first
    assert b"small" in first
    write_report(TABLE, collect(TABLE, found(tmp_path / "again", TABLE)), tmp_path, tmp_path, [], 0)
    assert (tmp_path / "pictures/adaptation-accuracy.svg").read_bytes() == first
    assert "![adaptation](pictures/adaptation-accuracy.png)" in (tmp_path / "report.md").read_text()
    other = frame.assign(protocol=frame["protocol"].str.replace("steps", "shots"))
    assert adaptation.draw(other, "accuracy", tmp_path) is None
    only_one = frame[frame["protocol"].str.endswith("1 step")]
    assert adaptation.draw(only_one, "accuracy", tmp_path) is None


def test_a_number_without_its_source_is_refused() -> None:
    with pytest.raises(ValueError, match="sources lacks paper"):
        replace(TABLE, sources={})


def run_cli(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["metamine", "reproduce", *words])
    try:
        return cli.main()
    except SystemExit as left:
        return int(left.code or 0)


def test_the_list_names_every_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(monkeypatch, "--list") == 0
    said, known = capsys.readouterr().out, tables([conf_dir()])
    assert known
    for name in known:
        assert f"\n{name} " in said
        assert load(name, [conf_dir()]).title in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "reproduce needs the name of a table; see: metamine reproduce --list"),
        (["maml_sinusoids"], "there is no table maml_sinusoids; did you mean maml_sinusoid?"),
        (["maml_sinusoid", "--jobs", "0"], "--jobs 0 must be 1 at least"),
        (["maml_sinusoid", "steps"], "'steps' cannot be read; an override is written key=value"),
    ],
)
def test_what_cannot_be_reproduced_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cli(monkeypatch, *words) == 2
    assert capsys.readouterr().err == f"metamine: {sentence}\n"
    assert files(tmp_path) == []


def test_a_report_of_something_else_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.md").write_text("mine")
    assert run_cli(monkeypatch, "maml_sinusoid", "--output", str(tmp_path)) == 2
    told = "report.md is not that of a reproduced table; choose another place by --output"
    assert capsys.readouterr().err == f"metamine: {tmp_path}/{told}\n"
    assert files(tmp_path) == ["report.md"]


def test_a_table_of_one_s_own_from_nothing_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The program itself: trained, evaluated, reported; again, nothing is done."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/table").mkdir(parents=True)
    (tmp_path / "conf/table/mine.yaml").write_text(
        """
_target_: metamine.reproduce.table.Table
title: My table
about: Nobody
minutes: 0.1
metric: mse
common: [experiment=maml_sinusoid, steps=2, evaluation.tasks=4, evaluation.validation_tasks=2]
rows: {MAML: [method=maml]}
trained: {}
evaluated: {1 step: [method.inner_steps=1]}
shown: [MAML]
names: {}
published: {MAML: {1 step: [[3.0, anchor]]}}
published_by_table: null
sources: {anchor: derived}
deviations: []
"""
    )
    words = ("mine", "--config-dir", "conf", "device=cpu", "--output", "out")
    assert run_cli(monkeypatch, *words) == 0, capfd.readouterr()
    first = (tmp_path / "out/report.md").read_bytes()
    assert "| MAML | 1 step | 3.000     |" in capfd.readouterr().out
    assert run_cli(monkeypatch, *words) == 0
    assert "1 of 1 cells are done already" in capfd.readouterr().out
    assert (tmp_path / "out/report.md").read_bytes() == first
