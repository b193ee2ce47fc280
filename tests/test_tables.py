"""A folder as a source: what it holds, its index, its splits, its cache, episodes out of it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from metamine.config import build
from metamine.errors import MetamineError, UsageError
from metamine.protocol import Protocol
from metamine.sampler import sample
from metamine.sources import reading
from metamine.sources.base import Shape
from metamine.sources.classes import with_classes
from metamine.sources.split import SPLITS, EmptySplit, Folds, Given, Shares, Splitting
from metamine.sources.tables import Tables

ANY = Shape(way=2, shot=1, rows=None, query=1)
PROTOCOL = Protocol(
    way=2,
    shot=(1, 3),
    rows=None,
    query=4,
    draw="balanced",
    one_class="redraw",
    transductive=False,
    columns=None,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten tables; every cell is another number, so that rows can be told apart."""
    path = tmp_path / "mine"
    path.mkdir()
    for index in range(10):
        write(path / f"t{index}.csv", 1000 * index)
    (path / "README.md").write_text("not a table")
    (path / ".hidden.csv").write_text("neither")
    return path


def write(file: Path, first: int, target: str = "target", n: int = 40) -> None:
    rng = np.random.default_rng(first)  # another shape for each: these are no twins
    frame = pd.DataFrame(rng.gamma(rng.uniform(0.2, 3, 3), size=(n, 3)), columns=[*"abc"])
    frame[target] = [*"xyx", "y"] * (n // 4)
    frame.to_csv(file, index=False)


def tables(folder: Path | str | None, **changes: Any) -> Tables:
    arguments: dict[str, Any] = {
        "path": None if folder is None else str(folder),
        "kind": "classification",
        "tables": None,
        "target": "target",
        "targets": None,
        "classes": "all",
        "text": "refuse",
        "groups": None,
        "leakage": "refuse",
        "split": Shares(0.6, 0.2, 0.2, 0),
    }
    return Tables(**arguments | changes)


def names(source: Tables) -> list[str]:
    return sorted(table.name for side in SPLITS for table in source.tables[side])


def side_of(source: Tables) -> dict[str, str]:
    return {table.name: side for side in SPLITS for table in source.tables[side]}


def test_a_folder_in_three_splits(folder: Path) -> None:
    source, generator = tables(folder), torch.Generator()
    assert (source.name, source.kind, source.endless) == ("mine", "classification", False)
    assert names(source) == [f"t{index}" for index in range(10)]
    assert [len(source.tables[side]) for side in SPLITS] == [6, 2, 2]
    pack = source.pack("test", ANY, 3, generator)
    assert pack is source.pack("test", ANY, 5, generator)
    assert list(pack.names) == [table.name for table in source.tables["test"]]
    assert all(table.group == table.name for table in source.tables["train"])


@pytest.mark.parametrize("split", SPLITS)
def test_episodes_are_rows_of_the_table_support_and_query_apart(folder: Path, split: Any) -> None:
    source = tables(folder)
    episodes = sample(source, split, PROTOCOL, 16, torch.Generator().manual_seed(0))
    assert episodes.n_tasks == 16
    rows = torch.cat([episodes.support.x, episodes.query_x], dim=1)
    for task in range(16):
        assert len(rows[task].unique(dim=0)) == rows.shape[1]
    assert episodes.support.present_TC.all()
    assert (episodes.query_y < 2).all()

    assert not rows.isnan().any()


def test_a_config_builds_the_source(folder: Path) -> None:
    split = {"_target_": "metamine.sources.split.Folds", "folds": 5, "fold": 1, "seed": 0}
    node = {"_target_": "metamine.sources.tables.Tables", "path": str(folder), "split": split}
    node |= {"kind": "classification", "tables": ["t*"], "target": "target", "targets": None}
    node |= {"classes": "all", "text": "refuse"}
    node |= {"groups": {"pair": ["t1", "t2"]}, "leakage": "refuse"}
    source = build(node, (), "source")
    assert side_of(source)["t1"] == side_of(source)["t2"]
    with pytest.raises(UsageError, match=r"^source.split.fold: fold is 9|^source.split: fold is 9"):
        build(node | {"split": split | {"fold": 9}}, (), "source")
    with pytest.raises(UsageError, match=r"^source.text"):
        build(node | {"text": "keep"}, (), "source")


def test_the_index_names_targets_groups_splits_and_kinds(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write(folder / "odd.csv", 50_000, target="species")
    (folder / "index.csv").write_text(
        "table,target,group,split,kind,rows\n"
        "odd,species,,test,,40\n"
        "t0,,pair,train,,\n"
        "t1,,pair,,classification,\n"
        "t2,,,,regression,\n"
        "gone,,,,,\n"
    )
    source = tables(folder)
    assert "t2" not in names(source)
    assert (side_of(source)["odd"], side_of(source)["t0"]) == ("test", "train")
    assert side_of(source)["t1"] == "train"
    assert {t.group for t in source.tables["train"] if t.name in ("t0", "t1")} == {"pair"}
    assert "not for classification, by index.csv: t2" in caplog.text
    assert "lists tables that are not there: gone" in caplog.text
    assert "mine: 10 tables in 9 groups: 6 train, 2 validation, 2 test" in caplog.text


def test_arguments_go_before_the_index(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "index.csv").write_text("table,target,group,split\nt0,nonsense,one,train\n")
    source = tables(
        folder,
        targets={"t0": "target"},
        groups={"two": ["t0", "t1"]},
        split=Given(train=["t[2-9]"], validation=[], test=["t0", "t1"]),
    )
    assert {table.group for table in source.tables["test"]} == {"two"}
    tables(folder, targets={"t0": "target"}, split=Folds(5, 0, 0))
    assert "the splits that index.csv names are not used" in caplog.text


@pytest.mark.parametrize("split", [Shares(0.5, 0.2, 0.3, 4), Folds(3, 1, 4)])
def test_tables_of_one_group_stay_together(folder: Path, split: Splitting) -> None:
    groups = {"low": ["t[0-2]"], "high": ["t[3-5]"]}
    sides = side_of(tables(folder, groups=groups, split=split))
    assert len({sides[name] for name in ("t0", "t1", "t2")}) == 1
    assert len({sides[name] for name in ("t3", "t4", "t5")}) == 1


@pytest.mark.parametrize("seed", range(5))
def test_tables_with_the_same_rows_stay_together(
    folder: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Also under another target, in another format, and by way of a third table's group."""
    frame = pd.read_csv(folder / "t3.csv")
    frame.assign(target=frame["target"].iloc[::-1].to_numpy()).to_parquet(folder / "twin.parquet")
    source = tables(folder, groups={"pair": ["twin", "t4"]}, split=Shares(0.4, 0.3, 0.3, seed))
    sides = side_of(source)
    assert sides["twin"] == sides["t3"] == sides["t4"]
    assert "t3 and twin hold the same rows and count as one group" in caplog.text


def test_the_same_rows_on_two_sides_are_an_error(folder: Path) -> None:
    (folder / "twin.csv").write_text((folder / "t3.csv").read_text())
    with pytest.raises(UsageError, match=r"'t3' is on two sides .*\(t3 in train, twin in test\)"):
        tables(folder, split=Given(["t3"], [], ["twin"]))


def test_tables_in_no_split_are_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tables(folder, split=Given(["t[0-5]"], [], ["t6", "t7"]))
    assert "tables that are in no split: t8, t9" in caplog.text
    with pytest.raises(
        EmptySplit, match=r"none of the tables in .*mine is in the validation split"
    ):
        source.pack("validation", ANY, 1, torch.Generator())


def test_three_tables_are_enough_and_two_are_not(folder: Path) -> None:
    three = tables(folder, tables=["t[0-2]"])
    assert [len(three.tables[side]) for side in SPLITS] == [1, 1, 1]
    with pytest.raises(UsageError, match=r"2 groups of tables cannot fill .*validation=0"):
        tables(folder, tables=["t[0-1]"])
    one = tables(folder, tables=["t0"], split=Shares(0.0, 0.0, 1.0, 0))
    assert list(side_of(one).items()) == [("t0", "test")]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"tables": ["iris"]}, r"source.tables: 'iris' matches none of the 10 tables"),
        ({"tables": ["t0?"]}, r"source.tables: 't0\?' .*; did you mean t0\?"),
        ({"tables": ["t0", "!t0"]}, r"no table for classification is left to read"),
        ({"targets": {"t99": "a"}}, r"source.targets: there is no table 't99'"),
        ({"groups": {"g": ["x*"]}}, r"source.groups.g: 'x\*' matches none"),
        ({"groups": {"g": ["t0"], "h": ["t*"]}}, r"source.groups: 't0' is both in g and in h"),
    ],
)
def test_arguments_that_do_not_fit(folder: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        tables(folder, **changes)


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        ("name\nt0\n", "every line needs a name in the column 'table'"),
        ("table\nt0\nt0\n", "lists the table 't0' twice"),
        ("table,split\nt0,val\n", "the split of 't0' is 'val'; it must be train, validation or"),
        ("table,kind\nt0,binary\n", "the kind of 't0' is 'binary'; it must be classification or"),
    ],
)
def test_an_index_that_is_wrong(folder: Path, index: str, complaint: str) -> None:
    (folder / "index.csv").write_text(index)
    with pytest.raises(UsageError, match=complaint):
        tables(folder)


