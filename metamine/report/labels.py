"""Names for runs: the method's, and whatever its runs differ in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from metamine.report.files import Run

# Keys of a config that do not change what is learnt.
NO_MATTER = frozenset({"seed", "device", "threads", "workers", "chunk_size", "parallel_chunks"})
NO_MATTER |= {"trust", "log_every", "checkpoint_every", "evaluation"}


def labels(runs: Sequence[Run]) -> list[str]:
    """One label for each run, such as `MAML (encoder=MLP, inner_lr=0.1)`.

    In brackets stand the keys of the config in which runs of the same method differ, seeds and
    what has no effect on learning aside. Runs with the same label are the same experiment.
    """
    settings = [dict(_flat(_config(run))) for run in runs]
    same_method = defaultdict(list)
    for run, setting in zip(runs, settings, strict=True):
        same_method[_method(run)].append(setting)
    return [
        _label(_method(run), setting, same_method[_method(run)])
        for run, setting in zip(runs, settings, strict=True)
    ]


def _label(method: str, setting: Mapping[str, str], others: Sequence[Mapping[str, str]]) -> str:
    keys = dict.fromkeys(key for other in others for key in other)
    differing = [key for key in keys if len({other.get(key) for other in others}) > 1]
    # A node that is of another class differs as a whole; one that `${...}` copied, only once.
    classes = [key.removesuffix("._target_") for key in differing if key.endswith("._target_")]
    told = [
        key
        for key in differing
        if not any(key.startswith(f"{node}.") and key != f"{node}._target_" for node in classes)
        and not any(key.endswith(f".{other}") for other in differing)
    ]
    return f"{method} ({', '.join(_told(key, setting) for key in told)})" if told else method


def _told(key: str, setting: Mapping[str, str]) -> str:
    value, name = setting.get(key, "unset"), key.removeprefix("method.")
    if name.endswith("._target_"):
        return f"{name.removesuffix('._target_')}={value.rpartition('.')[2]}"
    return f"{name}={value}"


def _method(run: Run) -> str:
    return str(run.part("choices").get("method", run.path.name))


def _config(run: Run) -> dict[str, Any]:
    """What was learnt, and how; of a mere evaluation, the config of the run it evaluated."""
    evaluated = run.part("evaluated")
    folders = (Path(evaluated.get("run", run.path)), run.path)
    file = next((f / "config.yaml" for f in folders if (f / "config.yaml").exists()), None)
    config = OmegaConf.to_container(OmegaConf.load(file)) if file else {}
    assert isinstance(config, dict)
    kept = {str(key): value for key, value in config.items() if key not in NO_MATTER}
    return kept | {"checkpoint": evaluated.get("checkpoint", "best")}


def _flat(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of nested mappings under its dotted key, as text."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, str(node)
