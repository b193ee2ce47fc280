"""Runs of many methods in one table, by family."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metamine.report.collect import report
from metamine.report.table import NOTHING

BASELINES = {"kNN": 0.7, "LDA": 0.6}
# method -> family (None: a run of an earlier version, which does not tell), accuracy
RUNS = {
    "Alpha": ("metric", 0.9),
    "Beta": ("optimization", 0.5),
    "Gamma": ("optimization", 0.8),
    "Delta": ("data", 0.4),
    "Epsilon": ("other", 0.95),
    "Zeta": (None, 0.3),
}


def run(folder: Path, method: str, family: str | None, level: float, **record: object) -> None:
    levels = {method: level, "from scratch": level - 0.1} | BASELINES
    roles = {method: "meta", "from scratch": "from scratch"}
    rng = np.random.default_rng(0)
    rows = [
        {
            "method": name,
            "role": roles.get(name, "baseline"),
            "source": "synthetic",
            "protocol": "5-shot",
            "table": f"t{episode}",
            "episode": 0,
            "seed": 0,
            "fallback": False,
            "accuracy": value + rng.normal(0, 0.01),
        }
        for episode in range(8)
        for name, value in levels.items()
    ]
    folder.mkdir()
    pd.DataFrame(rows).to_parquet(folder / "results.parquet")
    choices = {"source": "synthetic", "method": method}
    facts = {
        "status": "done",
        "choices": choices | ({} if family is None else {"family": family}),
        "plan_hash": {"synthetic/5-shot": "0123456789abcdef"},
    }
    (folder / "run.json").write_text(json.dumps(facts | record))
    (folder / "config.yaml").write_text("seed: 0\n")


def rows_of(text: str) -> list[list[str]]:
    """The cells of the first table, heading left out."""
    lines = [line for line in text.partition("\n\n- ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_rows_stand_by_family_and_the_best_first_in_each(tmp_path: Path) -> None:
    for method, (family, level) in RUNS.items():
        run(tmp_path / method, method, family, level)
    text = report([tmp_path], tmp_path / "all")
    header, _, *rows = rows_of(text)
    assert header[:2] == ["family", "method"]
    assert [row[:2] for row in rows] == [
        ["optimization", "Gamma, meta-trained"],
        ["optimization", "Beta, meta-trained"],
        ["optimization", "Gamma from scratch"],
        ["optimization", "Beta from scratch"],
        ["metric", "Alpha, meta-trained"],
        ["metric", "Alpha from scratch"],
        ["data", "Delta, meta-trained"],
        ["data", "Delta from scratch"],
        ["other", "Epsilon, meta-trained"],
        ["other", "Epsilon from scratch"],
        [NOTHING, "Zeta, meta-trained"],
        [NOTHING, "Zeta from scratch"],
        ["baseline", "kNN"],
        ["baseline", "LDA"],
        ["baseline", "best baseline (oracle)"],
        ["baseline", "single best baseline"],
    ]
    assert "family & method & " in (tmp_path / "all/table.tex").read_text()
    collected = pd.read_csv(tmp_path / "all/results.csv").drop_duplicates("method")
    family_of = dict(zip(collected["method"], collected["family"], strict=True))
    assert family_of["Beta from scratch"] == "optimization"
    assert family_of["kNN"] == "baseline"
    assert family_of["Zeta"] == NOTHING


@pytest.mark.parametrize("family", ["metric", None])
def test_one_family_needs_no_column(tmp_path: Path, family: str | None) -> None:
    for method in ("Alpha", "Beta"):
        run(tmp_path / method, method, family, 0.5)
    header, _, *rows = rows_of(report([tmp_path], tmp_path / "all"))
    assert header[0] == "method"
    assert rows[-1][0] == "single best baseline"


def test_baselines_that_were_not_there_are_named_once(tmp_path: Path) -> None:
    for method in ("Alpha", "Beta"):
        run(tmp_path / method, method, "metric", 0.5, absent={"tabpfn": "it is not installed"})
    run(tmp_path / "Gamma", "Gamma", "metric", 0.5)
    text = report([tmp_path], tmp_path / "all")
    assert text.count("- tabpfn is left out: it is not installed.") == 1
