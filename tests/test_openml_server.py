"""The stand-in for openml.org: the real client accepts it, and its faults are what they say."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPResponse, IncompleteRead, RemoteDisconnected
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow.parquet
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
from sklearn.datasets import load_iris

# In a process of its own: on import, openml writes to the user's folders and sets up logging.
CLIENT = """
import json, sys, pandas, openml
openml.config.server = sys.argv[1]
found = {}
for suite in (openml.study.get_suite(key) for key in sys.argv[2:]):
    for tid in suite.tasks:
        task = openml.tasks.get_task(
            tid, download_splits=True, download_data=True, download_qualities=True,
            download_features_meta_data=True)
        data = task.get_dataset()
        x, y, categorical, names = data.get_data(
            target=task.target_name, include_ignore_attribute=True)
        columns = {name: x[name] for name in names} | {task.target_name: y}
        repeats, folds, _ = task.get_split_dimensions()
        found[tid] = {
            "suite": [suite.id, suite.alias, suite.data],
            "columns": {
                name: [None if pandas.isna(v) else v if isinstance(v, str) else float(v)
                       for v in column.tolist()]
                for name, column in columns.items()},
            "categorical": [name for name, is_so in zip(names, categorical) if is_so],
            "labels": getattr(task, "class_labels", None),
            "qualities": [data.qualities["NumberOf" + each] for each in
                          ("Instances", "Features", "MissingValues")],
            "missing": [feature.number_missing_values for feature in data.features.values()],
            "tests": [[task.get_train_test_split_indices(fold=f, repeat=r)[1].tolist()
                       for f in range(folds)] for r in range(repeats)],
        }
