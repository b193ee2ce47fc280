"""Fill the store from OpenML: what is there stays, what is missing is fetched, checked, kept."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from filelock import FileLock, Timeout
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from tqdm import tqdm

from metamine import __version__
from metamine.errors import MetamineError
from metamine.files import cannot_write, write_json
from metamine.openml import store as kept
from metamine.openml.store import Kind
from metamine.openml.suites import Wanted, wanted_tables
from metamine.prefetch.client import Client, NotThere, features_of
from metamine.prefetch.datafile import Column, Corrupt, check_size
from metamine.prefetch.entries import parts_of, write_dataset, write_task
from metamine.prefetch.transport import BoundedSession, Unavailable

Result = TypeVar("Result")
# What is taken from a data set's description besides its features.
_DESCRIBED = (
    *("name", "version", "licence", "creator", "citation", "format", "url", "md5_checksum"),
    *("_parquet_url", "default_target_attribute", "row_id_attribute", "ignore_attribute"),
)
Names = list[str | int] | str | int | None


@dataclass(frozen=True)
class Request:
    """What `metamine prefetch` is asked for; every key is one of these.

    suite: aliases or ids. tasks, datasets: ids. dest: the store (default: METAMINE_STORE, or the
    user's data folder). server: of the API, for mirrors. format: "auto" takes Parquet, and ARFF
    where there is none whose MD5 is known. splits: fetch OpenML's own splits of tasks too.
    timeout: seconds without a byte. tries: of each request. most_cells: rows x columns of a data
    set. most_bytes: of one answer.
    """

    suite: Names
    tasks: list[PositiveInt] | PositiveInt | None
    datasets: list[PositiveInt] | PositiveInt | None
    dest: str | None
    server: str
    format: Literal["auto", "parquet", "arff"]
    splits: bool
    timeout: PositiveFloat
    tries: Annotated[int, Field(ge=1, le=10)]
    most_cells: PositiveInt
    most_bytes: PositiveInt
    pause: NonNegativeInt = 1  # seconds before the second try; doubled for each one after

    @property
    def store(self) -> Path:
        return kept.store_folder(self.dest)

    @property
    def suites(self) -> list[str | int]:
        return _listed(self.suite)

    def wanted(self) -> list[Wanted]:
        """Raises UsageError if nothing is asked for, or a suite is not known."""
        return wanted_tables(self.suites, _listed(self.tasks), _listed(self.datasets), self.store)


@dataclass
class Summary:
    """What became of a request."""

    there: int = 0
    fetched: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # what -> why
    bytes: int = 0

    def text(self, store: Path) -> str:
        lines = [
            f"{self.fetched} fetched ({self.bytes / 1e6:,.1f} MB), {self.there} were there, "
            f"{len(self.failed)} failed; store: {store}"
        ]
        lines += [f"  {what}: {why}" for what, why in self.failed.items()]
        if self.failed:
            lines.append("The same command goes on where this one stopped.")
        return "\n".join(lines)


class Prefetch:
    """One process that fetches one thing after the other; any number may share a store."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.store = request.store
        self.summary = Summary()
        self.bar: tqdm[Any] | None = None
        self._shown, self._shown_at = "", 0.0
        self._client: Client | None = None

    def run(self, wanted: Sequence[Wanted]) -> Summary:
        """Fetch what is missing. Raises MetamineError only if the store cannot be written."""
        with tqdm(total=len(wanted), unit=" tables", desc="prefetch", disable=None) as self.bar:
            for table in wanted:
                what = f"data set {table.dataset}" if table.task is None else f"task {table.task}"
                self._shown = what
                self._show()
                try:
                    self._table(table)
                except OSError as error:
                    raise cannot_write(self.store, error) from error
                except MetamineError as error:
                    self.summary.failed[what] = str(error)
                self.bar.update()
        self._clear_up()
        return self.summary

    def refresh(self, name: str | int) -> dict[str, Any]:
        """Take a snapshot of a suite from the server into the store. Raises MetamineError."""
        with self._scratch("suites", 0) as scratch:
            snapshot = self._tried(lambda: self.client.suite(name), scratch)
        now = datetime.now(UTC).date().isoformat()
        snapshot |= {"collected": now, "provenance": self.request.server}
        if not str(snapshot["alias"]).replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise Corrupt(f"the alias of suite {name} is no name: {snapshot['alias']!r}")
        write_json(self.store / "suites" / f"{snapshot['alias']}.json", snapshot)
        return snapshot

    @property
    def client(self) -> Client:
        """Made when first needed: a store that is complete needs no openml package."""
        if self._client is None:
            request, summary = self.request, self.summary

            def count(n: int) -> None:
                summary.bytes += n
                if time.monotonic() - self._shown_at > 0.5:
                    self._show()

            session = type(
                "Session",
                (BoundedSession,),
                {
                    "timeout": request.timeout,
                    "most_bytes": request.most_bytes,
                    "on_bytes": staticmethod(count),
                },
            )
            scratch = self.store / ".partial"
            scratch.mkdir(parents=True, exist_ok=True)
            self._client = Client(request.server, scratch, session)
        return self._client

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(f"{self._shown}, {self.summary.bytes / 1e6:,.1f} MB")

    def _table(self, table: Wanted) -> None:
        if table.task is None:
            assert table.dataset is not None
            self._dataset(table.dataset)
            return
        facts = task = self._have_task(table.task)
        if facts is None:
            facts = self._facts(table.task)
        self._dataset(facts["dataset"])
        if task is None:
            self._task(table.task, facts)

    def _facts(self, number: int) -> dict[str, Any]:
        with self._scratch("tasks", number) as scratch:
            return self._tried(lambda: self.client.task(number, splits=False), scratch)[0]

    def _task(self, number: int, before: dict[str, Any]) -> None:
        """Fetch a task, whose data set is there. before: what was said of it; no checksum tells."""
        data = kept.read(self._place("datasets", before["dataset"]), "datasets")
        with self._scratch("tasks", number) as scratch:
            if self._have_task(number) is not None:
                return

            def fetch() -> None:
                facts, splits = self.client.task(number, self.request.splits)
                if facts != before:
                    raise Corrupt(f"OpenML gave two different answers for task {number}")
                if facts["target"] not in [column["name"] for column in data["columns"]]:
                    raise Corrupt(f"its target '{facts['target']}' is none of the data's columns")
                parts = None
                if splits is not None:
                    parts = parts_of(splits, data["rows"], facts["procedure"])
                write_task(scratch / "entry", parts, facts | self._provenance())

            self._tried(fetch, scratch)
            self._keep(scratch / "entry", "tasks", number)

    def _dataset(self, number: int) -> None:
        if self._have("datasets", number) is not None:
            self.summary.there += 1
            return
        with self._scratch("datasets", number) as scratch:
            if self._have("datasets", number) is not None:  # another process was faster
                self.summary.there += 1
                return
            self._tried(lambda: self._fetch(number, scratch), scratch)
            self._keep(scratch / "entry", "datasets", number)
        self.summary.fetched += 1

    def _fetch(self, number: int, scratch: Path) -> None:
        client, found = self.client, self._described(number, scratch)
        n_rows = client.n_rows(number)
        if n_rows is not None:
            check_size(n_rows, len(found.features), self.request.most_cells)
        columns, form = self._columns(found, scratch)
        if n_rows is not None and len(columns[0].values) != n_rows:
            raise Corrupt(
                f"its file has {len(columns[0].values)} rows where OpenML counts {n_rows}"
            )
        left_out = dict.fromkeys(_names(found.ignore_attribute), "ignored by OpenML")
        left_out |= dict.fromkeys(_names(found.row_id_attribute), "row identifier")
        write_dataset(
            scratch / "entry",
            columns,
            _names(found.default_target_attribute),
            left_out,
            {
                "id": number,
                "name": str(found.name),
                "version": found.version,
                "licence": found.licence,
                "creator": found.creator,
                "citation": found.citation,
                "source_format": form,
                "md5": found.md5_checksum,
                **self._provenance(),
            },
        )

    def _described(self, number: int, scratch: Path) -> Any:
        """The description and features of a data set, once two answers agree: none has a checksum,
        and a wrong letter in the name of an ignored column would make a feature of it."""
        answers = []
        for folder in (scratch / "again", scratch):
            folder.mkdir(exist_ok=True)
            self.client.use(folder)
            answers.append(self.client.dataset(number))
        facts, again = (
            (features_of(each), {name: vars(each)[name] for name in _DESCRIBED}) for each in answers
        )
        if facts != again:
            raise Corrupt(f"two answers about data set {number} differ")
        return answers[1]

    def _columns(self, found: Any, scratch: Path) -> tuple[list[Column], str]:
        if self.request.format != "arff":
            try:
                file, most = scratch / "data.pq", self.request.most_cells
                return self.client.parquet(found, file, most), "parquet"
            except FileNotFoundError as error:
                if self.request.format == "parquet":
                    raise NotThere(f"there is no Parquet file ({error}); try format=auto") from None
            except (Corrupt, Unavailable):
                if self.request.format == "parquet":
                    raise
        return self.client.arff(found, self.request.most_cells), "arff"

    def _provenance(self) -> dict[str, Any]:
        return {
            "server": self.request.server,
            "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
            "openml_version": self.client.version,
            "metamine_version": __version__,
        }

    def _tried(self, attempt: Callable[[], Result], scratch: Path) -> Result:
        """Try some times, each from a clean scratch folder, with longer and longer pauses."""
        for number in range(1, self.request.tries + 1):
            _emptied(scratch)
            (scratch / "entry").mkdir()
            try:
                return attempt()
            except (Unavailable, Corrupt) as error:
                if number == self.request.tries:
                    tries = f" ({number} tries)" if number > 1 else ""
                    raise MetamineError(f"{error}{tries}") from error
                pause = self.request.pause * 2 ** (number - 1) * random.uniform(0.75, 1.25)
                time.sleep(max(min(pause, 60.0), getattr(error, "wait", 0.0)))
        raise AssertionError("not reached")

    def _place(self, kind: Kind, number: int) -> Path:
        return kept.entry_folder(self.store, kind, number)

    def _have(self, kind: Kind, number: int) -> dict[str, Any] | None:
        try:
            return kept.read(self._place(kind, number), kind)
        except FileNotFoundError:
            return None

    def _have_task(self, number: int) -> dict[str, Any] | None:
        """None also for a task that was kept without the splits that are asked for now."""
        task = self._have("tasks", number)
        lacks = task is not None and self.request.splits and "parts.npy" not in task["files"]
        return None if lacks else task

    def _keep(self, entry: Path, kind: Kind, number: int) -> None:
        place = self._place(kind, number)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():  # a task without splits
            place.rename(entry.with_name("before"))
        entry.rename(place)
        handle = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(handle)  # else a power cut could undo the rename
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _scratch(self, kind: str, number: int) -> Iterator[Path]:
        """An empty folder, which nobody else uses meanwhile, as the cache of the openml package."""
        scratch = self.store / ".partial" / f"{kind}-{number}"
        scratch.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(scratch.with_suffix(".lock")):
            _emptied(scratch)  # a killed process may have left something
            self.client.use(scratch)
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)

    def _clear_up(self) -> None:
        """Remove the scratch folders of processes that were killed once their entry was kept."""
        for lock in (self.store / ".partial").glob("*.lock"):
            scratch = lock.with_suffix("")
            if scratch.is_dir():
                with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):
                    shutil.rmtree(scratch)


