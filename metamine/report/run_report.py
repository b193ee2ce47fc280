"""report.md of one run, with its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from metamine.report import sections
from metamine.report.drawing import NO_PICTURES, drawing
from metamine.report.files import Labelled, Run
from metamine.report.headline import headline
from metamine.report.html import write_both
from metamine.report.ranking import ranks
from metamine.report.results import kinds

CAPTIONS = {
    "learning": "Loss on the training tasks, and the metric on the validation tasks.",
    "tables": "Each table under each method, with 95% intervals over its episodes; grey ticks are "
    "the other methods.",
    "calibration": "Share of right answers against the probability given to them; on the line = "
    "calibrated. Bins with less than 1% of the rows are left out.",
    "critical_difference": "Mean ranks over tables, best on the left; a bar joins methods that the "
    "critical difference CD does not tell apart.",
    "shots": "Scores against the number of labelled rows, with 95% intervals; with more than eight "
    "methods, only that of the best (grey).",
    "cost": "Scores against cost, with 95% intervals. A filled point: no method is better at no "
    "more cost.",
}


def write_report(run_directory: Path) -> str:
    """Write `report.md`, `report.html`, `pictures/` into a run directory, from its files alone.

    Returns the headline, for the terminal. Raises MetamineError if run.json or results.parquet
    cannot be read, or the report cannot be written.
    """
    run = Run.read(run_directory)
    results = run.results()
    left_out = [f"- {note}" for note in sections.absent(run.part("absent"))]
    top = "\n".join([headline(results, run.part("plan_hash")), *left_out])
    choices = run.part("choices")
    named = [str(choices[key]) for key in ("method", "source") if key in choices]
    title = " on ".join(named) or run_directory.name
    parts = [
        f"# {title}",
        _how(run),
        top,
        *body(results, [(title, run)], run_directory),
        sections.skipped(run.part("skipped")),
        sections.READING,
    ]
    write_both(run_directory, parts)
    return top


def body(
    results: pd.DataFrame,
    runs: Sequence[Labelled],
    directory: Path,
    metrics: Sequence[str] | None = None,
) -> list[str]:
    """The sections below the headline, for each metric; pictures are put in `directory`.

    runs: for their learning curves, protocols and costs. metrics: None takes the headline's, one
    for each kind of task.
    """
    parts = []
    for metric in metrics or kinds(results):
        here = results[results[metric].notna()]
        parts += [
            _pictures(here, metric, runs, directory),
            sections.comparisons(here, metric),
            ranks(here, metric),
            sections.tables(here, metric),
            sections.all_metrics(here, metric),
        ]
    return parts


def _pictures(results: pd.DataFrame, metric: str, runs: Sequence[Labelled], directory: Path) -> str:
    pictures = drawing("pictures")
    if pictures is None:
        return NO_PICTURES
    drawn = pictures.draw(results, metric, runs, directory / "pictures")
    return "\n\n".join(
        f"![{name}](pictures/{file})\n\n{CAPTIONS[name]}" for name, file in drawn.items()
    )


def _how(run: Run) -> str:
    """The command, and when, where, with what and at what cost it ran."""
    record, cost, git, versions = run.record, *map(run.part, ("cost", "git", "versions"))
    dirty = " with uncommitted changes" if git.get("dirty") else ""
    facts = {
        "started {}": record.get("started"),
        "training {} s": cost.get("train_seconds"),
        "evaluation {} s": cost.get("evaluate_seconds"),
        "encoder {}": run.part("choices").get("encoder"),
        "{:,} parameters": record.get("parameters"),
        "seed {}": record.get("seed"),
        "device {}": record.get("device"),
        "threads {}": record.get("threads"),
        "commit {:.10}" + dirty: git.get("commit"),
        **{f"{name} {{}}": versions.get(name) for name in ("metamine", "torch", "python")},
    }
    told = [text.format(value) for text, value in facts.items() if value is not None]
    command = [f"`{record['command']}`"] if record.get("command") else []
    return "\n\n".join([*command, "; ".join(told)])
