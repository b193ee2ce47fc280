"""Any number of run directories as one table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from metamine.errors import MetamineError, UsageError
from metamine.report import sections
from metamine.report.files import Run, write
from metamine.report.headline import headlines
from metamine.report.labels import labels
from metamine.report.run_report import body
from metamine.report.table import latex, markdown
from metamine.statistics import COLUMN, summarise

SAME_SCORE = ["method", "seed", *COLUMN, "table", "episode"]


def report(paths: Sequence[Path], output: Path) -> str:
    """Collect the finished runs below `paths`: report.md, results.csv, table.tex, pictures/.

    Runs that differ in nothing but the seed share a row; others are told apart by what they differ
    in. Only runs that were evaluated on the same episodes share a column.
    Returns the table for the terminal, and which runs were left out and why. Raises UsageError if no
    run is finished, MetamineError if the report cannot be written.
    """
    runs, frames, left_out = _finished(paths)
    if not runs:
        raise UsageError(
            f"no finished run in {', '.join(map(str, paths))}"
            f"{': ' if left_out else ''}{'; '.join(left_out)}; give the directory of a run "
            "that ended with status done"
        )
    called = labels(runs)
    results, hashes, several_plans = _on_equal_plans(runs, map(_labelled, frames, called))
    results = results.drop_duplicates(SAME_SCORE, keep="last")
    left_out += [
        f"{run.path} (a later run has its config and seed)"
        for index, run in enumerate(runs)
        if index not in set(results.loc[results["role"] == "meta", "run"])
    ]
    results = results.drop(columns="run")
    tables = headlines(results, hashes)
    notes = several_plans + [f"Left out: {run}." for run in left_out]
    top = "\n\n".join([*map(str, tables), *(["\n".join(f"- {note}" for note in notes)] * bool(notes))])
    return top
