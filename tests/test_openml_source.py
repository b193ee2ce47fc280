"""OpenML as a source: it reads the store alone, says what is lacking, and splits by family."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from making import protocol
from running import config

from metamine.errors import MetamineError, UsageError
from metamine.openml.store import entry_folder
from metamine.prefetch.datafile import Column, Feature
from metamine.prefetch.entries import TEST, TRAINING, write_dataset, write_task
from metamine.sampler import sample
from metamine.sources import openml as openml_module
from metamine.sources import table as table_module
from metamine.sources.openml import OpenML
from metamine.sources.split import SPLITS, Folds, Given, Shares

ROWS = 120


def put_dataset(
    store: Path,
    number: int,
    name: str = "made",
    targets: tuple[str, ...] = ("class",),
    seed: int | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Numbers a and b, a nominal c, a nominal class of three and a number y; each cell differs."""
    rng = np.random.default_rng(number if seed is None else seed)
    made: dict[str, np.ndarray] = {
        "a": rng.gamma(rng.uniform(0.3, 3), size=ROWS) + 1000 * number,
        "b": rng.gamma(rng.uniform(0.3, 3), size=ROWS),
        "c": np.array([*"pqr"], dtype=object)[rng.choice(3, ROWS, p=rng.dirichlet([3, 3, 3]))],
        "class": np.array(["low", "mid", "high"], dtype=object)[np.arange(ROWS) % 3],
        "y": rng.normal(size=ROWS),
        "note": np.array([f"text {index}" for index in range(ROWS)], dtype=object),
    } | dict(columns or {})
    types = {"c": "nominal", "class": "nominal", "note": "string"}
    folder = entry_folder(store, "datasets", number)
    folder.mkdir(parents=True)
    write_dataset(
        folder,
        [
            Column(Feature(key, types.get(key, "numeric"), ()), values)  # type: ignore[arg-type]
            for key, values in made.items()
        ],
        targets,
        {"y": "ignored by OpenML"} if "y" not in targets else {},
        {"id": number, "name": name, "licence": "Public"},
    )


def put_task(store: Path, number: int, dataset: int, target: str = "class") -> np.ndarray:
    """A task with 2 repeats of 4 folds."""
    rng = np.random.default_rng(number)
    parts = np.full((2, 4, ROWS), TRAINING, dtype=np.uint8)
    for repeat in range(2):
        fold = rng.permutation(ROWS) % 4
        parts[repeat][np.arange(4)[:, None] == fold] = TEST
    folder = entry_folder(store, "tasks", number)
    folder.mkdir(parents=True)
    write_task(folder, parts, {"id": number, "dataset": dataset, "target": target})
    return parts


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Six data sets under ids that OpenML does not give out, so that no family knows them."""
    path = tmp_path / "store"
    for number in range(900001, 900007):
        put_dataset(path, number)
    return path


def source(store: Path, **changes: Any) -> OpenML:
    arguments: dict[str, Any] = {
        "suite": None,
        "tasks": None,
        "datasets": list(range(900001, 900007)),
        "store": str(store),
        "kind": "classification",
        "tables": None,
        "targets": None,
        "classes": "all",
        "groups": None,
        "leakage": "refuse",
        "split": Shares(0.5, 0.2, 0.3, 0),
        "respect_splits": False,
        "repeat": 0,
        "fold": 0,
    }
    return OpenML(**arguments | changes)


def names(made: OpenML) -> list[str]:
    return sorted(table.name for side in SPLITS for table in made.tables[side])


def test_tables_are_named_by_name_and_id_and_lie_on_one_side_each(store: Path) -> None:
    made = source(store)
    assert names(made) == [f"made ({number})" for number in range(900001, 900007)]
    assert [len(made.tables[side]) for side in SPLITS] == [3, 1, 2]
    table = made.tables["train"][0]
    assert table.features == ("a", "b", "c")
    assert table.categorical.tolist() == [False, False, True]
    assert table.classes == ("high", "low", "mid")


@pytest.mark.parametrize("large", [0, 1 << 24])
def test_episodes_are_rows_of_the_table(
    store: Path, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the cells are copied into memory or stay on disk makes no difference."""
    made = source(store, split=Given(["*"], [], []))
    generator = torch.Generator().manual_seed(3)
    expected = sample(made, "train", protocol(), 64, generator)
    monkeypatch.setattr(table_module, "LARGE", large)
    again = source(store, split=Given(["*"], [], []))
    pack = again.pack("train", protocol().shape("classification", generator), 1, generator)
    assert bool(pack.mapped) == (large == 0)
    episodes = sample(again, "train", protocol(), 64, torch.Generator().manual_seed(3))
    assert torch.equal(episodes.support.x, expected.support.x)
    assert torch.equal(episodes.query_x, expected.query_x)
    assert torch.equal(episodes.query_y, expected.query_y)
    some = protocol(columns=2)
    episodes = sample(again, "train", some, 8, torch.Generator().manual_seed(1))
    assert episodes.support.x.shape[2] == 2


