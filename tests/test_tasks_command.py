"""`metamine tasks similarity` on a small trained run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from making import built_method, table
from omegaconf import OmegaConf
from running import config, files

from metamine import checkpoint, cli
from metamine.checkpoint import Checkpoint
from metamine.config import build
from metamine.methods.metric.similarity import labelled
from metamine.plan import Plan
from metamine.task_map import nearest, scaled_to_plane, similarities
from metamine.task_map_job import FILES

Tasks = Callable[..., tuple[int, str, str]]
BATCHES = 3
ALSO = {"_target_": "metamine.sources.shipped.Shipped", "tables": ["iris", "wine"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tables to compare, one of them trained on, and one that is too small."""
    folder = tmp_path_factory.mktemp("tables")
    for name, seed in {"alone": 0, "first": 1, "second": 2, "third": 3}.items():
        made = table(name, n_rows=150, seed=seed)
        frame = pd.DataFrame(made.x, columns=list(made.features))
        frame.assign(target=[f"class {y}" for y in made.y]).to_csv(
            folder / f"{name}.csv", index=False
        )
    (folder / "tiny.csv").write_text("a,target\n1,x\n2,y\n3,x\n4,y\n")
    sides = "alone,train\nfirst,test\nsecond,test\nthird,test\ntiny,test\n"
    (folder / "index.csv").write_text("table,split\n" + sides)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of method=nearest_task on the folder leaves: its config and a checkpoint."""
    run = tmp_path_factory.mktemp("runs") / "trained"
    chosen = ("method=nearest_task", "source=tables", f"path={folder}", "source/split=given")
    made = config(*chosen)
    made["evaluation"]["also"] = {}
    made["device"] = "cpu"
    run.mkdir()
    (run / "config.yaml").write_text(OmegaConf.to_yaml(made))
    torch.manual_seed(1)
    method = build(made["method"])
    torch.nn.init.normal_(method.bank_d)
    checkpoint.save(
        run / "checkpoints", Checkpoint(1, method.state_dict(), {}, {}, 0, [], 1, 0.0, 0.0)
    )
    return run


@pytest.fixture
def tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Tasks:
    for variable in ("HYDRA_FULL_ERROR", "METAMINE_COMMAND"):
        monkeypatch.setenv(variable, "0")  # set by the program; put back after the test
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["metamine", "tasks", "similarity", *words])
        try:
            code = cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        return code, *capfd.readouterr()

    return invoke


def by_hand(run: Path, split: str) -> pd.DataFrame:
    """Mean similarity over pairs of sub-batches, a pair at a time."""
    made = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
    source, evaluation = (build(made[key]) for key in ("source", "evaluation"))  # type: ignore[index,call-overload]
    method = build(made["method"])  # type: ignore[index,call-overload]
    method.load_state_dict(checkpoint.load(run / "checkpoints", "best", torch.device("cpu")).method)
    name, sizes = next(iter(evaluation.protocols.items()))
    plan = Plan(source, split, name, sizes, BATCHES, 1, made["seed"])  # type: ignore[arg-type,index,call-overload]
    d_of = {
        each.tables[0]: method.similarity.embed(labelled(each.episodes)).detach().double()
        for each in plan
    }
    slope, level = method.similarity.log_a.exp().item(), method.similarity.b.item()
    s = pd.DataFrame(index=list(d_of), columns=list(d_of), dtype=float)
    for one, first in d_of.items():
        for other, second in d_of.items():
            found = [
                1 / (1 + np.exp(slope * np.sqrt(((a - b) ** 2).sum().item() + 1e-6) - level))
                for i, a in enumerate(first)
                for j, b in enumerate(second)
                if one != other or i != j
            ]
            s.loc[one, other] = np.mean(found)
    return s


@pytest.mark.pictures
def test_the_map_of_a_run(tasks: Tasks, run: Path, tmp_path: Path) -> None:
    code, out, err = tasks(f"run={run}", "output=map", "split=test", f"batches={BATCHES}")
    assert code == 0, err
    assert files(tmp_path / "map") == sorted(FILES)
    written = pd.read_csv(tmp_path / "map/similarity.csv", index_col="table")
    expected = by_hand(run, "test")
    assert list(written.index) == list(written.columns) == ["first", "second", "third"]
    assert np.allclose(written, expected.loc[written.index, written.columns])
    places = pd.read_csv(tmp_path / "map/map.csv")
    assert list(places.columns) == ["table", "source", "split", "x", "y"]
    assert set(places["split"]) == {"test"}
    assert np.allclose(places[["x", "y"]], scaled_to_plane(-np.log(written.to_numpy())))
    assert all(line in out for line in nearest(written))
    assert "tiny is left out: it needs 20 rows in two classes" in out
    assert out.endswith(f"\n{tmp_path / 'map'}\n")

    before = (tmp_path / "map/map.csv").read_bytes()
    code, _, err = tasks(f"run={run}", "output=map", "seed=5")
    assert code == 2
    refused = "metamine: map/similarity.csv is there already; choose another output\n"
    assert err.endswith(refused)
    assert (tmp_path / "map/map.csv").read_bytes() == before


def test_all_tables_of_the_sources_or_those_of_another(
    tasks: Tasks, run: Path, folder: Path, tmp_path: Path
) -> None:
    """Without an output, in a folder that names the run."""
    also = tmp_path / "also"
    shutil.copytree(run, also)
    made = OmegaConf.load(run / "config.yaml")
    made.evaluation.also = {"shipped": ALSO}
    (also / "config.yaml").write_text(OmegaConf.to_yaml(made))
    code, _, err = tasks(f"run={also}", f"batches={BATCHES}")
    assert code == 0, err
    (written,) = tmp_path.glob("outputs/tasks/*/*_also/map.csv")
    places = pd.read_csv(written)
    assert dict(zip(places["table"], places["split"], strict=True)) == {
        "alone": "train",
        "first": "test",
        "second": "test",
        "third": "test",
        "iris": "test",
        "wine": "test",
    }
    code, _, err = tasks(f"run={also}", "output=other", "source=tables", f"path={folder}")
    assert code == 0, err
    assert set(pd.read_csv(tmp_path / "other/map.csv")["source"]) == {folder.name}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["split=tset"], 'split="tset" must be'),
        (["batches=1"], "batches=1 must be greater than or equal to 2"),
        (["checkpoint=first"], "checkpoint=first is neither best nor last"),
        (["-m"], "tasks similarity makes one map, and has no sweeps; leave out -m"),
        (["split=train"], "there is 1 table to compare in split=train, and two are needed"),
        (["split=validation"], "there are no tables to compare in split=validation"),
        (["method=protonet"], "RUN was trained with ProtoNet, which learns no similarity of tasks"),
        (["method.bank=3", "method.nearest=2"], "the checkpoint of RUN does not fit the method"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence_and_writes_nothing(
    tasks: Tasks, run: Path, tmp_path: Path, words: list[str], sentence: str
) -> None:
    code, _, err = tasks(f"run={run}", "output=map", *words)
    assert code == 2
    told = [line for line in err.splitlines() if line.startswith("metamine: ")]
    assert len(told) == 1
    assert told[0].startswith(f"metamine: {sentence.replace('RUN', str(run))}")
    assert not (tmp_path / "map").exists()


def test_the_output_is_a_file(tasks: Tasks, run: Path, tmp_path: Path) -> None:
    (tmp_path / "map").write_text("mine")
    code, _, err = tasks(f"run={run}", "output=map")
    assert code == 2
    assert err == "metamine: map is not a directory; choose another output\n"
    assert (tmp_path / "map").read_text() == "mine"


def test_points_in_the_plane_come_back() -> None:
    points_N2 = np.random.default_rng(0).normal(size=(7, 2))
    distance_NN = np.linalg.norm(points_N2[:, None] - points_N2, axis=-1)
    found_N2 = scaled_to_plane(distance_NN)
    assert np.allclose(np.linalg.norm(found_N2[:, None] - found_N2, axis=-1), distance_NN)
    assert (found_N2.var(axis=0)[0]) > found_N2.var(axis=0)[1]
    on_a_line = scaled_to_plane(np.array([[0.5, 3.0], [3.0, 0.5]]))  # a diagonal counts for nothing
    assert np.allclose(np.abs(on_a_line), [[1.5, 0], [1.5, 0]], atol=1e-6)


def test_tables_too_far_apart_for_a_number_still_have_a_place() -> None:
    similarity = built_method("nearest_task").similarity
    far_NED = torch.zeros(2, 2, 16)
    far_NED[1] = 1e4
    s_NN = similarities(similarity, far_NED)
    assert (s_NN > 0).all()
    assert np.isfinite(scaled_to_plane(-np.log(s_NN))).all()
