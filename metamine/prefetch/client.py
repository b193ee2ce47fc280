"""The only module that imports the openml package: one attempt at a suite, a task, a data set.

The package is kept from what it does to its users (see each line): it gets a scratch folder as its
cache, no key, one try, and sessions that are bounded.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from metamine.errors import MetamineError, UsageError
from metamine.prefetch.datafile import Column, Corrupt, Feature, read_arff, read_parquet
from metamine.prefetch.transport import (
    BoundedSession,
    Unavailable,
    md5,
    scrubbed,
    without_query,
)

# Codes of the server that say: there is no such thing, or it is not for you.
_NOT_THERE = {111, 112, 151, 152, 601, 453, 600}


class NotThere(MetamineError):
    """The server says that there is no such thing; asking again does not help."""


class Client:
    """OpenML, by way of the openml package, with `scratch` as its cache.

    Every method makes one attempt, and raises Unavailable, Corrupt, NotThere or TooLarge.
    """

    def __init__(self, server: str, scratch: Path, session: type[BoundedSession]) -> None:
        self.server = server.rstrip("/") + "/"
        self.session = session
        self.openml = _imported(scratch)
        self.use(scratch)

    @property
    def version(self) -> str:
        return str(self.openml.__version__)

    def use(self, scratch: Path) -> None:
        """Keep what is fetched from now on in another folder."""
        config = self.openml.config
        config.server, config.apikey, config.show_progress = self.server, "", False
        config.set_root_cache_directory(str(scratch))
        config.set_retry_policy("human", n_retries=1)

    def suite(self, name: str | int) -> dict[str, Any]:
        """A snapshot of a suite, see suites.py; `collected` and `provenance` are left to add."""
        with self._guarded(f"suite {name}"):
            suite = self.openml.study.get_suite(name)
            tasks = [int(task) for task in suite.tasks or ()]
            alias = str(suite.alias or f"suite-{suite.id}")
        entries = [{"task": task, "dataset": None} for task in tasks]
        if not tasks:
            entries = [{"task": None, "dataset": int(each)} for each in suite.data or ()]
        return {"id": int(suite.id), "alias": alias, "entries": entries}

    def task(self, number: int, splits: bool) -> tuple[dict[str, Any], Any]:
        """What a task says, and its splits: repeat -> fold -> sample -> (train, test) or None."""
        with self._guarded(f"task {number}"):
            task = self.openml.tasks.get_task(number)
            kind = {1: "classification", 2: "regression"}.get(int(task.task_type_id.value))
            if kind is None:
                raise NotThere(
                    f"task {number} is a {task.task_type}; metamine reads "
                    "classification and regression tasks"
                )
            if int(task.task_id) != number:
                raise Corrupt(f"the answer for task {number} is task {task.task_id}")
            facts = {
                "id": number,
                "dataset": int(task.dataset_id),
                "target": str(task.target_name),
                "kind": kind,
                "procedure": {
                    "type": task.estimation_procedure["type"],
                    "parameters": task.estimation_procedure["parameters"],
                },
            }
            return facts, task.download_split().split if splits else None

    def dataset(self, number: int) -> Any:
        """The openml package's own description of a data set, features and qualities in it."""
        with self._guarded(f"data set {number}"):
            found = self.openml.datasets.get_dataset(
                number,
                download_data=False,
                download_qualities=False,  # there are sets without, for which the package fails
                download_features_meta_data=True,
            )
            if found.dataset_id != number:
                raise Corrupt(f"the answer for data set {number} is data set {found.dataset_id}")
            return found

    def n_rows(self, number: int) -> int | None:
        """How many rows the server counted, if it did."""
        try:
            with self._guarded(f"data set {number}"):
                found = self.openml.datasets.get_dataset(number, download_qualities=True)
                count = (found.qualities or {}).get("NumberOfInstances")
                return None if count is None or count != count else int(count)
        except NotThere:
            return None

    def parquet(self, dataset: Any, file: Path, most_cells: int) -> list[Column]:
        """The columns by the Parquet file, whose MD5 the server must name (as the ETag).

        The package would fetch it over plain HTTP, and check nothing.
        Raises FileNotFoundError if there is no such file.
        """
        url = vars(dataset).get("_parquet_url")
        if not url or not str(url).startswith(("http://", "https://")):
            raise FileNotFoundError("no Parquet file")
        with self.session() as session:
            tag = session.download(str(url), file)
        if len(tag) != 32 or md5(file) != tag:
            raise Corrupt(f"the MD5 of {without_query(str(url))} is not what the server says")
        return read_parquet(file, features_of(dataset), most_cells)

    def arff(self, dataset: Any, most_cells: int) -> list[Column]:
        """The columns by the ARFF file, whose MD5 the description must name."""
        if not dataset.md5_checksum:
            raise Corrupt(f"data set {dataset.dataset_id} names no MD5 of its ARFF file")
        with self._guarded(f"data set {dataset.dataset_id}"):
            found = self.openml.datasets.get_dataset(dataset.dataset_id, download_data=True)
            sparse = str(found.format).lower() == "sparse_arff"
            if not sparse and str(found.format).lower() != "arff":
                raise Corrupt(f"its format is {found.format}, neither ARFF nor Sparse_ARFF")
            return read_arff(Path(found.data_file), features_of(dataset), sparse, most_cells)

    @contextlib.contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """Bounded requests, and whatever comes out of the package as one of our errors."""
        import requests

        exceptions = self.openml.exceptions
        try:
            with (
                warnings.catch_warnings(),
                _replaced(vars(requests), Session=self.session),
                _replaced(os.environ, OPENML_SKIP_PARQUET="true"),
            ):
                warnings.simplefilter("ignore")
                yield
        except MetamineError as error:
            error.args = (scrubbed(str(error)),)
            raise
        except exceptions.OpenMLServerException as error:
            if error.code in _NOT_THERE:
                raise NotThere(f"OpenML has no {what}: {scrubbed(str(error.message))}") from None
            raise Unavailable(f"OpenML on {what}: {scrubbed(str(error.message))}") from None
        except exceptions.OpenMLPrivateDatasetError:
            raise NotThere(f"{what} is private") from None
        except exceptions.OpenMLHashException:
            raise Corrupt(f"{what}: the MD5 of its file is not what OpenML says") from None
        except (exceptions.OpenMLServerError, ExpatError):
            raise Unavailable(f"OpenML's answer for {what} is no XML") from None
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            reason = scrubbed(" ".join(str(error).split()))[:200]
            raise Corrupt(
                f"OpenML's answer for {what} makes no sense ({type(error).__name__}: {reason})"
            ) from None
        except OSError as error:
            raise MetamineError(f"{what}: {error}") from error
        except Exception as error:  # liac-arff's, and whatever else the package lets through
            reason = scrubbed(" ".join(str(error).split()))[:200]
            raise Corrupt(f"{what}: {type(error).__name__}: {reason}") from None


