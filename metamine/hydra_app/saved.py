"""The config of an earlier run as the base of a new command, in the place of conf/train.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from metamine.confdir import conf_dir
from metamine.errors import UsageError
from metamine.pretrained import run_of

# Top-level keys that nodes refer to (`${path}`). A run stores its config resolved; unless they
# refer again, `path=OTHER` would change the key and nothing else.
_REFERRED_TO = ("encoder", "path", "suite", "tasks", "datasets", "workers")
_METHOD_CHOSEN = "${hydra.runtime.choices.method}"  # in the names of run directories
_BROUGHT = {"encoder", "method"}  # by the run that another sets out from
# Not taken over from a directory that somebody else may have made: they could name code to run.
_DROPPED = ("defaults", "hydra", "trust")


def config_with_method_of(
    run: Path, words: Sequence[str], folders: Sequence[Path]
) -> dict[str, Any]:
    """conf/train.yaml as a Hydra primary config, with the method and encoder of `run`.

    folders: where the config groups are that `words` choose from.
    Raises UsageError if `run` is no run directory, or if `words` choose a method or an encoder,
    or an experiment that does.
    """
    saved = _saved(run)
    for word in words:
        group, _, choice = word.lstrip("+").partition("=")
        if group in _BROUGHT:
            raise UsageError(f"init={run} brings its own method and encoder; leave out {word}")
        for name in choice.split(",") if group == "experiment" else ():
            if chosen := _BROUGHT & _overridden(name, folders):
                raise UsageError(
                    f"init={run} brings its own method and encoder, and experiment={name} chooses "
                    f"{' and '.join(sorted(chosen))} too; leave it out and give its other keys"
                )
    ours = _load(conf_dir() / "train.yaml")
    kept: dict[str, Any] = {key: saved[key] for key in sorted(_BROUGHT) if key in saved}
    defaults = [
        entry
        for entry in ours["defaults"]
        if not (isinstance(entry, dict) and _BROUGHT & set(entry))
    ]
    hydra, name = ours["hydra"], run.resolve().name
    for part, key in (("run", "dir"), ("sweep", "subdir")):
        hydra[part][key] = hydra[part][key].replace(_METHOD_CHOSEN, name)
    return {**ours, **kept, "defaults": defaults}


def primary_config(run: Path, words: Sequence[str], folders: Sequence[Path]) -> dict[str, Any]:
    """A Hydra primary config that holds what `run` was made with.

    words: overrides; one that chooses from a config group (a folder in one of `folders`) puts its
    choice in the place of the run's own node of that name.
    Raises UsageError if `run` is no run directory.
    """
    saved = _saved(run)
    kept = {key: value for key, value in saved.items() if key not in _DROPPED}
    kept = {key: _referring(value, kept) for key, value in kept.items()}
    defaults: list[str | dict[str, Any]] = ["_self_"]
    for word in words:
        group, _, choice = word.lstrip("+").partition("=")
        if group.startswith("hydra/"):
            continue
        if any((folder / group).is_dir() for folder in folders):
            _remove(kept, group.split("/"))
            defaults.append({group: choice.split(",")[0]})
    ours = _load(conf_dir() / "train.yaml")
    for entry in ours["defaults"]:
        if isinstance(entry, dict) and next(iter(entry)).startswith("override hydra/"):
            defaults.append(entry)
    return {**kept, "defaults": defaults, "hydra": ours["hydra"], "trust": []}


def _saved(run: Path) -> dict[str, Any]:
    """The config that a run was made with. Raises UsageError if `run` is no run directory."""
    path = run_of(run) / "config.yaml"
    if not path.is_file():
        raise UsageError(
            f"{run} is no run directory: it has no config.yaml; see: metamine list runs"
        )
    return _load(path)


def _overridden(experiment: str, folders: Sequence[Path]) -> set[str]:
    """The groups that an experiment chooses from anew, if there is one of that name."""
    for path in (folder / "experiment" / f"{experiment}.yaml" for folder in folders):
        if path.is_file():
            entries = [each for each in _load(path).get("defaults", []) if isinstance(each, dict)]
            keys = (str(key) for each in entries for key in each)
            return {key.removeprefix("override /") for key in keys}
    return set()


def _load(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a config: it holds no keys")
    return {str(key): value for key, value in content.items()}


def _referring(value: Any, top: Mapping[str, Any]) -> Any:
    """`value` with references in the place of nested keys that repeat a top-level one."""
    if isinstance(value, list):
        return [_referring(inner, top) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        key: f"${{{key}}}"
        if key in _REFERRED_TO and key in top and inner == top[key]
        else _referring(inner, top)
        for key, inner in value.items()
    }


def _remove(config: dict[str, Any], path: Sequence[str]) -> None:
    *parents, last = path
    for parent in parents:
        config = config.get(parent) or {}
    config.pop(last, None)