def test_folders_of_no_use(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"source=tables needs the folder .* add path=FOLDER"):
        tables(None)
    with pytest.raises(UsageError, match="nowhere' does not exist"):
        tables(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"t0.csv' is a file; name the folder it is in"):
        tables(folder / "t0.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no table: no file that ends in .csv, .parquet"):
        tables(tmp_path / "empty")
    write(folder / "t0.arff", 0)
    with pytest.raises(UsageError, match=r"holds the table 't0' twice, as t0.arff and as t0.csv"):
        tables(folder)


def test_a_second_start_reads_no_file_and_gives_the_same_episodes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with (folder / "t0.csv").open("a") as file:
        file.write("1,2,3,\n")
    first = sample(tables(folder), "test", PROTOCOL, 8, torch.Generator().manual_seed(1))
    monkeypatch.setattr(reading, "read_table", None)
    caplog.clear()
    second = sample(tables(folder), "test", PROTOCOL, 8, torch.Generator().manual_seed(1))
    assert torch.equal(first.support.x, second.support.x)
    assert torch.equal(first.query_y, second.query_y)
    assert "t0.csv: 1 rows without a value of 'target' are left out" in caplog.text
    tables(folder, split=Folds(5, 2, 0), groups={"pair": ["t1", "t2"]})  # the cache still holds