@pytest.mark.parametrize("settings", [{}, {"shot": None, "rows": 6}])
@pytest.mark.parametrize("large", [0, 1 << 24])
def test_splits_are_respected(
    store: Path, settings: dict[str, Any], large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "LARGE", large)
    parts = put_task(store, 7, 900001)
    made = source(
        store,
        datasets=None,
        tasks=[7],
        split=Given(["*"], [], []),
        respect_splits=True,
        repeat=1,
        fold=2,
    )
    (table,) = made.tables["train"]
    monkeypatch.setattr(made, "standardise", False)
    episodes = sample(made, "train", protocol(**settings), 50, torch.Generator().manual_seed(0))
    row_of = {value: row for row, value in enumerate(np.asarray(table.x[:, 0]).tolist())}
    for x, part in ((episodes.support.x, TRAINING), (episodes.query_x, TEST)):
        rows = [row_of[value] for value in x[..., 0].flatten().tolist()]
        assert set(parts[1, 2][rows]) == {part}
        assert len(set(rows)) > 25
    with pytest.raises(UsageError, match="task 7 has 2 repeats of 4 folds"):
        source(store, datasets=None, tasks=[7], respect_splits=True, fold=4)
    with pytest.raises(UsageError, match="taken as a data set, which has no splits"):
        source(store, respect_splits=True)


def test_gaps_are_one_error_that_names_the_command(store: Path) -> None:
    with pytest.raises(
        MetamineError,
        match=r"lacks 2 of 3 tables \(task 5, data set 8\).*"
        rf"metamine prefetch tasks=\[5\] datasets=\[8,900001\] dest={store}",
    ):
        source(store, tasks=[5], datasets=[8, 900001])
    with pytest.raises(MetamineError, match=r"lacks 72 of 72 .*prefetch suite=openml-cc18 "):
        source(store, suite="openml-cc18", datasets=None)
    with pytest.raises(UsageError, match=r"no suite 'OpenML-CC17' here; did you mean OpenML-CC18"):
        source(store, suite="OpenML-CC17", datasets=None)
    with pytest.raises(UsageError, match="name what to take"):
        source(store, datasets=None)


def test_damage_is_said_with_the_command_that_mends_it(store: Path) -> None:
    file = entry_folder(store, "datasets", 900003) / "cells.npy"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(MetamineError, match=r"900003 is damaged.*prefetch --repair dest="):
        source(store)
    description = file.with_name("dataset.json")
    description.write_text(description.read_text().replace("Public", "Private"))
    with pytest.raises(MetamineError, match="is damaged"):
        source(store)


def test_families_stay_together(tmp_path: Path) -> None:
    """12, 14 and 16 are views of the same digits; 31 and 46918 are one data set."""
    for number in (12, 14, 16, 31, 46918, 61, 23, 50):
        put_dataset(tmp_path, number)
    ids = [12, 14, 16, 31, 46918, 61, 23, 50]
    for fold in range(4):
        made = source(tmp_path, datasets=ids, split=Folds(4, fold, 0))
        side_of = {table.name: side for side in SPLITS for table in made.tables[side]}
        assert len({side_of[f"made ({number})"] for number in (12, 14, 16)}) == 1
        assert side_of["made (31)"] == side_of["made (46918)"]
    separating = Given(["*[!8])"], [], ["* (46918)"])
    with pytest.raises(UsageError, match=r"on two sides .*made \(31\) in train.*leakage=warn"):
        source(tmp_path, datasets=ids, split=separating)


def test_a_published_split_that_separates_a_family_can_be_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (31, 46918):
        put_dataset(tmp_path, number)
    split = Given(["* (31)"], [], ["* (46918)"])
    source(tmp_path, datasets=[31, 46918], split=split, leakage="warn")
    assert "what is tested was seen in training" in caplog.text


