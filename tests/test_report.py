from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from metamine.errors import MetamineError, UsageError
from metamine.report import table
from metamine.report.collect import report
from metamine.report.drawing import NO_PICTURES
from metamine.report.files import Run
from metamine.report.headline import WIDEST, headline
from metamine.report.labels import labels
from metamine.report.run_report import write_report
from metamine.statistics import summarise

METHODS = {"MAML": "meta", "from scratch": "from scratch", "kNN": "baseline", "LDA": "baseline"}
LEVEL = {"MAML": 0.80, "from scratch": 0.60, "kNN": 0.70, "LDA": 0.80}


def _results(
    *,
    seed: int = 0,
    protocols: tuple[str, ...] = ("5-shot",),
    metric: str = "accuracy",
    gain: float = 0.0,
    n_tasks: int = 12,
    bins: bool = False,
) -> pd.DataFrame:
    """Four methods on an endless source and on two tables. `gain` is the meta-trained method's."""
    generator, bin_generator = np.random.default_rng(0), np.random.default_rng(1)
    places = [("synthetic", f"linear {task}", 0) for task in range(n_tasks)]
    places += [("shipped", name, episode) for name in ("iris", "wine") for episode in range(5)]
    rows: list[dict[str, Any]] = []
    for protocol in protocols:
        for source, name, episode in places:
            hardness = generator.normal(0, 0.05)
            for method, role in METHODS.items():
                value = LEVEL[method] + hardness + generator.normal(0, 0.005)
                row = {"method": method, "role": role, "source": source, "protocol": protocol}
                row |= {"table": name, "episode": episode, "seed": seed}
                row |= {"fallback": method == "LDA" and episode == 1}
                row[metric] = value + (gain if role == "meta" else 0)
                if bins:
                    count = bin_generator.multinomial(20, np.full(10, 0.1)).astype(float)
                    row["bin_count"] = count.tolist()
                    row["bin_confidence"] = (count * np.linspace(0.05, 0.95, 10)).tolist()
                    row["bin_correct"] = (count / 2).tolist()
                rows.append(row)
    return pd.DataFrame(rows)


