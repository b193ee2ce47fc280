"""A stand-in for openml.org on loopback, which can also answer wrongly, late or never.

The paths of files are those in the served descriptions. Answers are looked up at each request, so
`Server.datasets`, `.tasks` and `.studies` may be changed while it runs.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import select
import socketserver
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import sklearn

KINDS: tuple[str, ...] = (
    "drop",  # close the socket without an answer
    "hang",  # send nothing
    "stall",  # headers, half of the body, then nothing more
    "truncate",  # headers, half of the body, then close
    "short",  # half of the body, as if that were all
    "empty",
    "corrupt",  # one byte in the middle differs
    "html200",  # parses as XML, unlike the other pages
    "html412",
    "html502",
    "html429",
    "xml107",  # OpenML's "database connection error"
    "slow",  # all of it, over about 0.3 s
    "huge",  # announces 10 GiB, sends a few bytes
    "bomb",  # XML whose entities would expand to gigabytes
    "drip",  # a byte every 0.05 s without end
)
SKLEARN_COMPLETE: tuple[int, ...] = (61, 3, 62, 40945, 42585, 561, 40675)

_XMLNS = 'xmlns:oml="http://openml.org/openml"'
_XML, _TEXT, _HTML = (f"{kind}; charset=utf-8" for kind in ("text/xml", "text/plain", "text/html"))


@dataclass(frozen=True)
class Dataset:
    """The answers for one data set; {server} in the description becomes http://127.0.0.1:PORT."""

    did: int
    name: str
    description: str
    features: str
    qualities: str | None
    arff: bytes
    parquet: bytes | None


@dataclass(frozen=True)
class Task:
    """The answers for one task; {server} in its XML becomes http://127.0.0.1:PORT."""

    tid: int
    did: int
    xml: str
    splits: bytes


@dataclass(frozen=True)
class Study:
    sid: int
    alias: str
    name: str
    tasks: tuple[int, ...]
    datasets: tuple[int, ...]


def sklearn_dataset(did: int) -> Dataset:
    """One of the recorded JSON answers in scikit-learn's wheel, as the XML that OpenML gives."""
    folder = Path(sklearn.__file__).parent / "datasets/tests/data/openml" / f"id_{did}"

    def recorded(what: str) -> Any:
        return json.loads(gzip.decompress((folder / f"api-v1-{what}-{did}.json.gz").read_bytes()))

    description = dict(recorded("jd")["data_set_description"])
    for elsewhere in ("parquet_url", "minio_url"):
        description.pop(elsewhere, None)
    description["url"] = _on_server(description["url"])
    arff = (folder / f"data-v1-dl-{description['file_id']}.arff.gz").read_bytes()
    arff = gzip.decompress(arff)
    levels = _arff_levels(arff.decode())
    features = []
    for feature in recorded("jdf")["data_features"]["feature"]:
        feature = dict(feature)
        # Spelt differently over the years, and at first left out of the JSON.
        listed = json.loads(feature.pop("nominal_values", "[]")) or feature.pop("nominal_value", [])
        if isinstance(listed, str):
            listed = [listed]
        if feature["data_type"] == "nominal":
            listed = listed or levels[feature["name"]]
        features.append(_feature(feature, listed))
    # Absent or an error where there are none.
    answered = recorded("jdq") if (folder / f"api-v1-jdq-{did}.json.gz").exists() else {}
    qualities = answered.get("data_qualities", {}).get("quality")
    return Dataset(
        did=did,
        name=description["name"],
        description=_description(description),
        features=_features(features),
        # JSON has [] where there is no value.
        qualities=_qualities((each["name"], each["value"] or "") for each in qualities)
        if qualities
        else None,
        arff=arff,
        parquet=None,
    )


def shared_ids() -> list[int]:
    """The data sets recorded in $METAMINE_SHARED; none where that is not set."""
    if "METAMINE_SHARED" not in os.environ:
        return []
    return sorted(int(folder.name) for folder in _recorded().glob("*") if folder.name.isdigit())