def test_a_twin_under_an_unknown_id_is_found(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    put_dataset(store, 900100, name="another", seed=900002)
    made = source(store, datasets=[*range(900001, 900007), 900100])
    side_of = {table.name: side for side in SPLITS for table in made.tables[side]}
    assert side_of["another (900100)"] == side_of["made (900002)"]
    assert "made (900002) and another (900100) hold the same rows" in caplog.text


def test_what_was_found_is_remembered_for_the_same_tables_only(
    store: Path, caplog: pytest.LogCaptureFixture, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_dataset(store, 900100, name="another", seed=900002)
    ids = [*range(900001, 900007), 900100]
    first = source(store, datasets=ids)
    assert len(list(cache.glob("*.twins"))) == 1
    caplog.clear()
    with monkeypatch.context() as patched:
        patched.setattr(openml_module, "twins", lambda *_: pytest.fail("looked again"))
        again = source(store, datasets=ids)
    assert "hold the same rows" in caplog.text
    assert names(again) == names(first)
    (file,) = cache.glob("*.twins")
    file.write_text("[[1")
    source(store, datasets=ids)
    source(store, datasets=ids[:-1])
    assert len(list(cache.glob("*.twins"))) == 2


def test_targets(store: Path) -> None:
    put_dataset(store, 900010, targets=("class", "c"))
    put_dataset(store, 900011, targets=())
    with pytest.raises(UsageError, match=r"made \(900010\) names several targets \(c, class\)"):
        source(store, datasets=[900010])
    with pytest.raises(UsageError, match=r"made \(900011\) has no target; choose one: source.tar"):
        source(store, datasets=[900011])
    everywhere = Given(["*"], [], [])
    chosen = {"made (900010)": "c", "made (900011)": "class"}
    made = source(store, datasets=[900010, 900011], targets=chosen, split=everywhere)
    one, other = made.tables["train"]
    # The other answer is no feature; a feature that is asked for is none any more.
    assert (one.features, one.classes) == (("a", "b"), ("p", "q", "r"))
    assert (other.features, other.x.shape) == (("a", "b", "c"), (ROWS, 3))
    with pytest.raises(UsageError, match=r"cannot be predicted \(text\)"):
        source(store, datasets=[900011], targets={"made (900011)": "note"})
    with pytest.raises(UsageError, match=r"has no column 'clas'; did you mean class\?"):
        source(store, datasets=[900011], targets={"made (900011)": "clas"})
    with pytest.raises(UsageError, match="there is no table 'nobody'"):
        source(store, targets={"nobody": "class"})


def test_the_commonest_class_against_the_others(store: Path) -> None:
    counts = {900011: [30, 50, 40], 900012: [41, 40, 39]}
    for number, each in counts.items():
        labels = np.repeat(np.array(["low", "mid", "high"], dtype=object), each)
        put_dataset(store, number, columns={"class": labels})
    split = Shares(0.0, 0.0, 1.0, 0)
    made = source(store, datasets=[*counts], split=split, classes="commonest_or_not")
    commonest = {table.name: table.classes[0] for table in made.tables["test"]}
    assert commonest == {"made (900011)": "mid", "made (900012)": "low"}
    for table in made.tables["test"]:
        assert table.classes[1] == f"not {table.classes[0]}"
        assert (table.y == 0).sum() == max(counts[int(table.name[6:-1])])


def test_regression_and_rows_without_a_target(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    y = np.random.default_rng(0).normal(5, 2, ROWS)
    y[:7] = np.nan
    put_dataset(store, 900020, targets=("y",), columns={"y": y})
    made = source(store, kind="regression", datasets=[900001, 900020], split=Given(["*"], [], []))
    assert names(made) == ["made (900020)"]
    assert "made (900001) is not for regression: 'class' is nominal" in caplog.text
    (table,) = made.tables["train"]
    assert table.target_mean == pytest.approx(y[7:].mean())
    assert table.y * table.target_sd + table.target_mean == pytest.approx(y[7:], abs=1e-5)
    monkey = sample(made, "train", protocol(), 20, torch.Generator().manual_seed(0))
    assert monkey.support.y.isfinite().all()
    with pytest.raises(UsageError, match="none of the 1 tables is for regression"):
        source(store, kind="regression", datasets=[900001])


def test_one_table_asked_for_twice_is_taken_once(store: Path) -> None:
    put_task(store, 7, 900001)
    put_task(store, 8, 900001, target="c")
    made = source(store, datasets=None, tasks=[7, 7, 8], split=Given(["*"], [], []))
    assert names(made) == ["made (900001)", "made (900001) c"]
    assert {table.group for table in made.tables["train"]} == {"openml 900001"}


def test_a_run_needs_no_openml_package_no_network_and_no_right_to_write(
    store: Path, tmp_path: Path
) -> None:
    """A whole training run, in a process in which neither can be had."""
    for path in (*store.rglob("*"), store):
        path.chmod(0o555 if path.is_dir() else 0o444)
    program = f"""
import socket, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('openml', 'arff', 'requests', 'minio'):
            raise AssertionError('a run imports ' + name)
sys.meta_path.insert(0, Refuse())
def refuse(*_): raise AssertionError('a run opens a connection')
socket.socket.connect = refuse
from pathlib import Path
from metamine.run import train_job
import json
train_job(json.loads({config_text(store)!r}), Path({str(tmp_path / "run")!r}), [], False)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ
    )
    for path in (store, *store.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert done.returncode == 0, done.stderr
    assert "made (9000" in (tmp_path / "run" / "report.md").read_text()


def config_text(store: Path) -> str:
    import json

    return json.dumps(
        config(
            "source=openml",
            "datasets=[900001,900002,900003,900004,900005,900006]",
            f"source.store={store}",
        )
    )
