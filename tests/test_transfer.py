"""`metamine transfer`: what is trained, what the gains are, and what would have foretold them."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from making import table
from omegaconf import OmegaConf
from running import files
from scipy.stats import spearmanr

from metamine import checkpoint, cli
from metamine.checkpoint import Checkpoint
from metamine.config import build
from metamine.errors import MetamineError, UsageError
from metamine.hydra_app import designed as designs
from metamine.hydra_app.composed import composed
from metamine.hydra_app.designed import design
from metamine.methods.data.meta_features import meta_features
from metamine.methods.metric.similarity import labelled
from metamine.plan import Plan
from metamine.report.transferred import write_report
from metamine.statistics import compare
from metamine.task_map import similarities
from metamine.transfer.correlation import correlations, midranks, spearman
from metamine.transfer.design import ALL, Design, Row
from metamine.transfer.gains import by_table, gains, matrix, negative
from metamine.transfer.predictors import (
    DRAWN,
    EPISODES,
    PREDICTORS,
    distance,
    foretold,
    similarity_of,
)

# Name -> group, columns, classes.
TABLES = {"a1": ("a", 3, 2), "a2": ("a", 4, 3), "b": ("b", 6, 3), "c": ("c", 5, 4)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tables in three groups."""
    folder = tmp_path_factory.mktemp("tables")
    for seed, (name, (_, n_features, n_classes)) in enumerate(TABLES.items()):
        made = table(name, n_rows=90, n_features=n_features, n_classes=n_classes, seed=seed)
        frame = pd.DataFrame(made.x, columns=list(made.features))
        frame.assign(target=[f"class {y}" for y in made.y]).to_csv(
            folder / f"{name}.csv", index=False
        )
    lines = "\n".join(f"{name},{group}" for name, (group, *_) in TABLES.items())
    (folder / "index.csv").write_text(f"table,group\n{lines}\n")
    return folder


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Design]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("METAMINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        words = ["source=tables", f"path={folder}", "source.text=drop", "seed=0,1", "steps=3"]
        yield design(words, None, None)


@pytest.fixture(scope="module")
def similar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of method=nearest_task leaves: its config and a checkpoint."""
    run = tmp_path_factory.mktemp("runs") / "similar"
    node = composed(["method=nearest_task", "evaluation=transfer", "device=cpu"])["method"]
    run.mkdir()
    (run / "config.yaml").write_text(OmegaConf.to_yaml({"method": node}))
    torch.manual_seed(1)
    state = Checkpoint(1, build(node).state_dict(), {}, {}, 0, [], 1, 0.0, 0.0)
    checkpoint.save(run / "checkpoints", state)
    return run


def results(made: Design, row: Row, seed: int) -> pd.DataFrame:
    """Made-up scores of a row on the tables of the others, and, as a run has them, on more."""
    rng = np.random.default_rng([*row.name.encode(), seed])
    places = [(made.source.name, "5-shot", name) for name in TABLES if name not in row.tables]
    places += [("elsewhere", "5-shot", "b"), (made.source.name, "1-shot", "b")]
    rows = [
        {
            "method": method,
            "role": role,
            "source": source,
            "protocol": protocol,
            "table": name,
            "episode": episode,
            "seed": seed,
            "fallback": False,
            "accuracy": rng.uniform(),
            "mse": rng.uniform(),
        }
        for source, protocol, name in places
        for role, method in (("meta", "ProtoNet"), ("from scratch", "from scratch"))
        for episode in range(4)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=seed)


@pytest.fixture
def found(made: Design, tmp_path: Path) -> list[tuple[Row, Path]]:
    places = []
    for row in made.rows:
        for seed in (0, 1):
            path = tmp_path / f"{row.name} {seed}"
            path.mkdir()
            results(made, row, seed).to_parquet(path / "results.parquet")
            (path / "run.json").write_text(json.dumps({"status": "done"}))
            places.append((row, path))
    return places


def test_what_is_trained(made: Design, folder: Path) -> None:
    assert {row.name: row.tables for row in made.rows if row.kind == "part"} == {
        "a": ("a1", "a2"),
        "b": ("b",),
        "c": ("c",),
    }
    assert [row.name for row in made.rows if row.kind == "prior"] == list(designs.PRIORS)
    assert made.columns == [row.name for row in made.rows[:3]] + [ALL]
    assert all(row.cell.words[-2:] == ("seed=0,1", "steps=3") for row in made.rows)
    for row in (made.rows[0], made.rows[-1]):
        one = [word for word in row.cell.words if word != "seed=0,1"]
        config = composed(one)
        assert config["checkpoint_every"] == config["steps"] == 3
        source = build(config["source"])
        plans = build(config["evaluation"]).plans(source)
        (tested,) = (plan for plan in plans if plan.source.name == made.source.name)
        assert tested.protocol_name == made.protocol == "5-shot"
        assert {name for each in tested for name in each.tables} == set(TABLES) - {*row.tables}
        if row.kind == "part":
            assert {each.name for each in source.tables["train"]} == {*row.tables}
        else:
            assert source.endless
            assert source.name == row.name
        assert tested.source.place == str(folder)
    alike = composed(made.similarity.words)
    assert alike["source"]["name"] == "synthetic"
    assert alike["method"]["_target_"].endswith("NearestTask")
    assert alike["steps"] == 3


def test_groups_stay_whole_in_fewer_parts(folder: Path) -> None:
    words = ["source=tables", f"path={folder}", "source.kind=classification"]
    two = design(words, 2, None)
    parts = [row.tables for row in two.rows if row.kind == "part"]
    assert [len(part) for part in parts] == [2, 2]
    assert {"a1", "a2"} in map(set, parts)
    assert two.columns == ["part 1", "part 2", ALL]


def test_gains_are_differences_on_the_same_episodes(
    made: Design, found: list[tuple[Row, Path]]
) -> None:
    measured = gains(made, found)
    cells, pairs = matrix(measured, made), by_table(measured, made)
    assert list(cells["row"].unique()) == [row.name for row in made.rows]
    by_hand: dict[tuple[str, str], float] = {}
    for row in made.rows:
        frame = pd.concat([results(made, row, seed) for seed in (0, 1)])
        frame = frame[(frame["source"] == made.source.name) & (frame["protocol"] == "5-shot")]
        mean = frame.groupby(["table", "role"])["accuracy"].mean()
        for name in TABLES:
            if name not in row.tables:
                by_hand[row.name, name] = mean[name, "meta"] - mean[name, "from scratch"]
        for column in made.columns:
            names = [name for name in TABLES if column in (ALL, made.part_of[name])]
            there = [by_hand[row.name, name] for name in names if (row.name, name) in by_hand]
            cell = cells[(cells["row"] == row.name) & (cells["column"] == column)]
            assert list(cell["mean"]) == pytest.approx([np.mean(there)] if there else [])
        # Intervals: those of the paired comparison in every report.
        (paired,) = compare(frame.drop(columns="mse")).to_dict("records")
        whole = cells[(cells["row"] == row.name) & (cells["column"] == ALL)].iloc[0]
        assert [whole["low"], whole["high"]] == pytest.approx([paired["low"], paired["high"]])
    told = {(each["row"], each["table"]): each["mean"] for _, each in pairs.iterrows()}
    assert told == pytest.approx(by_hand)
    assert set(pairs["n_episodes"]) == {4}


def test_of_errors_a_gain_is_what_is_saved(made: Design, found: list[tuple[Row, Path]]) -> None:
    source = copy.copy(made.source)
    source.kind = "regression"
    measured = gains(replace(made, source=source), found[:1])
    frame = results(made, found[0][0], 0)
    frame = frame[(frame["source"] == made.source.name) & (frame["protocol"] == "5-shot")]
    mean = frame.groupby("role")["mse"].mean()
    assert measured["gain"].mean() == pytest.approx(mean["from scratch"] - mean["meta"])


def test_what_is_not_done_is_passed_over(made: Design, found: list[tuple[Row, Path]]) -> None:
    (found[0][1] / "results.parquet").unlink()
    assert gains(made, found)["method"].nunique() == len(made.rows)
    with pytest.raises(MetamineError, match="nothing is finished"):
        gains(made, found[:1])


def test_the_rate_of_negative_transfer() -> None:
    pairs = pd.DataFrame(
        [
            ("part", -0.1, -0.2, -0.05),
            ("part", -0.1, -0.2, 0.05),
            ("part", 1e-15, -1e-15, 1e-15),
            ("part", 0.3, 0.1, 0.4),
            ("prior", 0.1, -0.1, 0.2),
        ],
        columns=["kind", "mean", "low", "high"],
    )
    assert negative(pairs).to_numpy().tolist() == [
        ["part", 4, 0.5, 0.25, 0.25],
        ["prior", 1, 0.0, 0.0, 0.0],
        [ALL, 5, 0.4, 0.2, 0.2],
    ]


def test_spearman_is_scipy_s_also_where_pairs_count_several_times() -> None:
    rng = np.random.default_rng(0)
    x_N, y_N = rng.integers(0, 6, 40).astype(float), rng.normal(size=40)
    y_N += 0.3 * x_N
    times_BN = np.stack([np.ones(40), *rng.integers(0, 4, (5, 40)).astype(float)])
    found_B = spearman(x_N, y_N, times_BN)
    for times_N, rho in zip(times_BN.astype(int), found_B, strict=True):
        expected = spearmanr(x_N.repeat(times_N), y_N.repeat(times_N)).statistic
        assert rho == pytest.approx(expected)
    assert np.isnan(spearman(np.zeros(40), y_N, times_BN)).all()
    assert midranks(np.array([5.0, 1.0, 5.0, 2.0]), np.array([[1.0, 2, 1, 0]])).tolist() == [
        [3.5, 1.5, 3.5, 2.5]
    ]


def test_intervals_of_correlations_are_over_tables() -> None:
    """Three equal copies of each table leave the interval as it is; three times the tables not."""
    rng = np.random.default_rng(1)
    x_G = rng.normal(size=30)
    y_G = x_G + rng.normal(size=30)
    frame = pd.DataFrame({"kind": "part", "table": range(30), "mean": y_G, "x": x_G})
    (once,) = correlations(frame, ["x"]).to_dict("records")
    assert once["rho"] == pytest.approx(spearmanr(x_G, y_G).statistic)
    assert once["low"] < once["rho"] < once["high"]
    copies = pd.concat([frame] * 3)
    (thrice,) = correlations(copies, ["x"]).to_dict("records")
    keys = ["rho", "low", "high", "tables"]
    assert [thrice[key] for key in keys] == pytest.approx([once[key] for key in keys])
    assert (once["pairs"], thrice["pairs"]) == (30, 90)
    more = pd.concat([frame.assign(table=frame["table"] + 30 * copy) for copy in range(3)])
    (wider,) = correlations(more, ["x"]).to_dict("records")
    assert wider["high"] - wider["low"] < 0.75 * (once["high"] - once["low"])


def test_within_tables_the_level_of_a_table_counts_for_nothing() -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        [
            {"kind": "part", "table": name, "x": row + 10 * name, "mean": row - 10 * name}
            for name in map(float, rng.permutation(12))
            for row in range(4)
        ]
    )
    frame = frame.assign(z=frame["table"], gone=np.nan)
    x, z = correlations(frame, ["x", "z", "gone"]).to_dict("records")
    assert x["rho"] < -0.9
    assert x["within"] == x["within_low"] == x["within_high"] == pytest.approx(1)
    assert z["rho"] < -0.9
    assert np.isnan(z["within"])
    assert correlations(frame[frame["table"] < 2], ["x"]).empty  # of two tables nothing is said


def test_predictors_by_hand(made: Design, similar: Path) -> None:
    similarity = similarity_of(similar, [])
    pairs = pd.DataFrame(
        [
            {"row": row.name, "table": name}
            for row in made.rows
            for name in TABLES
            if name not in row.tables
        ]
    )
    told = pairs.join(foretold(pairs, made, similarity)).set_index(["row", "table"])
    assert list(told) == list(PREDICTORS)
    evaluation = build(made.config["evaluation"])
    sizes = evaluation.protocols["5-shot"]
    whole = {
        each.tables[0]: labelled(each.episodes)
        for each in Plan(made.source, "test", "5-shot", sizes, EPISODES, 1, evaluation.seed)
    }
    features = {name: meta_features(each).double().numpy() for name, each in whole.items()}
    mean = pd.DataFrame({name: each.mean(axis=0) for name, each in features.items()}).T
    spread = mean.std(ddof=0)
    varies = spread > 1e-6

    gap = ((mean.loc["b"] - mean.loc[["a1", "a2"]].mean()) / spread)[varies]
    assert told.loc[("a", "b"), "meta_distance"] == pytest.approx((gap**2).mean() ** 0.5)
    assert told.loc[("a", "b"), "log_columns"] == pytest.approx(np.log(6))
    assert told.loc[("linear", "c"), "log_classes"] == pytest.approx(np.log(4))
    assert told.loc[("a", "b"), "columns_apart"] == pytest.approx(np.log(6) - np.log(12) / 2)
    assert told.loc[("a", "c"), "classes_apart"] == pytest.approx(np.log(4) - np.log(6) / 2)
    assert (told["rows_apart"].dropna().abs() < 1e-12).all()

    with torch.no_grad():
        s_NN = similarities(similarity, torch.stack([similarity.embed(w) for w in whole.values()]))
    s = pd.DataFrame(s_NN, index=list(whole), columns=list(whole))
    assert told.loc[("a", "b"), "similarity"] == pytest.approx(s.loc[["a1", "a2"], "b"].mean())
    assert told.loc[("c", "a1"), "similarity"] == pytest.approx(s.loc["c", "a1"])

    assert told.loc["linear", "meta_distance"].isna().all()
    assert told.loc["a", "prior_distance"].isna().all()
    three = replace(sizes, way=3)  # as many classes as the table has
    drawn = Plan(made.priors["linear"], "test", "5-shot", three, 1, DRAWN, evaluation.seed)
    of_prior = np.concatenate([meta_features(labelled(each.episodes)).double() for each in drawn])
    assert of_prior.shape[0] == DRAWN
    scale = of_prior.std(axis=0)
    z = (mean.loc["b"].to_numpy() - of_prior.mean(axis=0)) / np.where(scale > 1e-6, scale, np.inf)
    expected = np.sqrt((z**2).sum() / (scale > 1e-6).sum())
    assert told.loc[("linear", "b"), "prior_distance"] == pytest.approx(expected)

    without = foretold(pairs, made, None)
    assert without["similarity"].isna().all()
    assert np.allclose(without["prior_distance"], told["prior_distance"].to_numpy(), equal_nan=True)
    assert np.isnan(distance(np.ones(2), np.zeros(2), np.zeros(2)))


def test_only_a_run_of_nearest_task_knows_a_similarity(similar: Path, tmp_path: Path) -> None:
    node = composed(["evaluation=transfer", "device=cpu"])["method"]
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml({"method": node}))
    state = Checkpoint(1, build(node).state_dict(), {}, {}, 0, [], 1, 0.0, 0.0)
    checkpoint.save(tmp_path / "checkpoints", state)
    with pytest.raises(UsageError, match=r"was trained with ProtoNet, .* by --similarity"):
        similarity_of(tmp_path, [])
    with pytest.raises(UsageError, match="nowhere is no run directory"):
        similarity_of(Path("nowhere"), [])


@pytest.mark.pictures
def test_the_report(made: Design, found: list[tuple[Row, Path]], tmp_path: Path) -> None:
    output, measured = tmp_path / "out", gains(made, found)
    pairs = by_table(measured, made)
    pairs = pairs.join(foretold(pairs, made, None))
    shown = write_report(made, measured, pairs, output, ["b: it broke"], 90)
    names = ["correlations.csv", "gains.csv", "matrix.csv"]
    names += [f"pictures/{name}" for name in ("matrix.png", "matrix.svg", "scatter.png")]
    assert files(output) == [*names, "pictures/scatter.svg", "report.html", "report.md"]
    text = (output / "report.md").read_text()
    assert shown in text
    assert "- missing: b: it broke" in text
    assert "![scatter](pictures/scatter.png)" in text
    wide = pd.read_csv(output / "matrix.csv", index_col="row")
    assert wide.columns.tolist() == made.columns
    assert np.isnan([wide.loc[part, part] for part in "abc"]).all()
    cells = matrix(measured, made)
    whole = cells[cells["column"] == ALL].set_index("row")
    assert wide[ALL].to_dict() == pytest.approx(whole["mean"].to_dict())
    assert f"{whole.loc['linear', 'mean']:+.3f} ± " in shown
    pairs = pd.read_csv(output / "gains.csv")
    assert len(pairs) == 3 * 4 + (2 + 3 + 3)
    assert (pairs["part"] == pairs["table"].str[0]).all()


def run_cli(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["metamine", "transfer", *words])
    try:
        return cli.main()
    except SystemExit as left:
        return int(left.code or 0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["source=sinusoid"],
            "transfer shares out the tables of a source, and source=sinusoid",
        ),
        (["source=tables"], "source=tables needs the folder of the tables: add path=FOLDER"),
        (["HERE", "stepz=3"], "there is no key stepz; did you mean steps?"),
        (["HERE", "steps"], "'steps' cannot be read; an override is written key=value"),
        (["HERE", "--jobs", "0"], "--jobs 0 must be 1 at least"),
        (["HERE", "--groups", "1"], "--groups 1 must be 2 at least, and 3 at most"),
        (["HERE", "--groups", "4"], "--groups 4 must be 2 at least, and 3 at most"),
        (
            ["HERE", "source.tables=[a*]"],
            "all tables of PLACE are of one group, and transfer",
        ),
        (["HERE", "method=maml,protonet"], "method=maml,protonet gives several values, and"),
        (["HERE", "source/split=folds"], "source/split=folds: transfer shares out the tables"),
        (["HERE", "source.split.part=1"], "source.split.part=1: transfer shares out the"),
        (["HERE", "experiment=smoke"], "experiment=smoke may choose a source of its own;"),
        (["HERE", "--similarity", "nowhere"], "nowhere is no run directory: it has no config.yaml"),
        (["HERE", "seed=0", "-m"], "transfer has no sweeps; leave out -m (seed=0,1,2 needs none)"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence_and_writes_nothing(
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if words[0] == "HERE":
        words = ["source=tables", f"path={folder}", *words[1:]]
    assert run_cli(monkeypatch, *words) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"metamine: {sentence.replace('PLACE', str(folder))}")
    assert told.count("\n") == 1
    assert [name for name in files(tmp_path) if not name.startswith("cache/")] == []


def test_a_report_of_something_else_is_not_overwritten(
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "mine"
    output.mkdir()
    (output / "report.md").write_text("mine")
    words = ("source=tables", f"path={folder}", "--output", str(output))
    assert run_cli(monkeypatch, *words) == 2
    told = f"{output}/report.md is not that of transfer; choose another place by --output"
    assert capsys.readouterr().err == f"metamine: {told}\n"
    assert files(output) == ["report.md"]


def test_from_nothing_to_a_report(
    tmp_path: Path,
    folder: Path,
    similar: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The program itself, without priors: trained, tested, reported; again, nothing is done."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(designs, "PRIORS", ())  # each run takes seconds
    # The runs look for modules here first: pictures of theirs would take most of the time.
    Path("matplotlib.py").write_text("raise ModuleNotFoundError(name='matplotlib')")
    words = ["source=tables", f"path={folder}", "steps=2", "meta_batch=2", "device=cpu"]
    words += ["evaluation.episodes=2", "evaluation.tasks=2", "evaluation.validation_tasks=2"]
    words += ["--groups", "2", "--similarity", str(similar)]
    assert run_cli(monkeypatch, *words) == 0, capfd.readouterr()
    said = capfd.readouterr().out
    (output,) = (tmp_path / "outputs/transfer").iterdir()
    assert said.endswith(f"\n{output.relative_to(tmp_path)}\n")
    pairs = pd.read_csv(output / "gains.csv")
    assert len(pairs) == 2 * 2
    assert pairs["gain"].between(-1, 1).all()
    assert pairs["similarity"].between(0, 1).all()
    runs = {path: path.stat().st_mtime_ns for path in output.glob("runs/*/trained/*/run.json")}
    assert len(runs) == 2
    first = {name: (output / name).read_bytes() for name in files(output) if "/" not in name}
    assert run_cli(monkeypatch, *words) == 0
    assert "2 of 2 cells are done already" in capfd.readouterr().out
    assert runs == {path: path.stat().st_mtime_ns for path in runs}
    assert first == {name: (output / name).read_bytes() for name in first}
