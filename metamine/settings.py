"""The top level of a config: which keys there are, and what may change when a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt

from metamine.config import check
from metamine.devices import resolve
from metamine.errors import UsageError
from metamine.evaluation import Evaluation
from metamine.methods.base import Method
from metamine.optimizers import MetaOptimizer
from metamine.protocol import Protocol, ProtocolMix
from metamine.sources.base import Source

# Keys that only the config's own nodes read (`${encoder}`); they are no field of `Training`.
REFERRED_TO = frozenset({"encoder", "path", "suite", "tasks", "datasets"})
# Of these, the ones that only some sources read.
_OF_SOURCES = {"path": "tables", "suite": "openml", "tasks": "openml", "datasets": "openml"}
# What may differ from the stored config when a run goes on: none of it changes a step already
# taken.
CHANGEABLE = frozenset({"steps", "device", "threads", "parallel_chunks", "workers", "trust"})


@dataclass(frozen=True)
class Training:
    """The top level of the config: every key of `conf/train.yaml` is a field.

    init: run whose best weights, and method, training sets out from; null: fresh ones.
    seed: root of every random stream of training. steps: meta-training steps. meta_batch: tasks a
    step. chunk_size: tasks computed at once. parallel_chunks: chunks at once, a thread each.
    averaging: see `training.Schedule`. threads: of torch. workers: processes for baselines, null
    for one a core. log_every, checkpoint_every: in steps; each checkpoint is validated.
    trust: packages besides metamine whose classes the config may construct.
    """

    source: Source
    protocol: Protocol | ProtocolMix
    method: Method
    optimizer: MetaOptimizer
    evaluation: Evaluation
    seed: NonNegativeInt
    steps: PositiveInt
    meta_batch: PositiveInt
    chunk_size: PositiveInt
    device: str
    threads: PositiveInt
    workers: PositiveInt | None
    log_every: PositiveInt
    checkpoint_every: PositiveInt
    trust: list[str]
    # Runs of before they came do not name these.
    init: str | None = None
    parallel_chunks: PositiveInt = 1
    averaging: Annotated[float, Field(gt=0, lt=1)] | None = None


def check_training(config: Mapping[str, Any]) -> None:
    """Raise UsageError unless `config`, plain and resolved, is a sound call of `Training`."""
    check(config, Training, config.get("trust") or (), ignore=REFERRED_TO)
    resolve(config["device"])
    for key, source in _OF_SOURCES.items():
        if config.get(key) is not None and not _names(config["source"], key):
            raise UsageError(
                f"{key}={config[key]} needs a source that reads it: add source={source}"
            )


def check_same(config: Mapping[str, Any], stored: Any, directory: Path) -> None:
    """Raise UsageError unless `config` goes on with the run that `stored` describes."""
    for key in config.keys() | stored.keys():
        if key not in CHANGEABLE and _plain(config.get(key)) != _plain(stored.get(key)):
            raise UsageError(
                f"{directory} was made with another {key}; going on may change only "
                f"{', '.join(sorted(CHANGEABLE))}: choose another hydra.run.dir for a new run"
            )


def _names(node: Any, key: str) -> bool:
    """True if a source, or one that it is mixed from, has that key."""
    if not isinstance(node, Mapping):
        return False
    return key in node or any(_names(part, key) for part in (node.get("sources") or {}).values())


def _plain(value: Any) -> Any:
    """As it reads back from a file (tuples are lists), and as it bears on results: baselines take
    `workers` along, on which no answer depends.
    """
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items() if key != "workers"}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