def shared_dataset(did: int) -> Dataset:
    """A data set recorded in $METAMINE_SHARED, its files now on this server."""
    folder = _recorded() / str(did)
    description = (folder / "description.xml").read_text(encoding="utf-8")
    # dataset_DID.pq beside it may be another data set's.
    parquet = folder / "dataset.pq"
    has_parquet = parquet.exists()
    url = re.search("<oml:url>(.*?)</oml:url>", description)
    name = re.search("<oml:name>(.*?)</oml:name>", description)
    assert url is not None
    assert name is not None
    description = description.replace(url[0], f"<oml:url>{_on_server(url[1])}</oml:url>")
    for tag in ("parquet_url", "minio_url"):
        here = f"<oml:{tag}>{_parquet_url(did)}</oml:{tag}>" if has_parquet else ""
        description = re.sub(f"<oml:{tag}>.*?</oml:{tag}>", here, description)
    qualities = folder / "qualities.xml"
    return Dataset(
        did=did,
        name=unescape(name[1]),
        description=description,
        features=(folder / "features.xml").read_text(encoding="utf-8"),
        qualities=qualities.read_text(encoding="utf-8") if qualities.exists() else None,
        arff=(folder / "dataset.arff").read_bytes(),
        parquet=parquet.read_bytes() if has_parquet else None,
    )


def made_dataset(
    did: int,
    name: str,
    frame: pd.DataFrame,
    target: str | None,
    *,
    nominal: Mapping[str, Sequence[str]] = {},
    strings: Sequence[str] = (),
    dates: Sequence[str] = (),
    row_id: str | None = None,
    ignore: Sequence[str] = (),
    licence: str = "Public",
    parquet: bool = True,
    sparse: bool = False,
    **description_changes: Any,
) -> Dataset:
    """The answers for `frame`; columns not in `nominal`, `strings` or `dates` are numeric.

    `target` may name several columns, as "a,b". A description change of None leaves the element
    out, a list repeats it. Sparse data has no Parquet file, as on OpenML.
    """
    if not frame.columns.is_unique:
        raise ValueError("columns of the same name")
    columns: dict[str, list[Any]] = {
        str(column): [None if pd.isna(value) else value for value in values.tolist()]
        for column, values in frame.items()
    }
    kinds = dict.fromkeys(columns, "numeric")
    kinds |= dict.fromkeys(nominal, "nominal")
    kinds |= dict.fromkeys(strings, "string") | dict.fromkeys(dates, "date")
    unknown = kinds.keys() - columns.keys()
    if unknown:
        raise ValueError(f"no such columns: {sorted(unknown)}")
    for column, levels in nominal.items():
        undeclared = {str(v) for v in columns[column] if v is not None} - set(levels)
        if undeclared:
            raise ValueError(f"{column} has values that are no levels: {sorted(undeclared)}")

    arff = _arff(name, columns, kinds, nominal, sparse=sparse)
    parquet = parquet and not sparse
    targets = target.split(",") if target else []
    file_id = 100_000 + did  # not the data set's id, which it may be mistaken for
    description = {
        "id": did,
        "name": name,
        "version": 1,
        "description": f"{name}, made for a test",
        "description_version": 1,
        "format": "Sparse_ARFF" if sparse else "ARFF",
        "upload_date": "2014-04-06T23:23:39",
        "licence": licence,
        "url": f"{{server}}/data/v1/download/{file_id}/{quote(name)}.arff",
        "parquet_url": _parquet_url(did) if parquet else None,
        "file_id": file_id,
        "default_target_attribute": target,
        "row_id_attribute": row_id,
        "ignore_attribute": list(ignore),
        "visibility": "public",
        "minio_url": _parquet_url(did) if parquet else None,
        "status": "active",
        "processing_date": "2020-11-20 19:32:30",
        "md5_checksum": hashlib.md5(arff).hexdigest(),
    }
    features = [
        _feature(
            {
                "index": index,
                "name": column,
                "data_type": kinds[column],
                "is_target": column in targets,
                "is_ignore": column in ignore,
                "is_row_identifier": column == row_id,
                "number_of_missing_values": values.count(None),
            },
            nominal.get(column, ()),
        )
        for index, (column, values) in enumerate(columns.items())
    ]
    return Dataset(
        did=did,
        name=name,
        description=_description(description | description_changes),
        features=_features(features),
        qualities=_qualities(_measured(columns, kinds, nominal, targets).items()),
        arff=arff,
        parquet=_parquet(columns, kinds, nominal) if parquet else None,
    )


