"""One job: alone it ends the program with an exit code, in a sweep it lets the others go on."""

from __future__ import annotations

import contextlib
import gc
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metamine.complaints import complain, say, sentence
from metamine.errors import Interrupted, UsageError
from metamine.hydra_app.sentences import translated

# config (plain and resolved), run directory, overrides, whether to go on with what is there
Work = Callable[[dict[str, Any], Path, list[str], bool], float | None]


def carry_out(work: Work, config: DictConfig, resuming: bool) -> float | None:
    """Do the work of a Hydra job.

    Alone: raises SystemExit with the exit code of whatever went wrong, after saying it.
    In a sweep: a failure is noted for the end (see `Guard`) and NaN, a failed trial to any sweeper,
    is returned; only an interruption stops the sweep. What is done already is not done again.
    """
    settings = HydraConfig.get()
    directory = Path(settings.runtime.output_dir)
    log = directory / "log.txt"
    alone = settings.mode == RunMode.RUN
    try:
        overrides = list(settings.overrides.task)
        return work(as_plain(config), directory, overrides, resuming or not alone)
    except (Interrupted, KeyboardInterrupt) as error:
        raise SystemExit(complain(error)) from None
    except Exception as error:
        if isinstance(error, UsageError):
            with contextlib.suppress(OSError):  # only an empty one goes: nothing shall be written
                directory.rmdir()
        if alone:
            raise SystemExit(complain(error, log)) from None
        problem = sentence(error, log)
    # Nothing is raised: Hydra would keep the exception, and what its frames hold, to the end.
    gc.collect()
    say(f"{directory} failed: {problem}")
    with Path(settings.callbacks["guard"].failures).open("a") as file:
        file.write(json.dumps({"directory": str(directory), "problem": problem}) + "\n")
    return math.nan


def as_plain(config: DictConfig) -> dict[str, Any]:
    """The config without Hydra's part, interpolations resolved.

    Raises UsageError for a value that is missing or refers to nothing.
    """
    ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        plain = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise translated(error) from error
    return cast(dict[str, Any], plain)
