"""`metamine tasks similarity run=RUN`: which tables are alike, as a run has learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

QUESTIONS = ("similarity",)
USAGE = "metamine tasks similarity run=RUN"
NOW = "${now:%Y-%m-%d}/${now:%H-%M-%S-%f}"


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    from metamine.complaints import did_you_mean
    from metamine.errors import UsageError
    from metamine.hydra_app.launch import config_folders, launch, option, split

    asks_help = bool({"-h", "--help", "--hydra-help"} & set(words))
    question = next((word for word in words if not word.startswith("-") and "=" not in word), None)
    if question not in QUESTIONS and not (question is None and asks_help):
        if question is None:
            raise UsageError(f"tasks needs to know what is asked: {USAGE}")
        hint = did_you_mean(question, QUESTIONS) or f"; there is {', '.join(QUESTIONS)}"
        raise UsageError(f"tasks cannot tell '{question}'{hint}")
    words = [*(word for word in words if word != question), "hydra/help=tasks"]
    if asks_help:
        return launch(_job({}), words)
    run, words = option(words, "run")
    output, words = option(words, "output")
    if not run:
        raise UsageError(f"tasks similarity needs a run: {USAGE}; see: metamine list runs")
    asked: dict[str, Any] = {}
    for key, default in {"split": "all", "batches": "8"}.items():
        value, words = option(words, key)
        value = default if value is None else value
        asked[key] = int(value) if value.isdecimal() else value
    plain, flags = split(words)
    if {"-m", "--multirun"} & set(flags):
        raise UsageError("tasks similarity makes one map, and has no sweeps; leave out -m")
    primary = primary_of(Path(run), plain, config_folders(flags))
    name = Path(run).resolve().name
    primary["hydra"]["run"]["dir"] = output or f"outputs/tasks/{NOW}_{name}"
    from metamine.config import check
    from metamine.task_map_job import Asked, check_free

    check(asked, Asked)
    if output:
        check_free(Path(output))
    return launch(_job(asked), words, primary)


def primary_of(run: Path, words: Sequence[str], folders: Sequence[Path]) -> dict[str, Any]:
    """The run's own config, and which checkpoint of it is read.

    With a source of one's own, the sources that the run is tested on beside its own are left out.
    """
    from metamine.hydra_app.saved import primary_config

    primary = primary_config(run, words, folders)
    if any(word.startswith("source=") for word in words) and "evaluation" in primary:
        primary["evaluation"]["also"] = {}
    return primary | {"run": str(run), "checkpoint": "best"}


def complete(request: Sequence[str]) -> int:
    """Answer a shell's completion request."""
    import os

    last = os.environ.get("COMP_LINE", "").rpartition(" ")[2]
    choices = (*QUESTIONS, "run=", "output=", "split=", "batches=", "checkpoint=", "seed=")
    print(" ".join(word for word in choices if word.startswith(last)))
    return 0


def _job(asked: dict[str, Any]) -> Any:
    """What Hydra calls: the comparison, of the tables that are asked for."""

    def job(config: DictConfig) -> float | None:
        from metamine.hydra_app.job import carry_out
        from metamine.task_map_job import similarity_job

        def work(config: dict[str, Any], directory: Path, *_: object) -> None:
            similarity_job(config, directory, asked)

        return carry_out(work, config, resuming=False)

    return job
