"""Hand a command to Hydra: flags anywhere, its errors in one sentence, on every version of it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from metamine.complaints import did_you_mean
from metamine.confdir import conf_dir
from metamine.errors import UsageError
from metamine.hydra_app.resolvers import register_resolvers
from metamine.hydra_app.sentences import translated

if sys.version_info >= (3, 14) and hydra.__version__.startswith("1.3."):
    # Hydra 1.3 gives argparse a help text that is no string, which Python 3.14 inspects.
    setattr(argparse.ArgumentParser, "_check_help", lambda self, action: None)  # noqa: B010


def launch(
    job: Callable[[DictConfig], float | None],
    words: Sequence[str],
    primary: Mapping[str, Any] | None = None,
) -> int:
    """Compose the config that `words` ask for and run `job` on it, or on each of a sweep's.

    primary: takes the place of conf/train.yaml.
    Raises UsageError if nothing can be composed. Returns the exit code.
    """
    register_resolvers()
    plain, flags = split(words)
    name = "train"
    if primary is not None:
        name = "saved_run"
        ConfigStore.instance().store(name=name, node=dict(primary))
    # Hydra then raises what went wrong, instead of printing it and exiting.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # For run.json, in whatever process a job runs: Hydra gets other words than were typed.
    os.environ["METAMINE_COMMAND"] = shlex.join(["metamine", *sys.argv[1:]])
    typed, sys.argv = sys.argv, [sys.argv[0], *plain, *flags]
    try:
        hydra.main(config_path=str(conf_dir()), config_name=name, **_version_keywords())(job)()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise translated(error) from error
    finally:
        sys.argv = typed
    return 0


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides, and flags with their values: Hydra 1.3 wants all overrides on one side.

    Raises UsageError for a flag that Hydra does not have, or cannot read.
    """
    parser = get_args_parser()
    setattr(parser, "error", _refuse)  # noqa: B010
    known, rest = parser.parse_known_args(list(words))
    for word in rest:
        if word.startswith("-"):
            hint = did_you_mean(word, parser._option_string_actions)
            raise UsageError(f"there is no flag {word}{hint or '; --help lists them'}")
    plain = [*known.overrides, *rest]
    flags = list(words)
    for word in plain:
        flags.remove(word)
    return plain, flags


def option(words: Sequence[str], key: str) -> tuple[str | None, list[str]]:
    """The value of `key=VALUE` among the words, and the other words."""
    given = [word.removeprefix(f"{key}=") for word in words if word.startswith(f"{key}=")]
    others = [word for word in words if not word.startswith(f"{key}=")]
    return (given[-1] if given else None), others


def config_folders(words: Sequence[str]) -> list[Path]:
    """Where config groups are looked up: metamine's own, and that of --config-dir."""
    extra = get_args_parser().parse_known_args(list(words))[0].config_dir
    return [conf_dir(), *([Path(extra)] if extra else [])]


def complete(job: Callable[[DictConfig], float | None], request: Sequence[str]) -> int:
    """Answer a shell's completion request; COMP_LINE holds the line without the command word.

    Flags leave the line, where they would hide the overrides that follow; --config-dir is obeyed.
    """
    program, _, line = os.environ.get("COMP_LINE", "").partition(" ")
    try:
        plain, _ = split(line.split())
        extra = config_folders(line.split())[1:]
    except UsageError:  # a flag half typed
        return 0
    unfinished = "" if not plain or line.endswith(" ") else plain.pop()
    os.environ["COMP_LINE"] = " ".join([program, *plain, unfinished])
    folder = [word for path in extra for word in ("--config-dir", str(path))]
    return launch(job, ["-sc", *request, *folder])


def _refuse(message: str) -> NoReturn:
    raise UsageError(message)


def _version_keywords() -> dict[str, Any]:
    if hydra.__version__.startswith("1.3."):
        return {"version_base": "1.3"}
    return {"execution_whitelist": ["metamine.*"]}
