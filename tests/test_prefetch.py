"""Prefetching from OpenML: whole, right or refused, whatever the server does meanwhile."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from openml_server import (
    KINDS,
    SKLEARN_COMPLETE,
    Dataset,
    Server,
    Study,
    made_dataset,
    made_task,
    shared_dataset,
    shared_ids,
    sklearn_dataset,
)
from scipy.io.arff import loadarff

from metamine.commands.prefetch import main
from metamine.errors import MetamineError, UsageError
from metamine.openml import store as kept
from metamine.openml.suites import resolve
from metamine.prefetch.fetch import Prefetch, Request, Summary, describe_changes, verify

pytest.importorskip("openml")
# The openml package leaves a file with splits open that it cannot read.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning"
)

SOAK = bool(os.environ.get("METAMINE_SOAK"))
# In addresses: the task, the data set, its features, qualities, data files, the splits.
LASTING = ("hang", "stall", "slow", "drip")
KINDS_OF_REQUEST = (
    "xml/task/101",
    "xml/data/11",
    "xml/data/features/11",
    "xml/data/qualities/11",
    "dataset_11.pq",
    "made%20.arff",
    "Task_101_splits",
)


def made_frame(n_rows: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(n_rows)],
            "number": rng.normal(size=n_rows),
            "holes": [None if i % 3 == 0 else i * 1e10 for i in range(n_rows)],
            "bit": [str(i % 2) for i in range(n_rows)],
            "flag": [("True", "False", None)[i % 3] for i in range(n_rows)],
            "text": [f"it's {i}, or {i + 1}" for i in range(n_rows)],
            "when": ["2020-01-01"] * n_rows,
            "ignored": range(n_rows),
            "class": [("<1", ">=1")[i % 2] for i in range(n_rows)],
        }
    )
    return frame


NOMINAL = {
    "bit": ("0", "1"),
    "flag": ("True", "False", "Never"),
    "class": ("<1", ">=1"),
}


def made(number: int = 11, n_rows: int = 12, **changes: Any) -> Dataset:
    options: dict[str, Any] = {
        "nominal": NOMINAL,
        "strings": ("id", "text"),
        "dates": ("when",),
        "row_id": "id",
        "ignore": ("ignored",),
    }
    return made_dataset(number, "made ", made_frame(n_rows), "class", **options | changes)


def numbers(number: int = 12, n_rows: int = 10, **changes: Any) -> Dataset:
    rng = np.random.default_rng(number)
    frame = pd.DataFrame(rng.normal(size=(n_rows, 3)).round(2), columns=["a", "b", "y"])
    return made_dataset(number, "numbers", frame, "y", **changes)


def world(**changes: Any) -> Server:
    """Two tasks, one of them of a data set without a Parquet file, and the suite of both."""
    return Server(
        [made(**changes), numbers(parquet=False)],
        [made_task(101, 11, "class", 12, folds=3), made_task(102, 12, "y", 10, kind="regression")],
        [Study(3, "world", "world", (101, 102), (11, 12))],
    )


def request(server: Server, store: Path, **keys: Any) -> Request:
    defaults: dict[str, Any] = {
        "suite": None,
        "tasks": None,
        "datasets": None,
        "dest": str(store),
        "server": server.url,
        "format": "auto",
        "splits": True,
        "timeout": 0.3,
        "tries": 3,
        "most_cells": 10**6,
        "most_bytes": 10**7,
        "pause": 0,
    }
    return Request(**defaults | keys)


def fetch(server: Server, store: Path, **keys: Any) -> Summary:
    asked = request(server, store, **keys)
    return Prefetch(asked).run(asked.wanted())


def refused(server: Server, store: Path, **keys: Any) -> str:
    """The sentence with which the only thing asked for is refused; nothing of it may be kept."""
    summary = fetch(server, store, **{"tries": 1} | keys)
    (why,) = summary.failed.values()
    assert "\n" not in why
    assert len(why) < 400
    assert not list(store.glob("*/*/*.json"))
    assert leftovers(store) == []
    return why


def entry(store: Path, number: int = 11) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    folder = store / "datasets" / str(number)
    return (
        kept.read(folder, "datasets"),
        np.load(folder / "cells.npy"),
        np.load(folder / "targets.npy"),
    )


def leftovers(store: Path) -> list[str]:
    """What lies in .partial apart from locks; the openml package makes a folder `openml` there."""
    found = (store / ".partial").rglob("*")
    return sorted(
        str(path.relative_to(store)) for path in found if path.suffix != ".lock" and path.is_file()
    )


NOT_COMPARED = {"fetched", "server", "digest", "openml_version", "metamine_version"}
PROSE = {"name", "version", "licence", "creator", "citation", "source_format", "md5"}


def contents(store: Path, prose: bool = True) -> dict[str, Any]:
    """All that a store says, entry by entry; whether it was sound is checked too."""
    sound, problems = verify(store, repair=False)
    assert problems == []
    found: dict[str, Any] = {}
    for file in sorted(store.glob("*/*/*")):
        name = str(file.relative_to(store))
        if name.startswith(".partial"):
            continue
        if file.suffix == ".json":
            content = json.loads(file.read_text())
            content["files"].pop("data.parquet", None)  # compared as a table
            dropped = NOT_COMPARED | (set() if prose else PROSE)
            found[name] = {key: value for key, value in content.items() if key not in dropped}
        elif file.suffix == ".parquet":
            found[name] = pq.read_table(file).to_pydict()
            for column, values in found[name].items():
                found[name][column] = [None if value != value else value for value in values]
        else:
            found[name] = file.read_bytes()
    assert len([name for name in found if name.endswith(".json")]) == sound
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store = tmp_path_factory.mktemp("undisturbed")
    with world() as server:
        assert not fetch(server, store, suite=None, tasks=[101, 102]).failed
    return contents(store)


@pytest.fixture(scope="module")
def undisturbed_arff(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store = tmp_path_factory.mktemp("undisturbed")
    with world(parquet=False) as server:
        assert not fetch(server, store, tasks=[101, 102]).failed
    return contents(store)


# What is in the store


def independent(arff: bytes) -> dict[str, list[str | None]]:
    """The columns of a dense ARFF file as texts, by pandas."""
    text = arff.decode()
    header, data = re.split(r"(?im)^@data[^\n]*\n", text, maxsplit=1)
    names = []
    for quoted, plain in re.findall(
        r"(?im)^@attribute\s+(?:['\"](.*?)['\"]|([^\s{]+?))(?=\s|\{)", header
    ):
        names.append(quoted or plain)
    frame = pd.read_csv(
        io.StringIO("".join(f"{line}\n" for line in data.splitlines() if line[:1] != "%")),
        names=names,
        dtype=str,
        quotechar='"' if data.count('"') > data.count("'") else "'",
        escapechar="\\",
        skipinitialspace=True,
        keep_default_na=False,
    )
    return {
        str(name): [None if text == "?" else str(text).strip() for text in values]
        for name, values in frame.items()
    }


def check_against(dataset: Dataset, store: Path) -> None:
    """The columns in the store are those of the ARFF file."""
    content, cells, targets = entry(store, dataset.did)
    columns = independent(dataset.arff)
    assert [each["name"] for each in content["columns"]] == list(columns)
    n_features = n_targets = 0
    for column in content["columns"]:
        texts = columns[column["name"]]
        assert len(texts) == content["rows"]
        if column["role"] == "left out":
            assert column["why"]
            continue
        if column["role"] == "feature":
            values, n_features = cells[:, column["at"]], n_features + 1
        else:
            values, n_targets = targets[column["at"]], n_targets + 1
        assert column["missing"] == np.isnan(values).sum()
        if column["type"] == "nominal":
            found = [None if np.isnan(v) else column["levels"][int(v)] for v in values]
            if set(filter(None, texts)) != set(column["levels"]):  # TRUE and True, 1 and 1.0
                assert len(set(zip(found, texts, strict=True))) == len(set(found))
            else:
                assert found == texts
            continue
        truth = np.array([np.nan if text is None else float(text) for text in texts])
        if column["role"] == "feature":
            assert column["mean"] == pytest.approx(np.nanmean(truth), rel=1e-6)
            sd = np.nanstd(truth)
            assert column["sd"] == pytest.approx(sd if sd > 0 else 1.0, rel=1e-5)
            truth = (truth - column["mean"]) / column["sd"]
        np.testing.assert_allclose(values, truth, rtol=1e-5, atol=1e-5)
    assert cells.shape == (content["rows"], n_features)
    assert cells.dtype == np.float32
    assert targets.shape == (n_targets, content["rows"])


@pytest.mark.parametrize("did", SKLEARN_COMPLETE)
def test_the_store_holds_what_the_file_says(did: int, tmp_path: Path) -> None:
    dataset = sklearn_dataset(did)
    with Server([dataset]) as server:
        assert (
            fetch(server, tmp_path, datasets=[did], timeout=10.0)
            .text(tmp_path)
            .startswith("1 fetched")
        )
    check_against(dataset, tmp_path)


def test_iris_is_what_scipy_reads(tmp_path: Path) -> None:
    dataset = sklearn_dataset(61)
    with Server([dataset]) as server:
        fetch(server, tmp_path, datasets=[61])
    data, _ = loadarff(io.StringIO(dataset.arff.decode()))
    content, cells, targets = entry(tmp_path, 61)
    *features, target = content["columns"]
    for column in features:
        back = cells[:, column["at"]] * column["sd"] + column["mean"]
        np.testing.assert_allclose(back, data[column["name"]], rtol=1e-5)
    assert [target["levels"][int(code)].encode() for code in targets[0]] == list(data["class"])
    assert target["role"] == "target"
    assert content["licence"]
    assert content["md5"]


SMALL_SHARED = [
    did
    for did in shared_ids()
    if SOAK or len(str(did)) < 3  # a few, for speed
]


@pytest.mark.parametrize("did", SMALL_SHARED or [pytest.param(0, marks=pytest.mark.skip)])
def test_recorded_sets_are_the_same_by_either_file(did: int, tmp_path: Path) -> None:
    dataset = shared_dataset(did)
    if not SOAK and len(dataset.arff) > 2_000_000:
        pytest.skip("large")
    keys: dict[str, Any] = {"datasets": [did], "timeout": 20.0, "most_bytes": 10**9}
    keys["most_cells"] = 10**9
    with Server([dataset]) as server:
        summary = fetch(server, tmp_path / "arff", format="arff", **keys)
        assert not summary.failed
        if dataset.parquet is not None:
            assert not fetch(server, tmp_path / "parquet", format="parquet", **keys).failed
    if dataset.parquet is not None:
        same_table(tmp_path / "arff", tmp_path / "parquet", did)


def same_table(one: Path, other: Path, number: int) -> None:
    left, right = entry(one, number), entry(other, number)
    assert left[0]["columns"] == right[0]["columns"]
    assert left[0]["rows"] == right[0]["rows"]
    for a, b in zip(left[1:], right[1:], strict=True):
        assert a.tobytes() == b.tobytes()


def test_roles_and_reasons(tmp_path: Path) -> None:
    with world() as server:
        fetch(server, tmp_path, datasets=[11])
    content, cells, targets = entry(tmp_path)
    roles = {each["name"]: each.get("why", each["role"]) for each in content["columns"]}
    assert roles == {
        "id": "row identifier",
        "number": "feature",
        "holes": "feature",
        "bit": "feature",
        "flag": "feature",
        "text": "text",
        "when": "dates",
        "ignored": "ignored by OpenML",
        "class": "target",
    }
    levels = {each["name"]: each.get("levels") for each in content["columns"]}
    assert levels["flag"] == ["False", "True"]  # those that occur
    assert cells.shape == (12, 4)
    assert targets.tolist() == [[0, 1] * 6]


def test_parquet_and_arff_give_the_same(tmp_path: Path) -> None:
    with world() as server:
        for form in ("parquet", "arff"):
            assert not fetch(server, tmp_path / form, tasks=[101], format=form).failed
    same_table(tmp_path / "parquet", tmp_path / "arff", 11)
    assert entry(tmp_path / "parquet")[0]["source_format"] == "parquet"
    assert entry(tmp_path / "arff")[0]["source_format"] == "arff"


@pytest.mark.parametrize("target", ["class", "y"])
def test_sparse_and_dense_give_the_same(target: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "a": [0.0, 1.0, 0.0, None, 2.5, 0.0],
            "b": [0, 0, 0, 7, 0, 0],
            "bit": ["0", "1", "0", "0", None, "0"],
            "class": ["x", "y", "x", "y", "x", "y"],
            "y": [0.0, 0.0, 1.5, 0.0, 2.0, 3.0],
        }
    )
    nominal = {"bit": ("0", "1"), "class": ("x", "y")}
    for form, sparse in (("sparse", True), ("dense", False)):
        dataset = made_dataset(
            11, "a", frame, target, nominal=nominal, sparse=sparse, parquet=False
        )
        with Server([dataset]) as server:
            assert not fetch(server, tmp_path / form, datasets=[11]).failed
    same_table(tmp_path / "sparse", tmp_path / "dense", 11)


def test_splits_are_those_of_openml(tmp_path: Path) -> None:
    with world() as server:
        fetch(server, tmp_path, tasks=[101])
        lines = server.tasks[101].splits.decode().partition("@data\n")[2].split()
    truth = np.zeros((1, 3, 12), dtype=np.uint8)
    for part, row, repeat, fold in (line.split(",") for line in lines):
        truth[int(repeat), int(fold), int(row)] = {"TRAIN": 1, "TEST": 2}[part]
    np.testing.assert_array_equal(np.load(tmp_path / "tasks/101/parts.npy"), truth)


# Passes after the first


def test_a_second_pass_asks_nothing(tmp_path: Path) -> None:
    with world() as server:
        first = fetch(server, tmp_path, tasks=[101, 102])
        assert (first.fetched, first.there, first.failed) == (2, 0, {})
        before = len(server.requests)
        second = fetch(server, tmp_path, tasks=[101, 102])
        assert (second.fetched, second.there, second.failed) == (0, 2, {})
        assert len(server.requests) == before
        assert second.bytes == 0
    gone = fetch(server, tmp_path, tasks=[101, 102])
    assert (gone.fetched, gone.there, gone.failed) == (0, 2, {})


def test_splits_can_be_had_later(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    with world() as server:
        assert not fetch(server, tmp_path, tasks=[101, 102], splits=False).failed
        assert not (tmp_path / "tasks/101/parts.npy").exists()
        assert not fetch(server, tmp_path, tasks=[101, 102]).failed
    assert contents(tmp_path) == undisturbed
    with world() as server:  # and are not lost by asking without
        assert not fetch(server, tmp_path, tasks=[101, 102], splits=False).failed
    assert contents(tmp_path) == undisturbed


def test_a_suite_by_refresh(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    with world() as server:
        snapshot = Prefetch(request(server, tmp_path, suite="world")).refresh("world")
        assert resolve("3", tmp_path) == resolve("world", tmp_path)
        assert not fetch(server, tmp_path, suite="world").failed
        server.studies[3] = dataclasses.replace(server.studies[3], tasks=(102, 103))
        changed = Prefetch(request(server, tmp_path, suite=3)).refresh(3)
    assert "added: [103], gone: [101]" in describe_changes(snapshot, changed)
    assert contents(tmp_path) == undisturbed


# Faults


@pytest.mark.parametrize(
    ("kind", "match", "times"),
    [
        (kind, match, times)
        for kind in KINDS
        for number, match in enumerate(KINDS_OF_REQUEST)
        for times in (1, 1000)
        # Nothing can tell a lie about a task that is told each time.
        if (SOAK and (kind, number, times) != ("corrupt", 0, 1000))
        or (times == 1 and (kind not in LASTING or number in (0, 4)))
        or (times > 1 and kind in ("short", "xml107"))
    ],
)
def test_a_fault_ends_in_the_truth_or_a_sentence(
    kind: str,
    match: str,
    times: int,
    tmp_path: Path,
    undisturbed: dict[str, Any],
    undisturbed_arff: dict[str, Any],
) -> None:
    arff = match == "made%20.arff"
    with world(parquet=not arff) as server:
        server.fault(kind, match, times)
        summary = fetch(server, tmp_path, tasks=[101, 102], tries=2)
        server.faults.clear()
        happened = [kind] * min(times, 2)
        settled(server, tmp_path, summary, undisturbed_arff if arff else undisturbed, *happened)


def settled(
    server: Server, store: Path, summary: Summary, truth: dict[str, Any], *kinds: str | None
) -> None:
    """A disturbed pass kept nothing but the truth, and an undisturbed one completes it."""
    for what, why in summary.failed.items():
        assert re.fullmatch(r"(task|data set) \d+", what)
        assert "\n" not in why
        assert "Traceback" not in why
    assert leftovers(store) == []
    # Two answers must agree; none can tell a letter of free text that is wrong in both.
    prose = kinds.count("corrupt") < 2
    truth = without_source(truth, prose)
    found = without_source(contents(store, prose), prose)
    assert found.items() <= truth.items() if summary.failed else found == truth
    server.schedule = None
    again = fetch(server, store, tasks=[101, 102])
    assert not again.failed
    assert without_source(contents(store, prose), prose) == truth
    assert leftovers(store) == []


def without_source(found: dict[str, Any], prose: bool) -> dict[str, Any]:
    """Apart from whether Parquet or ARFF was read."""
    dropped = {"source_format"} if prose else PROSE
    return {
        name: {key: value for key, value in each.items() if key not in dropped}
        if name.endswith(".json")
        else each
        for name, each in found.items()
    }


@pytest.mark.parametrize("seed", range(200 if SOAK else 12))
def test_random_faults(seed: int, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    rng = random.Random(seed)
    quick = [kind for kind in KINDS if SOAK or kind not in ("hang", "stall", "drip")]
    happened: list[str | None] = []

    def schedule() -> Iterator[str | None]:
        while True:
            happened.append(rng.choice(quick) if rng.random() < 0.2 else None)
            yield happened[-1]

    with world() as server:
        server.schedule = schedule()
        summary = fetch(server, tmp_path, tasks=[101, 102])
        settled(server, tmp_path, summary, undisturbed, *happened)


def test_a_failure_keeps_no_other_from_coming(tmp_path: Path) -> None:
    with world() as server:
        server.fault("xml107", "xml/task/101", 100)
        summary = fetch(server, tmp_path, tasks=[101, 102])
    assert list(summary.failed) == ["task 101"]
    assert summary.fetched == 1
    assert "The same command goes on where this one stopped." in summary.text(tmp_path)


# Processes


def command(server: str, store: Path, *words: str, env: dict[str, str] | None = None) -> list[str]:
    quick = ("pause=0", "timeout=5", f"server={server}", f"dest={store}")
    return [sys.executable, "-m", "metamine", "prefetch", *words, *quick]


def call(
    server: str, store: Path, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(server, store, *words),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | environment,
    )


TOGETHER = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from metamine.prefetch.fetch import Prefetch, Request
url, store, rounds = sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
import openml
print("ready", flush=True)
for number in range(rounds):
    sys.stdin.readline()
    asked = Request(suite=None, tasks=[101, 102], datasets=None, dest=str(store / str(number)),
                    server=url, format="auto", splits=True, timeout=20.0, tries=3,
                    most_cells=10**6, most_bytes=10**7, pause=0)
    summary = Prefetch(asked).run(asked.wanted())
    print(summary.fetched, summary.there, len(summary.failed), flush=True)
"""