def made_task(
    tid: int,
    did: int,
    target: str,
    n_rows: int,
    *,
    folds: int = 10,
    repeats: int = 1,
    kind: Literal["classification", "regression"] = "classification",
    seed: int = 0,
) -> Task:
    """Cross-validation on `n_rows` shuffled rows; not stratified, whatever its XML says."""
    classification = kind == "classification"
    if classification:
        procedure, measure = 1, "predictive_accuracy"
        cost_matrix = _input("cost_matrix", "<oml:cost_matrix></oml:cost_matrix>")
        confidence = '<oml:feature name="confidence.classname" type="numeric"/>\n'
    else:
        procedure, measure = 7, "root_mean_squared_error"
        cost_matrix = confidence = ""
    source = f"""<oml:data_set>
<oml:data_set_id>{did}</oml:data_set_id>
<oml:target_feature>{escape(target)}</oml:target_feature>
</oml:data_set>"""
    estimation = f"""<oml:estimation_procedure>
        <oml:id>{procedure}</oml:id>
<oml:type>crossvalidation</oml:type>
<oml:data_splits_url>{{server}}/api_splits/get/{tid}/Task_{tid}_splits.arff</oml:data_splits_url>
<oml:parameter name="number_repeats">{repeats}</oml:parameter>
<oml:parameter name="number_folds">{folds}</oml:parameter>
<oml:parameter name="percentage"></oml:parameter>
<oml:parameter name="stratified_sampling">{str(classification).lower()}</oml:parameter>
</oml:estimation_procedure>"""
    measures = f"""<oml:evaluation_measures>
<oml:evaluation_measure>{measure}</oml:evaluation_measure>
</oml:evaluation_measures>"""
    predictions = f"""<oml:predictions>
<oml:format>ARFF</oml:format>
<oml:feature name="repeat" type="integer"/>
<oml:feature name="fold" type="integer"/>
<oml:feature name="row_id" type="integer"/>
{confidence}<oml:feature name="prediction" type="string"/>
</oml:predictions>"""
    xml = (
        f"<oml:task {_XMLNS}>\n\t<oml:task_id>{tid}</oml:task_id>\n"
        f"  <oml:task_type_id>{1 if classification else 2}</oml:task_type_id>\n"
        f"\t<oml:task_type>Supervised {kind.capitalize()}</oml:task_type>\n"
        + _input("source_data", source)
        + _input("estimation_procedure", estimation)
        + cost_matrix
        + _input("evaluation_measures", measures)
        + _input("predictions", predictions).replace("oml:input", "oml:output")
        + "\t    <oml:tag>basic</oml:tag>\n    <oml:tag>study_1</oml:tag>\n  </oml:task>\n"
    )
    rng = np.random.default_rng(seed)
    lines = [
        f"@relation made_{did}_splits\n",
        "@attribute type {TRAIN,TEST}",
        *(f"@attribute {each} numeric" for each in ("rowid", "repeat", "fold")),
        "\n@data",
    ]
    for repeat in range(repeats):
        parts = np.array_split(rng.permutation(n_rows), folds)
        for fold, test in enumerate(parts):
            train = np.concatenate([np.empty(0, int), *parts[:fold], *parts[fold + 1 :]])
            lines += [f"TRAIN,{row},{repeat},{fold}" for row in train.tolist()]
            lines += [f"TEST,{row},{repeat},{fold}" for row in test.tolist()]
    return Task(tid, did, xml, ("\n".join(lines) + "\n").encode())


@dataclass
class Fault:
    """A fault for the next `times` requests, such as "GET /a/b?c=d", that contain `match`."""

    kind: str
    match: str = ""
    times: int = 1


