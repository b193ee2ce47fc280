"""The oracle and the single best baseline: lines beside the learners, found by hand here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from metamine.report.headline import headline, headlines
from metamine.report.references import ORACLE, SINGLE, references
from metamine.report.run_report import write_report

LEARNERS = {"MAML": "meta", "from scratch": "from scratch", "a": "baseline", "b": "baseline"}


def results(
    metric: str = "accuracy", seeds: tuple[int, ...] = (0,), sources: tuple[str, ...] = ("uci",)
) -> pd.DataFrame:
    """Tables of several episodes on which sometimes one baseline is better, sometimes the other."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [
        {
            "method": method,
            "role": role,
            "source": source,
            "protocol": "5-shot",
            "table": table,
            "episode": episode,
            "seed": seed,
            "fallback": method == "a",
            metric: rng.uniform(),
        }
        for source in sources
        for table, n_episodes in (("iris", 3), ("wine", 6), ("seeds", 4))
        for episode in range(n_episodes)
        for seed in seeds
        for method, role in LEARNERS.items()
    ]
    return pd.DataFrame(rows)


def value(frame: pd.DataFrame, method: str, metric: str = "accuracy") -> float:
    """The statistic: the mean over tables of a table's mean."""
    of_method = frame[frame["method"] == method]
    return float(of_method.groupby("table")[metric].mean().mean())


def cells(text: str, method: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {method} "))
    return [cell.strip() for cell in line.split("|")[2:-1]]


@pytest.mark.parametrize(("metric", "best"), [("accuracy", max), ("mse", min)])
def test_the_oracle_has_the_best_baseline_of_each_episode(metric: str, best: Any) -> None:
    frame = results(metric, seeds=(0, 1))
    lines, _ = references(frame, metric)
    oracle = lines[lines["method"] == ORACLE]
    assert len(oracle) == 13 * 2
    for row in oracle.to_dict("records"):
        same = frame[["seed", "table", "episode"]] == [row["seed"], row["table"], row["episode"]]
        baselines = frame[same.all(axis=1) & (frame["role"] == "baseline")]
        assert row[metric] == best(baselines[metric])


@pytest.mark.parametrize(("metric", "best"), [("accuracy", max), ("mse", min)])
def test_the_single_best_is_best_by_the_mean_over_tables(metric: str, best: Any) -> None:
    frame = results(metric)
    lines, singles = references(frame, metric)
    means = {method: value(frame, method, metric) for method in ("a", "b")}
    chosen = best(means, key=means.get)
    assert singles == {"uci/5-shot": chosen}
    single = lines[lines["method"] == SINGLE]
    assert single[metric].tolist() == frame.loc[frame["method"] == chosen, metric].tolist()


def test_tables_with_many_episodes_do_not_choose_the_single_best() -> None:
    frame = results()
    wine, a, b = (frame["table"] == "wine"), (frame["method"] == "a"), (frame["method"] == "b")
    frame.loc[a, "accuracy"], frame.loc[b, "accuracy"] = 0.5, 0.6
    frame.loc[a & wine, "accuracy"] = 0.69  # better over all episodes, not over tables
    frame.loc[b & wine, "accuracy"] = 0.5
    assert frame[a]["accuracy"].mean() > frame[b]["accuracy"].mean()
    assert references(frame, "accuracy")[1] == {"uci/5-shot": "b"}


def test_each_column_has_a_single_best_of_its_own() -> None:
    frame = results(sources=("uci", "synthetic"))
    for source, method in (("uci", "a"), ("synthetic", "b")):
        here = (frame["source"] == source) & (frame["method"] == method)
        frame.loc[here, "accuracy"] += 1.0
    lines, singles = references(frame, "accuracy")
    assert singles == {"uci/5-shot": "a", "synthetic/5-shot": "b"}
    assert len(lines) == 4 * 13
    assert "of the column (a on uci, b on synthetic)" in headline(frame)


def test_the_lines_stand_last_in_the_headline_and_say_what_they_are() -> None:
    frame = results()
    text = headline(frame)
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows[-2:] == [ORACLE, SINGLE]
    lines, _ = references(frame, "accuracy")
    assert cells(text, ORACLE)[0].startswith(f"{value(lines, ORACLE):.3f} ±")
    assert cells(text, SINGLE)[0].startswith(f"{value(lines, SINGLE):.3f} ±")
    assert "which look at the query labels" in text
    assert ORACLE in headlines(frame, {})[0].rows[-2]


def test_no_mark_goes_to_a_line_nor_is_taken_by_one() -> None:
    frame = results()
    text = headline(frame)
    assert value(references(frame, "accuracy")[0], ORACLE) > value(frame, "MAML")
    assert not any(
        "**" in cell or "≈" in cell for cell in cells(text, ORACLE) + cells(text, SINGLE)
    )
    assert text.count("**") == 2 + 2  # a learner's cell, and the legend
    learners = frame[frame["method"] != "b"]  # without lines, the same learners are as they were
    alone = headline(learners)
    assert ORACLE not in alone
    assert cells(alone, "MAML, meta-trained")[0].rstrip(" ≈*").lstrip("*") == (
        cells(text, "MAML, meta-trained")[0].rstrip(" ≈*").lstrip("*")
    )


def test_a_fallback_of_a_baseline_is_not_counted_again() -> None:
    note = headline(results()).splitlines()[-1]
    assert note.endswith("fallbacks: a 13.")


def test_with_one_baseline_there_is_nothing_to_choose() -> None:
    for frame in (
        results()[lambda frame: frame["method"] != "b"],
        results()[lambda frame: frame["role"] != "baseline"],
    ):
        lines, singles = references(frame, "accuracy")
        assert lines.empty
        assert not singles
        assert SINGLE not in headline(frame)


def test_baselines_that_lack_episodes_are_not_chosen_from() -> None:
    """Else the line would rest on easier episodes, or one baseline's on fewer."""
    frame = results()
    third = frame[frame["method"] == "a"].assign(method="c", accuracy=2.0)
    frame = pd.concat([frame, third[third["table"] == "iris"]], ignore_index=True)
    lines, singles = references(frame, "accuracy")
    assert lines["accuracy"].max() < 1
    assert singles["uci/5-shot"] in ("a", "b")


def test_a_run_s_report_has_them(tmp_path: Path) -> None:
    results().to_parquet(tmp_path / "results.parquet")
    (tmp_path / "run.json").write_text(json.dumps({"status": "done"}))
    shown = write_report(tmp_path)
    for text in (shown, (tmp_path / "report.md").read_text()):
        assert len(cells(text, ORACLE)) == len(cells(text, SINGLE)) == 4
