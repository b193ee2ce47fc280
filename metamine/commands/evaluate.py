"""`metamine evaluate run=RUN`: a run's checkpoint, on its own held-out tasks or on others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

NOW = "${now:%Y-%m-%d}/${now:%H-%M-%S-%f}"


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    from metamine.errors import UsageError
    from metamine.hydra_app.launch import config_folders, launch, option, split
    from metamine.hydra_app.saved import primary_config

    run, words = option([*words, "hydra/help=evaluate"], "run")
    plain, flags = split(words)
    if run is None:
        if {"-h", "--help", "--hydra-help"} & set(flags):
            return launch(job, words)
        raise UsageError("evaluate needs a run: metamine evaluate run=RUN; see: metamine list runs")
    primary = primary_config(Path(run), plain, config_folders(flags))
    primary |= {"run": run, "checkpoint": "best"}
    name = Path(run).resolve().name
    primary["hydra"]["run"]["dir"] = f"outputs/evaluate/{NOW}_{name}"
    primary["hydra"]["sweep"] = {
        "dir": "outputs/evaluate/sweeps",
        "subdir": f"{name}_${{digest:${{hydra.overrides.task}}}}",
    }
    return launch(job, words, primary)


def complete(request: Sequence[str]) -> int:
    """Answer a shell's completion request."""
    from metamine.hydra_app import launch

    return launch.complete(job, request)


def job(config: DictConfig) -> float | None:
    """One evaluation."""
    from metamine import run
    from metamine.hydra_app.job import carry_out

    return carry_out(run.evaluate_job, config, resuming=False)