class Server:
    """Serves what it is given while its context lasts."""

    url: str  # of the API, as openml.config.server takes it
    root: str  # http://127.0.0.1:PORT

    def __init__(
        self,
        datasets: Iterable[Dataset] = (),
        tasks: Iterable[Task] = (),
        studies: Iterable[Study] = (),
    ) -> None:
        self.datasets = {each.did: each for each in datasets}
        self.tasks = {each.tid: each for each in tasks}
        self.studies = {each.sid: each for each in studies}
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.schedule: Iterator[str | None] | None = None
        self.stopping = threading.Event()
        self._lock = threading.Lock()  # faults and the schedule are taken in the requests' order

    def __enter__(self) -> Server:
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self.root = f"http://127.0.0.1:{self._http.server_port}"
        self.url = f"{self.root}/api/v1/xml/"
        self.stopping.clear()
        # The interval is how long stopping may take.
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.02,), name="openml-server", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def fault(self, kind: str, match: str = "", times: int = 1) -> None:
        """Answer so the next `times` requests that contain `match`, "study/99" or "GET /datasets".

        Parquet files are asked for by HEAD first, which spends a fault too.
        """
        assert kind in KINDS, kind
        with self._lock:
            self.faults.append(Fault(kind, match, times))

    def arrived(self, request: str) -> str | None:
        """Note a request; the kind of fault to apply to it. Those queued go before the schedule."""
        with self._lock:
            self.requests.append(request)
            kind = None if self.schedule is None else next(self.schedule, None)
            for fault in self.faults:
                if fault.match in request:
                    kind = fault.kind
                    fault.times -= 1
                    self.faults = [each for each in self.faults if each.times > 0]
                    break
        assert kind is None or kind in KINDS, kind
        return kind

    def answer(self, path: str) -> _Answer:
        """What an honest server says."""
        if path.startswith("/api/v1/xml/"):
            return self._api(path.removeprefix("/api/v1/xml/"))
        splits = re.match(r"/api_splits/get/(\d+)/", path)
        if splits is not None:
            task = self.tasks.get(int(splits[1]))
            return _Answer(task.splits, type=_TEXT) if task else _page(412, "Precondition Failed")
        for dataset in list(self.datasets.values()):
            if path == _path(dataset, "url"):
                return _Answer(dataset.arff, type=_TEXT)
            if path == _path(dataset, "parquet_url") and dataset.parquet is not None:
                return _stored(dataset.parquet)
        return _no_such_key(path) if path.startswith("/datasets/") else _page(404, "Not Found")

    def _api(self, call: str) -> _Answer:
        entity, _, key = call.rpartition("/")
        if entity == "study":
            for study in list(self.studies.values()):
                if key in (str(study.sid), study.alias):
                    return _Answer(_study(study).encode())
            return _error(601, "Unknown study")
        number = int(key) if key.isdecimal() else -1
        if entity == "task":
            task = self.tasks.get(number)
            return self._xml(task.xml) if task else _error(151, "Unknown task")
        dataset = self.datasets.get(number)
        if entity == "data":
            return self._xml(dataset.description) if dataset else _error(111, "Unknown dataset")
        if entity == "data/features":
            return self._xml(dataset.features) if dataset else _error(271, "Unknown dataset")
        if entity == "data/qualities":
            if dataset and dataset.qualities is not None:
                return self._xml(dataset.qualities)
            return _error(362, "No qualities found")
        return _error(100, "Function not valid")

    def _xml(self, text: str) -> _Answer:
        return _Answer(text.replace("{server}", self.root).encode())


@dataclass(frozen=True)
class _Answer:
    body: bytes
    status: int = 200
    type: str = _XML
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_text(self) -> bool:
        return self.type.startswith("text/")


