"""`metamine transfer source=...`: train on each group of tables, test on each other."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from metamine.cores import cores

DESCRIPTION = """\
Train on each part of the tables and on each prior, test on the tables of all other parts, and say
where that beats training from scratch, where it harms, and what would have foretold it.
"""
EPILOG = """\
KEY=VALUE are overrides of `metamine train` that come last in every run: source=tables path=FOLDER
says which tables, method=maml, steps=500 and seed=0,1,2 how to train. Groups of tables (index.csv,
source.groups, tables of the same data) stay whole. What is done is not done again, so that the same
command goes on where it was stopped.
"""


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="metamine transfer", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for every run")
    parser.add_argument(
        "--groups",
        type=int,
        metavar="N",
        help="put the groups of tables into N parts (default: 5, or a part for each if fewer)",
    )
    parser.add_argument(
        "--similarity",
        type=Path,
        metavar="RUN",
        help="of method=nearest_task, trained on other tables; without one, one is trained",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=cores(),
        metavar="N",
        help="commands at a time (default: one for each core)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where to (default: a folder of outputs/transfer named by what is asked)",
    )
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="also look for method/NAME.yaml, ... in DIR"
    )
    from metamine.errors import UsageError

    if {"-m", "--multirun"} & set(words):
        raise UsageError("transfer has no sweeps; leave out -m (seed=0,1,2 needs none)")
    given = parser.parse_intermixed_args(words)
    if given.jobs < 1:
        raise UsageError(f"--jobs {given.jobs} must be 1 at least")
    for word in given.overrides:
        if "=" not in word and not word.startswith("~"):
            raise UsageError(f"'{word}' cannot be read; an override is written key=value")
    return _transfer(given)


def complete(request: Sequence[str]) -> int:
    """Answer a shell's completion request: as for the runs that are made."""
    from metamine.commands import train

    return train.complete(request)


def _transfer(given: argparse.Namespace) -> int:
    from metamine.complaints import say
    from metamine.errors import UsageError
    from metamine.hydra_app.designed import design
    from metamine.overrides import digest
    from metamine.report.transferred import write_report
    from metamine.reproduce.work import Work
    from metamine.transfer.gains import by_table, gains
    from metamine.transfer.predictors import foretold, similarity_of

    made = design(given.overrides, given.groups, given.config_dir)
    trust = made.config["trust"]
    similarity = similarity_of(given.similarity, trust) if given.similarity else None
    asked = digest([*given.overrides, *([f"--groups {given.groups}"] if given.groups else [])])
    output = given.output or Path("outputs/transfer") / f"{made.source.name}_{asked}"
    if (output / "report.md").exists() and not (output / "matrix.csv").exists():
        raise UsageError(
            f"{output}/report.md is not that of transfer; choose another place by --output"
        )
    cells = [row.cell for row in made.rows] + ([] if similarity else [made.similarity])
    work = Work(cells, {}, output)
    failures = work.carry_out(given.jobs, partial(print, flush=True))
    if similarity is None:
        for _, run in work.directories(made.similarity):
            similarity = similarity_of(run, trust)
    found = [(row, run) for row in made.rows for _, run in work.directories(row.cell)]
    measured = gains(made, found)
    pairs = by_table(measured, made)
    pairs = pairs.join(foretold(pairs, made, similarity))
    print(write_report(made, measured, pairs, output, failures, work.seconds()))
    print(f"\n{output}")
    if failures:
        told = f"{len(failures)} of {len(work.cells)} cells failed"
        say(f"{told}; the same command tries these again")
    return 1 if failures else 0
