"""Any number of run directories as one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from metamine.errors import MetamineError, UsageError
from metamine.report import sections
from metamine.report.families import families
from metamine.report.files import Labelled, Run, write
from metamine.report.headline import headlines
from metamine.report.html import is_page, write_both
from metamine.report.labels import labels
from metamine.report.results import columns_of
from metamine.report.run_report import body
from metamine.report.table import NOTHING, latex, markdown
from metamine.scores import COLUMN
from metamine.statistics import summarise

SAME_SCORE = ["method", "seed", *COLUMN, "table", "episode"]


def report(paths: Sequence[Path], output: Path) -> str:
    """Collect finished runs: report.md, report.html, results.csv, table.tex, pictures/.

    Runs that differ in nothing but the seed share a row; others are told apart by what they differ
    in. Only runs that were evaluated on the same episodes share a column.
    Returns the table for the terminal, and which runs were left out and why. Raises UsageError if
    no run is finished, or if `output` holds a report.md or report.html that no earlier report of
    many runs put there; MetamineError if the report cannot be written.
    """
    of_many = (output / "table.tex").exists()
    ours = {"report.md": of_many, "report.html": of_many and is_page(output / "report.html")}
    for name in ours:
        if (output / name).exists() and not ours[name]:
            raise UsageError(
                f"{output}/{name} is not a report of many runs; choose another place by --output"
            )
    runs, frames, left_out = _finished(paths)
    if not runs:
        raise UsageError(
            f"no finished run in {', '.join(map(str, paths))}; name the directory of a run whose "
            f"status is done{''.join(f'; {reason}' for reason in left_out)}"
        )
    called = labels(runs)
    labelled = list(zip(called, runs, strict=True))
    results, hashes, notes = _in_columns_of_equal_plans(
        pd.concat([_named(*each) for each in zip(runs, frames, called, strict=True)])
    )
    results = results.drop_duplicates(SAME_SCORE, keep="last", ignore_index=True)
    left_out += [
        f"{run.path}: a later run has the same config and seed"
        for run in runs
        if str(run.path) not in set(results["run"])
    ]
    results = results.drop(columns=["run", "plan"])
    known = _families(labelled)
    tables = headlines(results, hashes, known)
    notes += dict.fromkeys(note for run in runs for note in sections.absent(run.part("absent")))
    notes += [f"left out {reason}" for reason in left_out]
    top = "\n\n".join([*map(str, tables), "\n".join(f"- {note}" for note in notes)]).strip()
    parts = [f"# {len(runs)} runs", top, *body(results, labelled, output)]
    parts += [_table_of_runs(labelled), sections.READING]
    write_both(output, parts)
    summary = summarise(results)
    summary = summary.assign(family=summary["method"].map(families(summary, known)))
    write(output / "results.csv", summary.to_csv(index=False))
    blocks = (latex(each.header, each.rows, each.title) for each in tables)
    write(output / "table.tex", "\n\n".join(blocks) + "\n")
    return top


def _finished(paths: Sequence[Path]) -> tuple[list[Run], list[pd.DataFrame], list[str]]:
    """The finished runs, oldest first, their results, and why others are none."""
    if missing := [path for path in paths if not path.is_dir()]:
        raise UsageError(
            f"{missing[0]} is not a directory; name run directories or what holds them"
        )
    found = sorted({file.parent for path in paths for file in path.rglob("run.json")})
    finished, left_out = [], []
    for path in found:
        try:
            run = Run.read(path)
            if (status := run.record.get("status")) == "done":
                finished.append((run, run.results()))
            else:
                left_out.append(f"{path}: its status is {status}")
        except MetamineError as error:
            left_out.append(f"{path}: {error}")
    finished.sort(key=lambda each: str(each[0].record.get("ended")))
    return [run for run, _ in finished], [frame for _, frame in finished], left_out


def _families(runs: Sequence[Labelled]) -> dict[str, str]:
    """The family of each method whose run tells it."""
    return {
        name: str(family)
        for label, run in runs
        if (family := run.part("choices").get("family")) is not None
        for name in _names(label).values()
    }


def _names(label: str) -> dict[str, str]:
    """What the learners of a run are called, by their roles."""
    return {"meta": label, "from scratch": f"{label} from scratch"}


def _named(run: Run, results: pd.DataFrame, label: str) -> pd.DataFrame:
    """A run's results with its label for a method, its directory, and the plan of each row."""
    plan = (results["source"] + "/" + results["protocol"]).map(run.part("plan_hash"))
    return results.assign(
        method=results["role"].map(_names(label)).fillna(results["method"]),
        run=str(run.path),
        plan=plan.fillna("unknown"),
    )


def _in_columns_of_equal_plans(
    results: pd.DataFrame,
) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """Sources renamed where plans differ; "source/protocol" -> plan; a sentence for each such."""
    n_plans = results.groupby(COLUMN)["plan"].transform("nunique")
    with_plan = results["source"] + " [" + results["plan"].str[:6] + "]"
    notes = [
        f"{source} {protocol} was evaluated on several sets of episodes, which stand in columns of "
        "their own, named by their plan; compare within a column only."
        for source, protocol in columns_of(results[n_plans > 1])
    ]
    results = results.assign(source=results["source"].where(n_plans == 1, with_plan))
    plans = results[[*COLUMN, "plan"]].drop_duplicates().to_numpy()
    return results, {f"{source}/{protocol}": plan for source, protocol, plan in plans}, notes


def _table_of_runs(runs: Sequence[Labelled]) -> str:
    header = ["run", "method", "source", "encoder", "seed", "parameters", "train s", "evaluate s"]
    header += ["ms a task", "memory MB"]
    rows = []
    for label, run in runs:
        choices, cost, record = run.part("choices"), run.part("cost"), run.record
        facts = [choices.get("source"), choices.get("encoder")]
        facts += [record.get("seed"), record.get("parameters")]
        facts += [cost.get("train_seconds"), cost.get("evaluate_seconds")]
        facts += [(cost.get("task_milliseconds") or {}).get(choices.get("method"))]
        facts += [(cost.get("peak_memory_mb") or {}).get("host")]
        rows.append([str(run.path), label])
        rows[-1] += [NOTHING if fact is None else str(fact) for fact in facts]
    return f"## Runs\n\n{markdown(header, rows)}"