print(json.dumps(found))
"""


def odd_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": range(300, 306),
            "a b": [0.5, -1.25, 1e-17, 2.0, 3e20, 0.1],
            "small": [0, 1, 2, 254, 255, 3],
            "holes": [1.0, None, 3.0, None, 5.0, 6.0],
            "colour": ["it's", "a,b", None, "é ü", "{x}", "it's"],
            "text": ["one", "two words", "", "'", "%", "x\ty"],
            "when": ["2020-01-01"] * 6,
            "class": ["<1", ">=1", "<1", ">=1", "<1", ">=1"],
        }
    )


COLOURS = ("it's", "a,b", "é ü", "{x}", "never")


def odd_dataset(**changes: Any) -> Dataset:
    settings: dict[str, Any] = {
        "nominal": {"colour": COLOURS, "class": ("<1", ">=1")},
        "strings": ("text",),
        "row_id": "id",
        "ignore": ("text",),
    }
    frame = odd_frame().drop(columns="when")
    return made_dataset(12345, "odd-one", frame, "class", **settings | changes)


def small_server() -> Server:
    return Server(
        datasets=[sklearn_dataset(61), odd_dataset()],
        tasks=[
            made_task(59, 61, "class", 150),
            made_task(7, 12345, "class", 6, folds=3, repeats=2),
            made_task(8, 12345, "a b", 6, folds=2, kind="regression"),
        ],
        studies=[
            Study(99, "OpenML-CC18", "The benchmark", tasks=(59,), datasets=(61,)),
            Study(5, "odd", "Odd & more", tasks=(7, 8), datasets=(12345,)),
        ],
    )


@pytest.fixture
def server() -> Iterator[Server]:
    with small_server() as server:
        yield server


@pytest.mark.parametrize("skip_parquet", [True, False])
def test_the_real_client_gets_what_was_put_in(
    server: Server, tmp_path: Path, skip_parquet: bool
) -> None:
    pytest.importorskip("openml")
    server.fault("truncate", match="/data/v1/download/61/")  # which the client tries again
    folders = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "OPENML_CACHE_DIR")
    environment = (
        os.environ
        | {name: str(tmp_path / name) for name in folders}
        | {"OPENML_SKIP_PARQUET": str(skip_parquet).lower(), "NO_PROXY": "*"}
    )
    ran = subprocess.run(
        [sys.executable, "-c", CLIENT, server.url, "OpenML-CC18", "5"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)

    iris, odd, odd_regression = found["59"], found["7"], found["8"]
    assert iris["suite"] == [99, "OpenML-CC18", [61]]
    truth = load_iris()
    values = np.array([column for name, column in iris["columns"].items() if name != "class"]).T
    # Two rows of iris differ between scikit-learn and OpenML.
    assert (np.abs(values - truth.data) > 1e-6).sum() <= 3
    names = ["Iris-setosa", "Iris-versicolor", "Iris-virginica"]
    assert iris["columns"]["class"] == [names[i] for i in truth.target]
    assert iris["labels"] == names
    assert iris["qualities"] == [150, 5, 0]
    assert sorted(chain(*iris["tests"][0])) == list(range(150))
    assert [len(part) for part in iris["tests"][0]] == [15] * 10

    frame = odd_frame().drop(columns=["id", "when"]).astype(object)
    expected = frame.where(frame.notna(), None).to_dict("list")
    assert odd["suite"] == [5, "odd", [12345]]
    assert odd["columns"] == odd_regression["columns"] == expected
    assert odd["categorical"] == ["colour"]
    assert odd["labels"] == ["<1", ">=1"]
    assert odd["qualities"] == [6, 7, 3]
    assert odd["missing"] == [0, 0, 0, 2, 1, 0, 0]
    assert [sorted(chain(*repeat)) for repeat in odd["tests"]] == [list(range(6))] * 2
    assert np.shape(odd_regression["tests"]) == (1, 2, 3)

    assert server.requests[:4] == [
        "GET /api/v1/xml/study/OpenML-CC18",
        "GET /api/v1/xml/task/59",
        "GET /api/v1/xml/data/61",
        "GET /api/v1/xml/data/features/61",
    ]
    assert server.requests.count("GET /data/v1/download/61/iris.arff") == 2
    stored = "/datasets/0001/12345/dataset_12345.pq"
    by_parquet = [f"HEAD {stored}", f"GET {stored}"]
    asked = [each for each in server.requests if stored in each]
    assert asked == ([] if skip_parquet else by_parquet)
    assert ("GET /data/v1/download/112345/odd-one.arff" in server.requests) == skip_parquet
    assert "uncompressed content" not in ran.stderr


TASK = "/api/v1/xml/task/59"
STORED = "/datasets/0001/12345/dataset_12345.pq"


def begin(
    server: Server, path: str, method: str = "GET", accept: str = "identity", timeout: float = 10
) -> HTTPResponse:
    """The response, its body not yet read."""
    port = int(server.root.rsplit(":", 1)[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, headers={"Accept-Encoding": accept})
        return connection.getresponse()  # which keeps the socket open until it is closed itself
    finally:
        connection.close()


def get(
    server: Server, path: str, method: str = "GET", accept: str = "identity"
) -> tuple[HTTPResponse, bytes]:
    """The response, for its status and headers, and its body as it came."""
    with begin(server, path, method, accept) as response:
        return response, response.read()


def code(server: Server, path: str) -> str:
    response, body = get(server, path)
    assert response.status == 412
    return ElementTree.fromstring(body)[0].text or ""


def test_what_is_unknown(server: Server) -> None:
    calls = {"study/0": "601", "task/0": "151", "data/0": "111", "data/qualities/0": "362"}
    assert {call: code(server, f"/api/v1/xml/{call}") for call in calls} == calls
    response, body = get(server, "/datasets/0000/0061/dataset_61.pq")
    assert response.status == 404
    assert b"<Code>NoSuchKey</Code>" in body
    assert get(server, "/api_splits/get/0/Task_0_splits.arff")[0].status == 412
    assert get(server, "/elsewhere?api_key=1")[0].status == 404
    assert server.requests[-1] == "GET /elsewhere?api_key=1"


def test_text_is_compressed_where_that_is_accepted(server: Server) -> None:
    plain, body = get(server, TASK)
    packed, small = get(server, TASK, accept="gzip, deflate")
    assert plain.headers["Content-Encoding"] is None
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(small) == body
    assert f"<oml:data_splits_url>{server.root}/api_splits/get/59/".encode() in body


def test_parquet_files_are_as_in_openmls_store(server: Server) -> None:
    head, nothing = get(server, STORED, "HEAD", accept="gzip")
    response, body = get(server, STORED, accept="gzip")
    assert nothing == b""
    for name in ("ETag", "Content-Length", "Last-Modified"):
        assert head.headers[name] == response.headers[name]
    assert response.headers["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert int(response.headers["Content-Length"]) == len(body)
    schema = pyarrow.parquet.read_schema(io.BytesIO(body))
    types = {column.name: str(column.type) for column in schema}
    level = "dictionary<values=string, indices=int8, ordered=1>"
    assert types == {
        "id": "double",
        "a b": "double",
        "small": "uint8",
        "holes": "double",
        "colour": level,
        "text": "string",
        "class": level,
    }


def test_a_made_data_set_can_be_odd() -> None:
    sparse = odd_dataset(sparse=True, strings=("text",))
    assert sparse.parquet is None
    assert "<oml:format>Sparse_ARFF</oml:format>" in sparse.description
    assert b"\n{0 300,1 0.5,3 1,4 'it\\'s',5 one,6 <1}\n" in sparse.arff

    odd = odd_dataset(licence="CC0", version=3, md5_checksum="0", status=None, tag=["a", "b"])
    for present in (
        "<oml:licence>CC0</oml:licence>",
        "<oml:version>3</oml:version>",
        "<oml:md5_checksum>0</oml:md5_checksum>",
        "<oml:tag>a</oml:tag>\n  <oml:tag>b</oml:tag>",
        "<oml:row_id_attribute>id</oml:row_id_attribute>",
        "<oml:ignore_attribute>text</oml:ignore_attribute>",
    ):
        assert present in odd.description
    assert "oml:status" not in odd.description

    dated = made_dataset(1, "d", odd_frame()[["when", "small"]], None, dates=("when",))
    assert b"@ATTRIBUTE when DATE" in dated.arff
    assert "<oml:data_type>date</oml:data_type>" in dated.features
    with pytest.raises(ValueError, match="no levels"):
        odd_dataset(nominal={"class": ("<1",)})


@pytest.mark.parametrize("did", SKLEARN_COMPLETE)
def test_scikit_learns_recorded_answers(did: int) -> None:
    check_answers(sklearn_dataset(did))


@pytest.mark.skipif(not shared_ids(), reason="METAMINE_SHARED does not lead to recorded answers")
def test_shared_recorded_answers() -> None:
    datasets = [shared_dataset(did) for did in shared_ids()]
    assert sum(dataset.parquet is not None for dataset in datasets) > 20
    for dataset in datasets:
        check_answers(dataset)


def check_answers(dataset: Dataset) -> None:
    """Each is well-formed, and the description leads to the data, on this server."""
    name = {"oml": "http://openml.org/openml"}
    with Server([dataset]) as server:
        description, features, qualities = (
            ElementTree.fromstring(get(server, f"/api/v1/xml/{call}/{dataset.did}")[1])
            for call in ("data", "data/features", "data/qualities")
        )
        url = description.findtext("oml:url", "", name)
        assert url.startswith(server.root)
        _, arff = get(server, url.removeprefix(server.root))
        assert description.findtext("oml:md5_checksum", "", name) == hashlib.md5(arff).hexdigest()
        stored = description.findtext("oml:parquet_url", None, name)
        assert (stored is None) == (dataset.parquet is None)
        if stored is not None:
            _, body = get(server, stored.removeprefix(server.root))
            assert body == dataset.parquet
    rows = {
        each.findtext("oml:name", "", name): each.findtext("oml:value", "", name)
        for each in qualities
    }["NumberOfInstances"]
    if stored is not None:
        assert pyarrow.parquet.read_metadata(io.BytesIO(body)).num_rows == float(rows)
    for feature in features.iterfind("oml:feature", name):
        nominal = feature.findtext("oml:data_type", "", name) == "nominal"
        assert nominal == (feature.find("oml:nominal_value", name) is not None)


@pytest.mark.parametrize("path", [TASK, STORED])
@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_on_the_wire(server: Server, kind: str, path: str) -> None:
    honest, true = get(server, path)
    half = true[: len(true) // 2]
    server.fault(kind, match=path)
    if kind == "drop":
        with pytest.raises(RemoteDisconnected):
            begin(server, path)
    elif kind == "hang":
        with pytest.raises(TimeoutError):
            begin(server, path, timeout=0.2)
    else:
        start = time.monotonic()
        with begin(server, path, timeout=0.5 if kind in ("stall", "huge") else 10) as response:
            headers = response.headers
            length = int(headers.get("Content-Length", -1))
            if kind == "stall":
                assert (response.read(len(half)), length) == (half, len(true))
                with pytest.raises(TimeoutError):
                    response.read(1)
            elif kind == "truncate":
                assert length == len(true)
                with pytest.raises(IncompleteRead) as cut:
                    response.read()
                assert cut.value.partial == half
            elif kind == "huge":
                assert (response.read(16), length) == (true[:16], 10737418240)
                with pytest.raises(TimeoutError):
                    response.read(1)
            elif kind == "drip":
                assert length == -1
                assert response.read(6) == b" " * 6
                assert time.monotonic() - start > 0.25
            else:
                body = response.read()
                assert length == len(body)
                assert response.status == status_of(kind)
                check_body(kind, body, true)
                if kind == "slow":
                    assert time.monotonic() - start > 0.2
                if kind in ("short", "corrupt"):
                    assert headers["ETag"] == honest.headers["ETag"]
                if kind == "html429":
                    assert headers["Retry-After"] == "0"
    assert get(server, path)[1] == true  # each fault was for one request


def status_of(kind: str) -> int:
    if kind.startswith("html"):
        return int(kind.removeprefix("html"))
    return 412 if kind == "xml107" else 200


def check_body(kind: str, body: bytes, true: bytes) -> None:
    if kind == "short":
        assert body == true[: len(true) // 2]
    elif kind == "empty":
        assert body == b""
    elif kind == "slow":
        assert body == true
    elif kind == "corrupt":
        assert len(body) == len(true)
        (at,) = [i for i, (a, b) in enumerate(zip(body, true, strict=True)) if a != b]
        assert abs(at - len(true) // 2) < 50
        assert not true.startswith(b"<oml") or chr(body[at]).isalnum()
    elif kind.startswith("html"):
        assert b"nginx" in body
    elif kind == "xml107":
        assert ElementTree.fromstring(body)[0].text == "107"
    else:
        assert kind == "bomb"
        assert body.count(b"<!ENTITY") == 10
        assert re.search(rb"&e9;</oml:task>", body)


def test_faults_are_for_the_requests_that_match(server: Server) -> None:
    server.fault("html502", match="data/61", times=2)
    server.fault("html412", match="HEAD /")
    assert get(server, TASK)[0].status == 200
    for expected in (502, 502, 200):
        assert get(server, "/api/v1/xml/data/61")[0].status == expected
    assert len(server.faults) == 1
    assert get(server, STORED)[0].status == 200
    assert get(server, STORED, "HEAD")[0].status == 412
    assert server.faults == []


def test_a_schedule_is_asked_once_per_request(server: Server) -> None:
    server.schedule = iter([None, "html502", "html412"])
    server.fault("html429", match="study")
    paths = [TASK, "/api/v1/xml/study/99", TASK, TASK]
    assert [get(server, path)[0].status for path in paths] == [200, 429, 412, 200]


@pytest.mark.parametrize("kind", ["hang", "stall", "huge", "drip"])
def test_it_stops_at_once_while_a_client_waits(kind: str) -> None:
    with small_server() as server:
        server.fault(kind)
        client = socket.create_connection(("127.0.0.1", int(server.root.rsplit(":", 1)[1])))
        client.sendall(f"GET {TASK} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while not server.requests:
            time.sleep(0.001)
        start = time.monotonic()
    assert time.monotonic() - start < 0.9
    with client:
        client.settimeout(10)
        while client.recv(65536):  # until the server's end is closed
            pass
