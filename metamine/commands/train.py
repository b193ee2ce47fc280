"""`metamine train`: meta-train and evaluate; `resume=RUN` goes on with a run, `init=RUN` sets out
from the weights of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    from metamine.errors import UsageError
    from metamine.hydra_app.launch import config_folders, launch, option, split
    from metamine.hydra_app.saved import config_with_method_of, primary_config

    run, words = option(words, "resume")
    if run is None:
        init, others = option(words, "init")
        if init in (None, "null"):
            return launch(job, words)
        plain, flags = split(others)
        config = config_with_method_of(Path(str(init)), plain, config_folders(flags))
        return launch(job, words, config)
    plain, flags = split(words)
    if {"-m", "--multirun"} & set(flags):
        raise UsageError(f"resume={run} goes on with one run; leave out -m")
    primary = primary_config(Path(run), plain, config_folders(flags))
    primary["hydra"]["run"]["dir"] = run
    return launch(resumed_job, words, primary)


def complete(request: Sequence[str]) -> int:
    """Answer a shell's completion request."""
    from metamine.hydra_app import launch

    return launch.complete(job, request)


def job(config: DictConfig) -> float | None:
    """One new run."""
    return _train(config, resuming=False)


def resumed_job(config: DictConfig) -> float | None:
    """One run that goes on."""
    return _train(config, resuming=True)


def _train(config: DictConfig, resuming: bool) -> float | None:
    from metamine import run
    from metamine.hydra_app.job import carry_out

    return carry_out(run.train_job, config, resuming)