@pytest.mark.parametrize(
    "changes", [{"target": "a"}, {"targets": {"t1": "b"}}, {"tables": ["!t0"]}]
)
def test_what_matters_is_read_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    tables(folder, kind="classification")
    read = []
    monkeypatch.setattr(reading, "read_table", lambda *arguments: read.append(arguments))
    with pytest.raises(TypeError):  # what the stand-in gives is no table
        tables(folder, **changes)
    assert read


def test_a_file_that_changes_is_read_anew(folder: Path, cache: Path) -> None:
    assert (
        len(tables(folder, tables=["t0"], split=Shares(0.0, 0.0, 1.0, 0)).tables["test"][0].y) == 40
    )
    write(folder / "t0.csv", 0, n=44)
    assert (
        len(tables(folder, tables=["t0"], split=Shares(0.0, 0.0, 1.0, 0)).tables["test"][0].y) == 44
    )
    assert len(list(cache.iterdir())) == 1


def test_the_commonest_class_of_a_table_against_the_others(folder: Path) -> None:
    """Whichever comes first of equals; what is kept prepared is the table with all its classes."""
    n_class = {"t0": [5, 20, 15], "t1": [14, 13, 13], "t2": [10, 15, 15], "t3": [12, 28, 0]}
    for name, counts in n_class.items():
        frame = pd.read_csv(folder / f"{name}.csv")
        labels = np.repeat([*"pqr"], counts)
        frame.assign(target=np.random.default_rng(0).permutation(labels)).to_csv(
            folder / f"{name}.csv", index=False
        )
    split = Shares(0.0, 0.0, 1.0, 0)
    for classes in ("commonest_or_not", "all", "commonest_or_not"):
        source = tables(folder, tables=[*n_class], split=split, classes=classes)
        by_name = {table.name: table for table in source.tables["test"]}
        commonest = {"t0": "q", "t1": "p", "t2": "q", "t3": "q"}
        for name, label in commonest.items():
            table, frame = by_name[name], pd.read_csv(folder / f"{name}.csv")
            if classes == "all":
                assert table.classes == tuple(sorted(set(frame["target"])))
                assert with_classes(table, "all") is table
                continue
            assert table.classes == (label, f"not {label}")
            assert np.array_equal(table.y == 0, frame["target"] == label)
            assert set(table.y) == {0, 1}
    episodes = sample(source, "test", PROTOCOL, 8, torch.Generator().manual_seed(0))
    assert episodes.support.n_classes.tolist() == [2] * 8


def test_the_commonest_class_of_what_has_none(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"is for regression: source.classes=commonest_or_not"):
        tables(folder, kind="regression", target="a", text="drop", classes="commonest_or_not")
    frame = pd.read_csv(folder / "t0.csv")
    frame.assign(target="x").to_csv(folder / "t0.csv", index=False)
    with pytest.raises(MetamineError, match=r"^\S+t0\.csv: the target .* a single class, x, no"):
        tables(folder, classes="commonest_or_not")


def test_regression(folder: Path) -> None:
    source = tables(folder, kind="regression", target="a", text="drop")
    episodes = sample(source, "train", PROTOCOL, 4, torch.Generator().manual_seed(0))
    assert source.kind == episodes.support.kind == "regression"
    assert source.tables["train"][0].features == ("b", "c", "target")
    assert source.tables["train"][0].categorical.tolist() == [False, False, True]


UCI = Path(os.environ.get("METAMINE_SHARED") or "/nowhere") / "data" / "uci"


@pytest.mark.skipif(not UCI.exists(), reason="METAMINE_SHARED names no folder with data/uci")
def test_the_uci_tables(caplog: pytest.LogCaptureFixture) -> None:
    source = tables(UCI)
    assert len(names(source)) == 116
    assert "acute-inflammation and acute-nephritis hold the same rows" in caplog.text
    sides = side_of(source)
    assert sides["energy-y1"] == sides["energy-y2"]
    index = pd.read_csv(UCI / "index.csv", index_col="table")
    for side in SPLITS:
        for table in source.tables[side]:
            about = index.loc[table.name]
            assert table.x.shape == (about["rows"], about["features"]), table.name
            assert len(table.classes) == about["classes"]
            assert np.isnan(table.x).sum() == about["nan"]
        episodes = sample(source, side, PROTOCOL, 32, torch.Generator().manual_seed(0))
        assert episodes.query_x.isfinite().all()