def verify(store: Path, repair: bool) -> tuple[int, list[str]]:
    """Read all of the store: how many entries are sound, and a sentence on each that is not.

    repair: take the damaged ones away, so that the next prefetch fetches them anew.
    """
    sound, problems = 0, []
    for kind, name in kept.DESCRIPTION.items():
        for folder in sorted((store / kind).glob("*/")):
            try:
                kept.verify(folder, kind)
                sound += 1
            except (MetamineError, OSError) as error:
                what = f"no {name}" if isinstance(error, FileNotFoundError) else str(error)
                problems.append(f"{folder}: {what}")
                if repair:
                    away = store / ".partial" / f"damaged-{kind}-{folder.name}-{time.time_ns()}"
                    away.parent.mkdir(parents=True, exist_ok=True)
                    folder.rename(away)
    return sound, problems


def _emptied(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def _names(given: Any) -> list[str]:
    """Attribute names, which OpenML gives as one text, separated by commas, or as a list."""
    parts = given if isinstance(given, list) else str(given or "").split(",")
    return [part.strip() for part in map(str, parts) if part.strip()]


def describe_changes(before: dict[str, Any] | None, after: dict[str, Any]) -> str:
    """What a refreshed snapshot has that the one before had not, and the other way round."""
    title = f"{after['alias']} (suite {after['id']}): {len(after['entries'])} tables"
    if before is None:
        return f"{title}; it was not known before"
    key = "task" if any(each["task"] for each in after["entries"]) else "dataset"
    old = {each[key] for each in before["entries"]}
    new = {each[key] for each in after["entries"]}
    added, gone = sorted(new - old), sorted(old - new)
    if not added and not gone:
        return f"{title}; the same as on {before['collected']}"
    return (
        f"{title}; since {before['collected']} added: {json.dumps(added)}, gone: {json.dumps(gone)}"
    )
