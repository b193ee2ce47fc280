"""Several sources in one run: whose batches, which plans, and what cannot be mixed."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from making import built, table
from making import protocol as protocol_of
from running import config

from metamine.config import build, check
from metamine.errors import UsageError
from metamine.evaluation import Evaluation
from metamine.run import train_job
from metamine.sampler import sample
from metamine.settings import check_training
from metamine.sources.base import Shape, Source, Split
from metamine.sources.mix import Mix
from metamine.sources.shipped import Shipped
from metamine.sources.split import EmptySplit
from metamine.sources.table import Pack

SHAPE = Shape(way=2, shot=2, rows=None, query=2)


class Made(Source):
    """One table for each of the splits named, called NAME-SPLIT."""

    endless = False

    def __init__(self, name: str, *splits: Split, standardise: bool = True) -> None:
        self.name, self.kind, self.splits = name, "classification", splits
        self.standardise = standardise

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: torch.Generator) -> Pack:
        if split not in self.splits:
            raise EmptySplit(f"{self.name} has no {split}")
        return Pack.of([table(f"{self.name}-{split}")])


def mix(*sources: Source, weights: tuple[float, ...] | None = None) -> Mix:
    named = {f"s{number}": source for number, source in enumerate(sources)}
    return Mix("mix", named, dict(zip(named, weights or [1.0] * len(named), strict=True)))


def drawn(source: Mix, split: Split, n: int = 600) -> Counter[str]:
    g = torch.Generator().manual_seed(0)
    return Counter(source.pack(split, SHAPE, 4, g).names[0] for _ in range(n))


def evaluation() -> Evaluation:
    return Evaluation(
        seed=0,
        protocols={"2-shot": protocol_of(), "3-shot": protocol_of(shot=3)},
        episodes=2,
        tasks=2,
        validation_episodes=2,
        validation_tasks=2,
        also={"shipped": Shipped(["iris"])},
        baselines={},
    )


def test_batches_come_in_proportion_to_the_weights() -> None:
    source = mix(Made("a", "train"), Made("b", "train"), Made("c", "train"), weights=(3, 1, 0))
    counts = drawn(source, "train")
    assert counts.keys() == {"a-train", "b-train"}
    assert counts["a-train"] / 600 == pytest.approx(0.75, abs=0.06)


def test_those_without_the_split_are_left_out_of_the_proportion() -> None:
    source = mix(
        Made("a", "train"), Made("b", "train", "test"), Made("c", "test"), weights=(1, 3, 6)
    )
    counts = drawn(source, "train")
    assert counts.keys() == {"a-train", "b-train"}
    assert counts["b-train"] / 600 == pytest.approx(0.75, abs=0.06)
    assert drawn(source, "test").keys() == {"b-test", "c-test"}
    with pytest.raises(EmptySplit, match=r"no source of mix has a validation .*s0: a has no"):
        drawn(source, "validation")


def test_the_generator_alone_decides() -> None:
    """A run that goes on meets the batches it would have met, though it asks for fewer."""
    source = mix(Made("a", "train"), Made("b", "train"), Made("c", "test"))
    protocol = protocol_of()

    def batch(of: Mix, step: int) -> torch.Tensor:
        return sample(of, "train", protocol, 3, torch.Generator().manual_seed(step)).query_x

    batches = [batch(source, step) for step in range(6)]
    fresh = mix(Made("a", "train"), Made("b", "train"), Made("c", "test"))
    assert torch.equal(batch(fresh, 5), batches[5])


def test_a_batch_is_of_one_source() -> None:
    source = mix(built("source", "synthetic"), Made("a", "train"))
    g = torch.Generator().manual_seed(0)
    seen = {len(set(source.pack("train", SHAPE, 5, g).names) & {"a-train"}) for _ in range(20)}
    assert seen == {0, 1}
    assert not source.endless
    assert sample(source, "train", protocol_of(way=2), 5, g).n_tasks == 5


def test_one_plan_for_each_part(caplog: pytest.LogCaptureFixture) -> None:
    source = mix(
        Made("a", "train", "test"),
        mix(Made("b", "train", "validation"), built("source", "synthetic")),
    )
    with caplog.at_level(logging.INFO):
        plans = evaluation().plans(source)
    assert [(plan.source.name, plan.protocol_name) for plan in plans] == [
        (name, protocol)
        for name in ("a", "synthetic", "shipped")
        for protocol in ("2-shot", "3-shot")
    ]
    assert "not tested: b has no test" in caplog.text
    validated = evaluation().validation_plans(source)
    assert [plan.source.name for plan in validated] == ["a", "b", "synthetic"]
    alone = evaluation().plans(source.parts[0])[0]
    assert alone.digest() == plans[0].digest()


def test_a_part_is_not_judged_twice(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        plans = evaluation().plans(mix(Made("a", "train", "test"), Shipped(["wine"])))
    assert [plan.source.name for plan in plans] == ["a", "a", "shipped", "shipped"]
    assert "the held-out source shipped is left out" in caplog.text


def test_nothing_to_test_on_is_an_error() -> None:
    plan = evaluation().plans(mix(Made("a", "train"), Made("b", "train")))[0]
    with pytest.raises(EmptySplit, match="a has no test"):
        plan.digest()


def test_a_source_of_weight_0_is_not_trained_on() -> None:
    one, other = Made("a", "train"), Made("b", "test")
    assert mix(one, other, weights=(1, 0)).training_parts == (one,)
    assert mix(one, other).training_parts == (one, other)


def test_what_cannot_be_mixed() -> None:
    a = Made("a", "train")
    with pytest.raises(ValueError, match=r"weights name \['x'\], but sources \['s'\]"):
        Mix("mix", {"s": a}, {"x": 1.0})
    with pytest.raises(ValueError, match="all weights are 0"):
        mix(a, weights=(0,))
    with pytest.raises(ValueError, match="all weights are 0"):
        Mix("mix", {}, {})
    with pytest.raises(UsageError, match=r"kind \(s0: classification, s1: regression\)"):
        mix(a, Shipped(["diabetes"]))
    with pytest.raises(UsageError, match=r"standardise \(s0: True, s1: False\)"):
        mix(a, Made("b", "train", standardise=False))
    with pytest.raises(UsageError, match="would call 'a'"):
        mix(a, mix(Made("a", "test")))
    with pytest.raises(UsageError, match="weights"):
        check({"name": "mix", "sources": {}, "weights": {"s": -1.0}}, Mix, where="source")


@pytest.mark.parametrize(
    ("overrides", "target", "split"),
    [
        (["path=x"], "Tables", "Shares"),
        (["source@source.sources.tables=openml", "suite=OpenML-CC18"], "OpenML", "Shares"),
        (["path=x", "source/split@source.sources.tables.split=folds"], "Tables", "Folds"),
    ],
)
def test_the_commands_in_the_yaml(overrides: list[str], target: str, split: str) -> None:
    composed = config("source=mix", *overrides, "device=cpu")
    check_training(composed)
    part: dict[str, Any] = composed["source"]["sources"]["tables"]
    assert part["_target_"].endswith(f".{target}")
    assert part["split"]["_target_"].endswith(f".{split}")


def test_a_run(tmp_path: Path) -> None:
    """Synthetic tasks and a folder: trained on both, validated on both, each judged by itself."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for index in range(6):
        made = table(f"t{index}", n_features=2 + index, n_rows=90, seed=index)
        frame = pd.DataFrame(made.x).assign(target=made.y)
        frame.to_csv(folder / f"t{index}.csv", index=False)
    settings = config("source=mix", f"path={folder}", "device=cpu")
    source = build(settings["source"])
    names = drawn(source, "train", 40)
    assert any(name.startswith("t") for name in names)
    assert not all(name.startswith("t") for name in names)
    train_job(settings, tmp_path / "run", [], resuming=False)
    results = pd.read_parquet(tmp_path / "run/results.parquet")
    assert set(results["source"]) == {"synthetic", "mine", "shipped"}
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert set(facts["plan_hash"]) == {"synthetic/5-shot", "mine/5-shot", "shipped/5-shot"}
    assert facts["choices"]["source"] == "mix"
    train_job(config("device=cpu"), tmp_path / "alone", [], resuming=False)
    alone = json.loads((tmp_path / "alone/run.json").read_text())
    assert alone["plan_hash"].items() <= facts["plan_hash"].items()
    assert "validate" in (tmp_path / "run/metrics.jsonl").read_text()