def features_of(dataset: Any) -> list[Feature]:
    """What features.xml says of the columns, in order. Raises Corrupt."""
    features = []
    for _, each in sorted(dataset.features.items()):
        if each.data_type not in ("numeric", "nominal", "string", "date"):
            raise Corrupt(f"its column '{each.name}' is of the unknown type '{each.data_type}'")
        levels = tuple(str(level) for level in each.nominal_values or ())
        features.append(Feature(str(each.name), each.data_type, levels))
    names = [feature.name for feature in features]
    if not names or len(set(names)) != len(names):
        raise Corrupt("its features.xml lists no column, or one twice")
    return features


@contextlib.contextmanager
def _replaced(names: MutableMapping[str, Any], **values: Any) -> Iterator[None]:
    """Values of a module or of the environment, for a while."""
    before = {name: names[name] for name in values if name in names}
    names.update(values)
    try:
        yield
    finally:
        for name in values:
            names.pop(name)
        names.update(before)


def _imported(scratch: Path) -> Any:
    """The package, imported without reading or making anything in the user's own folders."""
    logging.getLogger().addHandler(logging.NullHandler())  # else it installs one on stderr
    folders = {name: str(scratch) for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
    try:
        with _replaced(os.environ, **folders, OPENML_CACHE_DIR=str(scratch)):
            import openml
    except ImportError as error:
        raise UsageError(
            f"metamine prefetch needs the openml package: pip install 'metamine[openml]' ({error})"
        ) from None
    openml.config.set_console_log_level(logging.CRITICAL)
    return openml