def _run(
    path: Path,
    results: pd.DataFrame,
    *,
    config: str = "",
    plan: str = "0123456789abcdef",
    metric: str = "accuracy",
    **record: Any,
) -> Path:
    """A finished run directory."""
    path.mkdir(parents=True)
    results.to_parquet(path / "results.parquet")
    columns = results[["source", "protocol"]].drop_duplicates().to_numpy()
    facts: dict[str, Any] = {
        "status": "done",
        "command": "metamine train",
        "started": "2026-01-01T10:00:00+00:00",
        "ended": "2026-01-01T10:01:00+00:00",
        "choices": {"source": "synthetic", "method": "MAML", "encoder": "Columnwise"},
        "seed": int(results["seed"].iloc[0]),
        "parameters": 1234,
        "plan_hash": {f"{source}/{protocol}": plan for source, protocol in columns},
        "skipped": {"shipped/5-shot": {"tiny": "needs 15 rows in two classes"}},
        "cost": {"train_seconds": 98.2, "evaluate_seconds": 44.1},
    }
    (path / "run.json").write_text(json.dumps(facts | record))
    (path / "config.yaml").write_text(config or "seed: 0\nmethod: {inner_lr: 0.1}\n")
    events = [{"event": "train", "step": step, "loss": 1 / step} for step in range(1, 9)]
    events += [{"event": "validate", "step": step, metric: step / 10} for step in (4, 8)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_headline() -> None:
    text = headline(_results(), {"synthetic/5-shot": "0123456789abcdef"})
    assert text == GOLDEN


GOLDEN = """\
Accuracy (higher is better), 5-shot

| method                 | synthetic         | shipped           | iris  | wine  |
|------------------------|-------------------|-------------------|-------|-------|
| MAML, meta-trained     | **0.791 ± 0.015** |   0.795 ± 0.030 ≈ | 0.782 | 0.809 |
| from scratch           |   0.591 ± 0.016   |   0.597 ± 0.026   | 0.587 | 0.607 |
| LDA                    |   0.790 ± 0.015 ≈ | **0.795 ± 0.029** | 0.783 | 0.808 |
| kNN                    |   0.691 ± 0.015   |   0.690 ± 0.027   | 0.681 | 0.700 |
| best baseline (oracle) |   0.790 ± 0.015   |   0.795 ± 0.029   | 0.783 | 0.808 |
| single best baseline   |   0.790 ± 0.015   |   0.795 ± 0.029   | 0.783 | 0.808 |

- **bold**: best of its column; ≈: not told apart from it on the same episodes (95%).
- ±: 95% interval, bootstrap clustered by table (2,000 resamples), the wider side.
- best baseline (oracle), of each episode, and single best baseline, of the column (LDA on \
synthetic, LDA on shipped): lines to compare with, which look at the query labels; they are no \
learners and get no mark.
- synthetic: 12 tables, 12 episodes, plan 0123456789abcdef.
- shipped: 2 tables, 10 episodes (few tables: the interval is too narrow for claims about \
new ones); fallbacks: LDA 2."""


def test_tables_read_in_subsets_of_columns_are_named() -> None:
    results = _results().assign(column_subsets=1)
    assert headline(results, {"synthetic/5-shot": "0123456789abcdef"}) == GOLDEN
    wide = (results["table"] == "wine") & (results["method"] == "MAML")
    results.loc[wide, "column_subsets"] = 3
    note = headline(results, {}).splitlines()[-1]
    assert note.endswith("; tables read in subsets of columns: MAML 1 (up to 3 subsets).")


def test_the_numbers_of_the_headline_are_those_of_the_statistics() -> None:
    results = _results()
    row = summarise(results).query("source == 'synthetic' and method == 'kNN'").iloc[0]
    cell = f"{row['mean']:.3f} ± {max(row['high'] - row['mean'], row['mean'] - row['low']):.3f}"
    assert f"| kNN                    |   {cell}   |" in headline(results)


def test_of_an_error_the_lowest_is_best() -> None:
    lines = headline(_results(metric="mse", gain=-0.1)).splitlines()
    assert lines[0] == "Mean squared error (lower is better), 5-shot"
    assert lines[4].startswith("| MAML, meta-trained     |   0.691 ±")
    assert lines[5].startswith("| from scratch           | **0.591 ±")
    assert [line.split()[1] for line in lines[4:8]] == ["MAML,", "from", "kNN", "LDA"]


def test_single_tables_are_shown_as_far_as_they_fit() -> None:
    one, many = (
        headline(_results(protocols=protocols)).splitlines()
        for protocols in (("5-shot",), ("1-shot", "5-shot", "10-shot"))
    )
    assert one[2].split("|")[-3:-1] == [" iris  ", " wine  "]
    assert "shipped 10-shot" in many[2]
    assert "iris" not in many[2]
    assert len(one[2]) <= WIDEST


def test_undefined_and_missing_scores_leave_a_gap() -> None:
    results = _results()
    results = results[(results["method"] != "kNN") | (results["source"] == "synthetic")]
    line = next(line for line in headline(results).splitlines() if line.startswith("| kNN"))
    assert [cell.strip() for cell in line.split("|")[3:-1]] == [table.NOTHING] * 3


def test_markdown_is_aligned_and_escaped() -> None:
    assert table.markdown(["a", "long name"], [["1|2", "x"]]) == (
        "| a    | long name |\n|------|-----------|\n| 1\\|2 | x         |"
    )


def test_latex() -> None:
    assert table.latex(["a_b", "100%"], [["**0.5 ± 0.1**", "  0.4 ≈"]], "R & D") == "\n".join(
        [
            r"\begin{table}",
            r"\caption{R \& D}",
            r"\begin{tabular}{ll}",
            r"\toprule",
            r"a\_b & 100\% \\",
            r"\midrule",
            r"\textbf{0.5 $\pm$ 0.1} & 0.4 $\approx$ \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def test_numbers() -> None:
    assert table.number(0.12345) == "0.123"
    assert table.number(123456.0) == "1.23e+05"
    assert table.number(float("nan")) == table.p_value(float("nan")) == table.NOTHING
    assert table.p_value(0.0004) == "<0.001"
    assert table.with_interval({"mean": 0.5, "low": 0.3, "high": 0.6}) == "0.500 ± 0.200"


def test_a_run_gets_its_report(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", _results(bins=True))
    top = write_report(run)
    text = (run / "report.md").read_text()
    assert top == headline(_results(), Run.read(run).part("plan_hash"))
    assert text.startswith("# MAML on synthetic\n\n`metamine train`\n\nstarted 2026-01-01T10:00")
    assert top in text
    assert "training 98.2 s; evaluation 44.1 s; encoder Columnwise; 1,234 parameters" in text
    assert "- shipped/5-shot: tiny (needs 15 rows in two classes)" in text
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "## Paired comparisons",
        "## Ranks over tables",
        "## By table",
        "## All metrics",
        "## Tables left out",
        "## How to read this",
    ]
    assert "| method             | accuracy      | ece           |" in text


@pytest.mark.pictures
def test_the_pictures_are_whole_and_always_the_same(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run", _results(bins=True)) / "pictures"
    write_report(folder.parent)
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    names = ["learning-accuracy", "tables-accuracy", "calibration-accuracy"]
    names += ["critical_difference-accuracy"]
    assert set(first) == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    for name in names:
        assert first[f"{name}.png"].startswith(b"\x89PNG")
        assert ElementTree.fromstring(first[f"{name}.svg"]).tag.endswith("svg")
        assert (
            f"![{name.partition('-')[0]}](pictures/{name}.png)"
            in (folder.parent / "report.md").read_text()
        )
        embedded = base64.b64encode(first[f"{name}.svg"]).decode()
        assert f"base64,{embedded}" in (folder.parent / "report.html").read_text()
    write_report(folder.parent)
    assert first == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_without_matplotlib_the_report_says_so(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", _results())
    write_report(run)
    assert NO_PICTURES in (run / "report.md").read_text()
    assert "pip install metamine[plots]" in NO_PICTURES
    assert not (run / "pictures").exists()


@pytest.mark.pictures
def test_a_run_of_regression_has_no_calibration(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", _results(metric="mse"), metric="mse")
    assert write_report(run).startswith("Mean squared error")
    drawn = {"learning-mse", "tables-mse", "critical_difference-mse"}
    assert {file.stem for file in (run / "pictures").iterdir()} == drawn


def test_every_key_of_run_json_is_optional(tmp_path: Path) -> None:
    run = _run(tmp_path / "bare", _results())
    (run / "run.json").write_text("{}")
    (run / "metrics.jsonl").unlink()
    write_report(run)
    text = (run / "report.md").read_text()
    assert text.startswith("# bare\n\nAccuracy")
    assert "None" not in text
    assert not (run / "pictures" / "learning-accuracy.png").exists()


def test_a_run_without_results_is_an_error(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", _results())
    (run / "results.parquet").unlink()
    with pytest.raises(MetamineError, match=r"results\.parquet"):
        write_report(run)


@pytest.mark.pictures
def test_seeds_share_a_row(tmp_path: Path) -> None:
    for seed in (0, 1):
        config = f"seed: {seed}\nlog_every: {seed + 1}\nmethod: {{inner_lr: 0.1}}\n"
        _run(tmp_path / f"s{seed}", _results(seed=seed, gain=0.1 * seed), config=config)
    text = report([tmp_path], tmp_path / "all")
    both = pd.concat([_results(), _results(seed=1, gain=0.1)])
    mean = summarise(both).query("source == 'synthetic' and method == 'MAML'")["mean"].iloc[0]
    assert f"| MAML, meta-trained     | **{mean:.3f} ±" in text
    assert "- synthetic: 12 tables, 12 episodes, 2 seeds, plan 0123456789abcdef." in text
    collected = pd.read_csv(tmp_path / "all" / "results.csv")
    assert set(collected["method"]) == {"MAML", "MAML from scratch", "kNN", "LDA"}
    for file in ("report.md", "table.tex", "pictures/tables-accuracy.svg"):
        assert (tmp_path / "all" / file).stat().st_size > 0


def test_runs_are_told_apart_by_what_they_differ_in(tmp_path: Path) -> None:
    for rate in (0.1, 0.5):
        config = f"seed: 0\nmethod: {{inner_lr: {rate}}}\n"
        _run(tmp_path / str(rate), _results(gain=rate / 10), config=config)
    text = report([tmp_path / "0.1", tmp_path / "0.5"], tmp_path / "all")
    assert "| MAML (inner_lr=0.5), meta-trained |" in text
    assert "| MAML (inner_lr=0.1), meta-trained |" in text
    assert text.count("| kNN ") == 1


def test_a_node_of_another_class_is_named_once(tmp_path: Path) -> None:
    encoders = ("{_target_: a.Wide, width: 9}", "{_target_: a.Deep, depth: 3}")
    configs = [f"encoder: {node}\nmethod: {{encoder: {node}, rate: 1}}\n" for node in encoders]
    runs = []
    for index, config in enumerate(configs):
        (tmp_path / str(index)).mkdir()
        (tmp_path / str(index) / "config.yaml").write_text(config)
        runs.append(Run(tmp_path / str(index), {"choices": {"method": "MAML"}}))
    assert labels(runs) == ["MAML (encoder=Wide)", "MAML (encoder=Deep)"]


def test_an_evaluation_stands_in_the_row_of_the_run_it_evaluated(tmp_path: Path) -> None:
    run = _run(tmp_path / "train", _results(), config="source: {n: 1}")
    for which, gain in (("best", 0.0), ("last", -0.1)):
        results = _results(gain=gain).replace({"source": {"shipped": "tables"}})
        evaluated = {"run": str(run), "checkpoint": which}
        _run(tmp_path / which, results, config="source: {n: 2}", evaluated=evaluated)
    text = report([tmp_path], tmp_path / "all")
    rows = [line.split("|") for line in text.splitlines() if ", meta-trained " in line]
    assert [row[1].strip() for row in rows] == [
        "MAML (checkpoint=best), meta-trained",
        "MAML (checkpoint=last), meta-trained",
    ]
    header = [cell.strip() for cell in text.splitlines()[2].split("|")]
    assert sorted(header[2:5]) == ["shipped", "synthetic", "tables"]
    assert table.NOTHING not in [cell.strip() for cell in rows[0][2:5]]


def test_runs_on_different_episodes_do_not_share_a_column(tmp_path: Path) -> None:
    _run(tmp_path / "a", _results())
    other = {"source": "synthetic", "method": "ProtoNet"}
    results = _results().replace({"method": {"MAML": "ProtoNet"}})
    _run(tmp_path / "b", results, plan="fedcba9876543210", choices=other)
    text = report([tmp_path], tmp_path / "all")
    assert "| synthetic [012345] |" in text.splitlines()[2]
    assert "| synthetic [fedcba] |" in text.splitlines()[2]
    row = next(line for line in text.splitlines() if line.startswith("| ProtoNet, meta"))
    assert [cell.strip() == table.NOTHING for cell in row.split("|")[2:-1]] == [
        True,
        True,
        False,
        False,
    ]
    assert "shipped 5-shot was evaluated on several sets of episodes" in text


def test_runs_that_are_left_out_are_named_with_the_reason(tmp_path: Path) -> None:
    _run(tmp_path / "good", _results())
    _run(tmp_path / "again", _results(), ended="2026-01-01T11:00:00+00:00")
    _run(tmp_path / "failed", _results(), status="failed")
    (_run(tmp_path / "empty", _results()) / "results.parquet").unlink()
    (_run(tmp_path / "broken", _results()) / "run.json").write_text("{")
    text = report([tmp_path], tmp_path / "all")
    assert f"- left out {tmp_path / 'failed'}: its status is failed" in text
    assert f"- left out {tmp_path / 'good'}: a later run has the same config and seed" in text
    assert f"{tmp_path / 'empty' / 'results.parquet'} cannot be read" in text
    assert f"{tmp_path / 'broken' / 'run.json'} cannot be read" in text


def test_kinds_of_tasks_get_tables_of_their_own(tmp_path: Path) -> None:
    _run(tmp_path / "a", _results())
    regression = _results(metric="mse").replace({"source": {"synthetic": "sinusoid"}})
    regression = regression[regression["source"] == "sinusoid"]
    _run(tmp_path / "b", regression, metric="mse", config="seed: 1")
    accuracy, error = report([tmp_path], tmp_path / "all").split("Mean squared error")
    assert "sinusoid" not in accuracy
    assert "synthetic" not in error
    assert r"\caption{Mean squared error" in (tmp_path / "all" / "table.tex").read_text()


def test_what_others_wrote_is_not_overwritten(tmp_path: Path) -> None:
    run = tmp_path / "run"
    _run(run, _results())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/report.md").write_text("my own words")
    for output in (tmp_path / "mine", run):
        (output / "report.md").touch()
        with pytest.raises(UsageError, match=r"report.md is not a report of many runs"):
            report([run], output)
    assert (tmp_path / "mine/report.md").read_text() == "my own words"
    for _ in range(2):
        report([run], tmp_path / "all")


def test_nothing_to_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        report([tmp_path], tmp_path / "all")
    with pytest.raises(UsageError, match="not a directory"):
        report([tmp_path / "nowhere"], tmp_path / "all")
    _run(tmp_path / "failed", _results(), status="failed")
    with pytest.raises(UsageError, match="its status is failed"):
        report([tmp_path], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_the_report_knows_nothing_of_what_made_the_runs() -> None:
    program = "import sys, metamine.report.collect, metamine.report.pictures; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "metamine.statistics" in loaded
    assert not {"torch", "hydra", "sklearn", "metamine.methods", "metamine.engine"} & set(loaded)