class _Http(ThreadingHTTPServer):
    owner: Server
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128  # many processes may come at once

    def server_bind(self) -> None:
        # HTTPServer's own looks the host's name up, which takes seconds without a name server.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # the client's giving up is no error
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        owner = self.server.owner
        kind = owner.arrived(f"{self.command} {self.path}")
        if kind == "drop":
            return
        if kind == "hang":
            self._hang()
            return
        answer = owner.answer(unquote(urlsplit(self.path).path))
        self._send(answer if kind is None else _changed(kind, answer), kind)

    do_HEAD = do_GET

    def _send(self, answer: _Answer, kind: str | None) -> None:
        body = answer.body
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        if (
            answer.is_text
            and body
            and kind not in ("corrupt", "drip")
            and "gzip" in self.headers.get("Accept-Encoding", "")
        ):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            self.send_header("Content-Encoding", "gzip")
        if kind != "drip":
            length = 10 * 2**30 if kind == "huge" else len(body)
            self.send_header("Content-Length", str(length))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        half = body[: len(body) // 2]
        if kind == "truncate":
            self.wfile.write(half)
        elif kind == "stall":
            self.wfile.write(half)
            self._hang()
        elif kind == "huge":
            self.wfile.write(body[:16])
            self._hang()
        elif kind == "slow":
            step = max(1, -(-len(body) // 6))
            for start in range(0, len(body), step):
                self.server.owner.stopping.wait(0.05)
                self.wfile.write(body[start : start + step])
        elif kind == "drip":
            while not self.server.owner.stopping.wait(0.05):
                self.wfile.write(b" ")
        else:
            self.wfile.write(body)

    def _hang(self) -> None:
        """Wait until the server stops or the client closes its end."""
        while not self.server.owner.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.05)
            if readable and not self.connection.recv(1024):
                return

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _changed(kind: str, answer: _Answer) -> _Answer:
    """The answer in which this kind of fault consists, or the true one if it lies in the sending.

    The headers stay those of the true body, so that an ETag can tell.
    """
    match kind:
        case "short":
            return replace(answer, body=answer.body[: len(answer.body) // 2])
        case "empty":
            return replace(answer, status=200, body=b"")
        case "corrupt":
            return replace(answer, body=_corrupted(answer.body, text=answer.is_text))
        case "html200":
            return _Answer(_WELCOME.encode(), type=_HTML)
        case "html412":
            return _page(412, "Precondition Failed")
        case "html502":
            return _page(502, "Bad Gateway")
        case "html429":
            return replace(_page(429, "Too Many Requests"), headers={"Retry-After": "0"})
        case "xml107":
            return _error(107, "Database connection error. Usually due to high server load.")
        case "bomb":
            return _Answer(_bomb().encode())
    return answer


def _corrupted(body: bytes, *, text: bool) -> bytes:
    changed = bytearray(body)
    at = len(body) // 2
    if not text:
        changed[at] ^= 0xFF
        return bytes(changed)
    # A digit or letter, so that the change is to a value or name and not to the layout.
    at = next(i for i in (*range(at, len(body)), *range(at)) if body[i : i + 1].isalnum())
    changed[at] = ord("7" if body[at] != ord("7") else "3")
    return bytes(changed)


_WELCOME = """<!DOCTYPE html>
<html>
<head><title>Welcome to nginx!</title></head>
<body>
<h1>Welcome to nginx!</h1>
<p>If you see this page, the nginx web server is successfully installed and working.</p>
</body>
</html>
"""


def _page(status: int, reason: str) -> _Answer:
    """nginx's own error page; its open <hr> is no XML."""
    title = f"{status} {reason}"
    html = (
        f"<html>\n<head><title>{title}</title></head>\n<body>\n<center><h1>{title}</h1></center>\n"
        "<hr><center>nginx/1.18.0</center>\n</body>\n</html>\n"
    )
    return _Answer(html.replace("\n", "\r\n").encode(), status, _HTML)


def _error(code: int, message: str) -> _Answer:
    xml = (
        f"<oml:error {_XMLNS}>\n  <oml:code>{code}</oml:code>\n"
        f"  <oml:message>{message}</oml:message>\n"
        "  <oml:additional_information></oml:additional_information>\n</oml:error>\n"
    )
    return _Answer(xml.encode(), 412)


def _bomb() -> str:
    entities = ['<!ENTITY e0 "ha">']
    for i in range(1, 10):
        entities.append(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">')
    return (
        f'<?xml version="1.0"?>\n<!DOCTYPE oml:task [\n{chr(10).join(entities)}\n]>\n'
        f"<oml:task {_XMLNS}>&e9;</oml:task>\n"
    )


def _stored(body: bytes) -> _Answer:
    """A file as S3 gives it."""
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    headers = {"ETag": etag, "Last-Modified": "Fri, 01 Nov 2024 10:00:00 GMT"}
    return _Answer(body, type="application/octet-stream", headers=headers)


def _no_such_key(path: str) -> _Answer:
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>'
        "<Message>The specified key does not exist.</Message>"
        f"<Resource>{escape(path)}</Resource><RequestId>1</RequestId><HostId>1</HostId></Error>"
    )
    return _Answer(xml.encode(), 404, "application/xml")


def _input(name: str, body: str) -> str:
    return f'\t      <oml:input name="{name}">\n    {body}  </oml:input>\n'


def _study(study: Study) -> str:
    data = "".join(f"    <oml:data_id>{each}</oml:data_id>\n" for each in study.datasets)
    tasks = "".join(f"    <oml:task_id>{each}</oml:task_id>\n" for each in study.tasks)
    return f"""<oml:study {_XMLNS}>
  <oml:id>{study.sid}</oml:id>
  <oml:alias>{escape(study.alias)}</oml:alias>
  <oml:main_entity_type>task</oml:main_entity_type>
  <oml:name>{escape(study.name)}</oml:name>
  <oml:description>{escape(study.name)}, made for a test</oml:description>
  <oml:status>active</oml:status>
  <oml:creation_date>2019-02-21 18:47:13</oml:creation_date>
  <oml:creator>1</oml:creator>
  <oml:data>
{data}  </oml:data>
  <oml:tasks>
{tasks}  </oml:tasks>
</oml:study>
"""


def _path(dataset: Dataset, tag: str) -> str | None:
    """Where on this server the description says a file is."""
    found = re.search(rf"<oml:{tag}>\{{server\}}([^<]*)</oml:{tag}>", dataset.description)
    return None if found is None else unquote(unescape(found[1]))


def _on_server(url: str) -> str:
    return re.sub("^https?://[^/]+", "{server}", url)


def _parquet_url(did: int) -> str:
    return f"{{server}}/datasets/{did // 10_000:04d}/{did:04d}/dataset_{did}.pq"


def _recorded() -> Path:
    return Path(os.environ["METAMINE_SHARED"]) / "data/openml_recorded/datasets"


def _element(tag: str, value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<oml:{tag}>{escape(text)}</oml:{tag}>"


def _description(fields: Mapping[str, Any]) -> str:
    """As OpenML writes it; None leaves an element out, a list repeats it."""
    lines = [
        f"  {_element(tag, value)}\n"
        for tag, values in fields.items()
        for value in (values if isinstance(values, list | tuple) else [values])
        if value is not None
    ]
    return f"<oml:data_set_description {_XMLNS}>\n{''.join(lines)}</oml:data_set_description>\n"


def _feature(fields: Mapping[str, Any], levels: Sequence[str]) -> str:
    lines = []
    for tag, value in fields.items():
        lines.append(f"    {_element(tag, value)}\n")
        if tag == "data_type":
            lines += [f"          {_element('nominal_value', level)}\n" for level in levels]
    return f"    <oml:feature>\n{''.join(lines)}  </oml:feature>\n"


def _features(features: Iterable[str]) -> str:
    return f"<oml:data_features {_XMLNS}>\n{''.join(features)}</oml:data_features>\n"


def _qualities(values: Iterable[tuple[str, Any]]) -> str:
    lines = [
        f"\n  <oml:quality  >\n    {_element('name', name)}\n      {_element('value', value)}\n"
        "    </oml:quality>\n"
        for name, value in values
    ]
    return f"<oml:data_qualities {_XMLNS}>\n{''.join(lines)}</oml:data_qualities>\n"


def _measured(
    columns: Mapping[str, list[Any]],
    kinds: Mapping[str, str],
    nominal: Mapping[str, Sequence[str]],
    targets: Sequence[str],
) -> dict[str, float]:
    rows = list(zip(*columns.values(), strict=True))
    values = {
        "NumberOfInstances": len(rows),
        "NumberOfFeatures": len(columns),
        "NumberOfClasses": len(nominal.get(targets[0], ())) if len(targets) == 1 else 0,
        "NumberOfMissingValues": sum(row.count(None) for row in rows),
        "NumberOfInstancesWithMissingValues": sum(None in row for row in rows),
        "NumberOfNumericFeatures": list(kinds.values()).count("numeric"),
        "NumberOfSymbolicFeatures": list(kinds.values()).count("nominal"),
        "NumberOfBinaryFeatures": sum(len(levels) == 2 for levels in nominal.values()),
    }
    if len(targets) == 1 and targets[0] in nominal:
        labels = [str(value) for value in columns[targets[0]] if value is not None]
        sizes = [labels.count(level) for level in set(labels)] or [0]
        values |= {"MajorityClassSize": max(sizes), "MinorityClassSize": min(sizes)}
    return {name: float(value) for name, value in values.items()}


_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""


def _arff_levels(arff: str) -> dict[str, list[str]]:
    """The levels of the nominal attributes in the header."""
    levels = {}
    attribute = rf"^@attribute\s+({_QUOTED}|\S+?)\s*\{{(.*)\}}\s*$"
    for name, listed in re.findall(attribute, arff, flags=re.I | re.M):
        found = re.findall(rf"\s*({_QUOTED}|[^,]+?)\s*(?:,|$)", listed)
        levels[_unquoted(name)] = [_unquoted(level) for level in found]
    return levels


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[:1] in "'\"" else text


def _quoted(text: str) -> str:
    if re.fullmatch(r"[\w.+<>=/-]+", text):
        return text
    for plain, escaped in (("\\", r"\\"), ("'", r"\'"), ("\n", r"\n"), ("\t", r"\t")):
        text = text.replace(plain, escaped)
    return f"'{text}'"


def _arff(
    name: str,
    columns: Mapping[str, list[Any]],
    kinds: Mapping[str, str],
    nominal: Mapping[str, Sequence[str]],
    *,
    sparse: bool,
) -> bytes:
    def type_of(column: str) -> str:
        if kinds[column] == "nominal":
            return "{" + ",".join(map(_quoted, nominal[column])) + "}"
        return {"numeric": "REAL", "string": "STRING", "date": 'DATE "yyyy-MM-dd"'}[kinds[column]]

    def cell(value: Any, kind: str) -> str:
        if value is None:
            return "?"
        return _number(value) if kind == "numeric" else _quoted(str(value))

    lines = [f"@RELATION {_quoted(name)}", ""]
    lines += [f"@ATTRIBUTE {_quoted(column)} {type_of(column)}" for column in columns]
    lines += ["", "@DATA"]
    for row in zip(*columns.values(), strict=True):
        cells = [cell(value, kind) for value, kind in zip(row, kinds.values(), strict=True)]
        if sparse:
            # Only zeros are left out: readers disagree about the first level of a nominal column.
            kept = zip(range(len(cells)), cells, kinds.values(), strict=True)
            cells = [f"{i} {text}" for i, text, kind in kept if (text, kind) != ("0", "numeric")]
        lines.append("{" + ",".join(cells) + "}" if sparse else ",".join(cells))
    return ("\n".join(lines) + "\n").encode()


def _number(value: Any) -> str:
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _parquet(
    columns: Mapping[str, list[Any]],
    kinds: Mapping[str, str],
    nominal: Mapping[str, Sequence[str]],
) -> bytes:
    def array(column: str, values: list[Any]) -> pa.Array:
        if kinds[column] == "nominal":
            levels = list(nominal[column])
            codes = [None if value is None else levels.index(str(value)) for value in values]
            index = pa.array(codes, pa.int8() if len(levels) < 128 else pa.int16())
            return pa.DictionaryArray.from_arrays(
                index, pa.array(levels, pa.string()), ordered=True
            )
        if kinds[column] != "numeric":
            return pa.array(
                [None if value is None else str(value) for value in values], pa.string()
            )
        if all(value is not None and value in range(256) for value in values):
            return pa.array([int(value) for value in values], pa.uint8())
        return pa.array([None if v is None else float(v) for v in values], pa.float64())

    arrays = [array(column, values) for column, values in columns.items()]
    file = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_arrays(arrays, names=list(columns)), file)
    return file.getvalue()
