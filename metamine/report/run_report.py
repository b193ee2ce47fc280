"""report.md of one run, with its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from metamine.report import sections
from metamine.report.files import Run, write
from metamine.report.headline import headline, kinds

CAPTIONS = {
    "learning": "Loss on the training tasks, and the metric on the validation tasks.",
    "tables": (
        "Each table under each method, with 95% intervals over its episodes; "
        "grey ticks are the other baselines."
    ),
    "calibration": (
        "Share of right answers against the probability given to them; on the line = calibrated. "
        "Bins with less than 1% of the rows are left out."
    ),
}
NO_PICTURES = "Pictures are left out: matplotlib is missing; `pip install metamine[plots]` brings it."


def write_report(run_directory: Path) -> str:
    """Write `report.md` and `pictures/` into a run directory, from its files alone.

    Returns the headline, for the terminal. Raises MetamineError if run.json or results.parquet
    cannot be read, or the report cannot be written.
    """
    run = Run.read(run_directory)
    results = run.results()
    top = headline(results, run.part("plan_hash"))
    choices = run.part("choices")
    title = " on ".join(str(choices[key]) for key in ("method", "source") if key in choices)
    parts = [
        f"# {title or run_directory.name}",
        _how(run),
        top,
        *body(results, {title: run}, run_directory),
        sections.skipped(run.part("skipped")),
        sections.READING,
    ]
    write(run_directory / "report.md", "\n\n".join(part for part in parts if part) + "\n")
    return top


def body(results: pd.DataFrame, runs: Mapping[str, Run], directory: Path) -> list[str]:
    """The sections below the headline, for each kind of task, with pictures drawn in `directory`.

    runs: by the label their learning curve is to have.
    """
    parts = []
    for metric in kinds(results):
        here = results[results[metric].notna()]
        parts += [
            _pictures(here, metric, runs, directory),
            sections.comparisons(here, metric),
            sections.tables(here, metric),
            sections.all_metrics(here, metric),
        ]
    return parts


def _pictures(
    results: pd.DataFrame, metric: str, runs: Mapping[str, Run], directory: Path
) -> str:
    try:
        from metamine.report import pictures
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return NO_PICTURES
    drawn = pictures.draw(results, metric, runs, directory / "pictures")
    return "\n\n".join(
        f"![{CAPTIONS[name]}](pictures/{file})\n\n{CAPTIONS[name]}" for name, file in drawn.items()
    )


def _how(run: Run) -> str:
    """One paragraph: the command, and when, where and at what cost it ran."""
    record, cost, git, versions = run.record, *map(run.part, ("cost", "git", "versions"))
    encoder = run.part("choices").get("encoder")
    commit = str(git.get("commit", ""))[:10] + (" with uncommitted changes" * bool(git.get("dirty")))
    facts = {
        "started {}": record.get("started"),
        "{} s of training": cost.get("train_seconds"),
        "{} s of evaluation": cost.get("evaluate_seconds"),
        "encoder {}": encoder,
        "{:,} parameters": record.get("parameters"),
        "seed {}": record.get("seed"),
        "device {}": record.get("device"),
        "{} threads": record.get("threads"),
        "commit {}": commit,
        **{f"{name} {{}}": versions.get(name) for name in ("metamine", "torch", "python")},
    }
    told = [text.format(value) for text, value in facts.items() if value not in (None, "")]
    command = record.get("command")
    return (f"`{command}`\n\n" if command else "") + "; ".join(told)