def test_processes_side_by_side(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    n_processes, n_rounds = (8, 20) if SOAK else (3, 2)
    with world() as server:
        arguments = (str(Path.cwd()), server.url, str(tmp_path), str(n_rounds))
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", TOGETHER, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ
                | {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
            )
            for _ in range(n_processes)
        ]
        lines = [read_line(process) for process in processes]
        assert lines == ["ready"] * n_processes
        for number in range(n_rounds):
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            counts = [list(map(int, read_line(process).split())) for process in processes]
            assert sum(fetched for fetched, _, _ in counts) == 2
            assert sum(there for _, there, _ in counts) == 2 * n_processes - 2
            assert not any(failed for _, _, failed in counts)
            assert contents(tmp_path / str(number)) == undisturbed
            assert leftovers(tmp_path / str(number)) == []
        for process in processes:
            process.communicate(timeout=30)
            assert process.returncode == 0


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


FORKED = """
import os, sys, time
import openml
from metamine.prefetch.fetch import Prefetch, Request
import metamine.prefetch.client, metamine.prefetch.entries
url = sys.argv[1]
for line in sys.stdin:
    store, share = line.split()
    started = time.monotonic()
    child = os.fork()
    if not child:
        asked = Request(suite=None, tasks=[101, 102], datasets=None, dest=store, server=url,
                        format="auto", splits=True, timeout=20.0, tries=3, most_cells=10**6,
                        most_bytes=10**7, pause=0)
        Prefetch(asked).run(asked.wanted())
        os._exit(0)
    if share != "whole":
        time.sleep(float(share) * whole)
        os.kill(child, 9)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if share == "whole":
        whole = time.monotonic() - started
    print(code, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    rng = random.Random(0)
    killed = 0
    homes = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    with world() as server:
        store = tmp_path / "store"
        process = subprocess.Popen(
            [sys.executable, "-c", FORKED, server.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | homes,
        )

        def answer(*words: object) -> str:
            assert process.stdin is not None
            print(*words, file=process.stdin, flush=True)
            return read_line(process)

        assert answer(tmp_path / "untouched", "whole") == "0"
        for number in range(48 if SOAK else 8):
            if number % 2 == 0 and store.exists():  # start from nothing again
                assert not fetch(server, store, tasks=[101, 102]).failed
                assert contents(store) == undisturbed
                assert leftovers(store) == []
                store.rename(tmp_path / f"done-{number}")
            killed += answer(store, rng.uniform(0.05, 0.9)) == str(-signal.SIGKILL)
            if store.exists():
                assert contents(store).items() <= undisturbed.items()
        process.communicate(timeout=30)
        assert not fetch(server, store, tasks=[101, 102]).failed
    assert killed
    assert contents(store) == undisturbed
    assert leftovers(store) == []


# Keys


def test_no_key_goes_anywhere(tmp_path: Path) -> None:
    secret = "5ec2e7abcd5ec2e7abcd5ec2e7abcd00"
    home = tmp_path / "home"
    for name in ("config", "config/openml/config"):
        file = home / name
        if name == "config":
            continue
        file.parent.mkdir(parents=True)
        file.write_text(f"apikey = {secret}\nserver = https://elsewhere.invalid/\n")
    dot = home / ".openml" / "config"
    dot.parent.mkdir()
    dot.write_text(f"apikey = {secret}\n")
    store = tmp_path / "store"
    environment = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "OPENML_APIKEY": secret,
        "OPENML_API_KEY": secret,
        "PYTHONWARNINGS": "default",
    }
    before = sorted(home.rglob("*"))
    with world() as server:
        server.fault("html502", "xml/data/12", 2)
        server.fault("xml107", "Task_102", 100)
        done = call(server.url, store, "tasks=[101,102]", "tries=3", **environment)
        assert done.returncode == 1
        assert "1 failed" in done.stdout
        requests = list(server.requests)
        assert len(requests) > 10
    assert not [each for each in requests if secret in each or "key" in each.lower()]
    assert secret not in done.stdout + done.stderr
    assert sorted(home.rglob("*")) == before  # nothing is made in the user's folders
    for file in store.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes()


# Hostile answers


def test_names_make_no_paths(tmp_path: Path) -> None:
    store = tmp_path / "a/b/store"
    dataset = made()
    text = dataset.description.replace(">made <", ">../../../evil<")
    with world() as server:
        server.datasets[11] = dataclasses.replace(dataset, description=text)
        assert not fetch(server, store, tasks=[101]).failed
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]
    assert entry(store)[0]["name"] == "../../../evil"


@pytest.mark.parametrize("alias", ["../evil", "a/b", "/etc/evil", "..", "", "x\ny", "C:\\x"])
def test_an_alias_that_is_no_name_is_refused(alias: str, tmp_path: Path) -> None:
    store = tmp_path / "a/store"
    with world() as server:
        server.studies[3] = dataclasses.replace(server.studies[3], alias=alias)
        prefetch = Prefetch(request(server, store, suite=3))
        if alias:
            with pytest.raises(MetamineError, match="alias") as error:
                prefetch.refresh(3)
            assert "\n" not in str(error.value)
        else:
            assert prefetch.refresh(3)["alias"] == "suite-3"
    assert [file.name for file in store.glob("suites/*")] == ([] if alias else ["suite-3.json"])
    assert not list(tmp_path.glob("evil*"))


def test_another_data_set_is_refused(tmp_path: Path) -> None:
    with world() as server:
        server.datasets[11] = numbers(12)
        assert "the answer for data set 11 is data set 12" in refused(
            server, tmp_path, datasets=[11]
        )


def test_another_task_is_refused(tmp_path: Path) -> None:
    with world() as server:
        server.tasks[101] = server.tasks[102]
        assert "the answer for task 101 is task 102" in refused(server, tmp_path, tasks=[101])


def test_a_bomb_does_not_go_off(tmp_path: Path) -> None:
    with world() as server:
        server.fault("bomb", "", 1000)
        started = time.monotonic()
        refused(server, tmp_path, datasets=[11])
        assert time.monotonic() - started < 5


def test_more_than_allowed_is_refused_unread(tmp_path: Path) -> None:
    with world() as server:
        server.fault("huge", "dataset_11.pq", 1000)
        assert "announces 10,737,418,240 bytes" in refused(server, tmp_path, datasets=[11])
        assert "most_cells=50" in refused(server, tmp_path, datasets=[11], most_cells=50)
        assert "12 rows x 9 columns" in refused(server, tmp_path, datasets=[11], most_cells=50)


def altered(dataset: Dataset, old: str, new: str, *places: str) -> Dataset:
    changes = {}
    for place in places:
        text = getattr(dataset, place)
        assert old in text, (old, text)
        changes[place] = text.replace(old, new)
    return dataclasses.replace(dataset, **changes)


# Contradictions


def with_rows(n: int) -> Dataset:
    return dataclasses.replace(made(parquet=False), qualities=made(n_rows=n).qualities)


CONTRADICTIONS: list[tuple[Dataset, str]] = [
    (with_rows(15), "12 rows where OpenML counts 15"),
    (altered(made(), "<oml:nominal_value>&lt;1", "<oml:nominal_value>x", "features"), "'<1'"),
    (
        altered(made(parquet=False), "value>&gt;=1<", "value>x<", "features"),
        "its column 'class' holds '>=1', which is none of the 2 values",
    ),
    (made(default_target_attribute="klass"), "its target 'klass' is none of its columns"),
    (made(default_target_attribute="class,class"), "twice"),
    (altered(made(), ">holes<", ">number<", "features"), "lists no column, or one twice"),
    (altered(made(), ">holes<", ">hole<", "features"), "'holes' is called 'hole'"),
    (altered(made(), "<oml:data_type>date", "<oml:data_type>odd", "features"), "found: odd"),
    (altered(made(), "<oml:data_type>string", "<oml:data_type>numeric", "features"), "numeric"),
    (made(parquet=False, md5_checksum="0" * 32), "MD5"),
    (made(parquet=False, md5_checksum=None), "no MD5"),
    (made(parquet=False, format="CSV"), "CSV"),
]


@pytest.mark.parametrize("number", range(len(CONTRADICTIONS)))
def test_contradictions_are_refused(number: int, tmp_path: Path) -> None:
    dataset, sentence = CONTRADICTIONS[number]
    with Server([dataset]) as server:
        assert sentence in refused(server, tmp_path, datasets=[11])


SPLITS = [
    ("TEST,{row},0,0\n", "", "lack rows"),
    ("TEST,{row},0,0\n", "TEST,{row},0,0\nTRAIN,{row},0,0\n", "name a row twice"),
    ("TEST,{row},0,0\n", "TEST,{row},0,0\nTEST,{row},0,0\n", "name a row twice"),
    ("TEST,{row},0,0\n", "TRAIN,{row},0,0\n", "do not share out the rows"),
    ("TEST,{row},0,0\n", "TEST,12,0,0\n", "outside the 12"),
    ("TEST,{row},0,0\n", "TEST,{row},0,3\n", "number_folds 4 where the task says 3"),
    ("TEST,{row},0,0\n", "TEST,{row},1,0\n", "OpenML's answer for task 101 makes no sense"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), SPLITS)
def test_wrong_splits_are_refused(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    with world() as server:
        task = server.tasks[101]
        text = task.splits.decode()
        found = re.search(r"TEST,(\d+),0,0\n", text)
        assert found is not None
        text = text.replace(old.format(row=found[1]), new.format(row=found[1]), 1)
        server.tasks[101] = dataclasses.replace(task, splits=text.encode())
        summary = fetch(server, tmp_path, tasks=[101], tries=1)
    assert sentence in summary.failed["task 101"]
    assert not (tmp_path / "tasks/101").exists()
    assert leftovers(tmp_path) == []


def test_a_task_for_what_is_no_column_is_refused(tmp_path: Path) -> None:
    with world() as server:
        task = server.tasks[102]
        server.tasks[102] = dataclasses.replace(task, xml=task.xml.replace(">y<", ">z<"))
        why = fetch(server, tmp_path, tasks=[102], tries=1).failed["task 102"]
    assert "its target 'z' is none of the data's columns" in why


# Damage


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "flip":
        content[len(content) // 2] ^= 1
    elif how == "cut":
        del content[-2:]
    file.unlink()
    if how != "gone":
        file.write_bytes(content)


@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
@pytest.mark.parametrize("name", ["cells.npy", "data.parquet", "dataset.json"])
def test_damage_is_found_and_mended(
    name: str, how: str, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    with world() as server:
        fetch(server, tmp_path, tasks=[101, 102])
        assert verify(tmp_path, repair=False) == (4, [])
        damage(tmp_path / "datasets/11" / name, how)
        sound, (problem,) = verify(tmp_path, repair=False)
        assert sound == 3
        assert str(tmp_path / "datasets/11") in problem
        verify(tmp_path, repair=True)
        assert verify(tmp_path, repair=False) == (3, [])
        assert not fetch(server, tmp_path, tasks=[101, 102]).failed
    assert contents(tmp_path) == undisturbed


def test_verify_and_repair_by_command(
    tmp_path: Path, undisturbed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with world() as server:
        fetch(server, tmp_path, tasks=[101, 102])
        damage(tmp_path / "tasks/101/parts.npy", "flip")
        keys = (f"dest={tmp_path}", f"server={server.url}", "pause=0")
        assert main(["--verify", *keys]) == 1
        found = capsys.readouterr().out
        assert "3 sound, 1 damaged" in found
        assert f"{tmp_path / 'tasks/101'} is damaged; mend it with" in found
        assert main(["--repair", "tasks=[101,102]", *keys]) == 0
        assert main(["--verify", *keys]) == 0
    assert contents(tmp_path) == undisturbed


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_store_that_cannot_be_written_can_be_read(tmp_path: Path) -> None:
    with world() as server:
        fetch(server, tmp_path, tasks=[101, 102])
    folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o500)
        assert fetch(server, tmp_path, tasks=[101, 102]).there == 2
    finally:
        for folder in folders:
            folder.chmod(0o700)


# What there is not


def test_what_openml_has_not(tmp_path: Path) -> None:
    with world() as server:
        assert refused(server, tmp_path, tasks=[999]).startswith("OpenML has no task 999: ")
        assert refused(server, tmp_path, datasets=[999]).startswith("OpenML has no data set 999: ")
        assert len(server.requests) == 2
        with pytest.raises(MetamineError, match="OpenML has no suite 999"):
            Prefetch(request(server, tmp_path, suite=999)).refresh(999)
        with pytest.raises(UsageError, match="there is no suite 'OpenML-CC19' here"):
            request(server, tmp_path, suite="OpenML-CC19").wanted()
        with pytest.raises(UsageError, match="name what to take"):
            request(server, tmp_path).wanted()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["suite=OpenML-CC19"], "did you mean"),
        (["suit=99"], r"did you mean suite"),
        (["--verfy"], "did you mean"),
        (["tasks=[x]"], "tasks"),
        (["tasks"], "key=value"),
        (["--refresh"], "--refresh needs a suite"),
        ([], "name what to take"),
    ],
)
def test_one_sentence_on_a_mistake(words: Sequence[str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence) as error:
        main([*words, f"dest={tmp_path}", "server=http://127.0.0.1:9/"])
    assert "\n" not in str(error.value)


def test_exit_codes(tmp_path: Path) -> None:
    with world() as server:
        done = call(server.url, tmp_path, "datasets=[999]")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "data set 999: OpenML has no data set 999: Unknown dataset" in done.stdout
    wrong = call(server.url, tmp_path, "suite=OpenML-CC19")
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1
