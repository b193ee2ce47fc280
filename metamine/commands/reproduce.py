"""`metamine reproduce NAME`: run what a published table needs, and hold ours against it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from metamine.cores import cores

DESCRIPTION = "Run what a published table needs, and print its numbers beside ours."
EPILOG = """\
What is done is not done again, so that the same command goes on where it was stopped. KEY=VALUE are
overrides of `metamine train` that come last in every run, such as path=FOLDER, device=cuda, or
steps=100 for a trial; a table with other settings gets a folder of its own.
"""


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="metamine reproduce", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the table")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for every run")
    parser.add_argument("--list", action="store_true", help="say which tables there are, and stop")
    parser.add_argument(
        "--jobs",
        type=int,
        default=cores(),
        metavar="N",
        help="commands at a time (default: one for each core)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to (default: outputs/reproduce/NAME)"
    )
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="also look for table/NAME.yaml in DIR"
    )
    given = parser.parse_intermixed_args(words)
    from metamine.confdir import conf_dir
    from metamine.errors import UsageError

    folders = [conf_dir(), *([given.config_dir] if given.config_dir else [])]
    if given.list:
        from metamine.commands.list import print_columns

        print_columns(listed(folders))
        return 0
    if given.name is None:
        raise UsageError("reproduce needs the name of a table; see: metamine reproduce --list")
    if given.jobs < 1:
        raise UsageError(f"--jobs {given.jobs} must be 1 at least")
    for word in given.overrides:
        if "=" not in word:
            raise UsageError(f"'{word}' cannot be read; an override is written key=value")
    return _reproduce(given, folders)


def listed(folders: Sequence[Path]) -> list[tuple[str, ...]]:
    """Name, cost, title and paper of each table."""
    from metamine.reproduce.table import load, tables

    rows: list[tuple[str, ...]] = [("table", "minutes", "what it measures")]
    for name in tables(folders):
        table = load(name, folders)
        minutes = "-" if table.minutes is None else f"{table.minutes:g}"
        rows += [(name, minutes, table.title), ("", "", table.about)]
    return [*rows, ("", "", "minutes: on 2 cores, measured")]


def complete(request: Sequence[str]) -> int:
    """Answer a shell's completion request."""
    from metamine.confdir import conf_dir
    from metamine.reproduce.table import tables

    last = os.environ.get("COMP_LINE", "").rpartition(" ")[2]
    print(" ".join(name for name in tables([conf_dir()]) if name.startswith(last)))
    return 0


def _reproduce(given: argparse.Namespace, folders: Sequence[Path]) -> int:
    from metamine.complaints import say
    from metamine.errors import UsageError
    from metamine.overrides import digest
    from metamine.report.reproduced import collect, write_report
    from metamine.reproduce.table import load, tables
    from metamine.reproduce.work import Work

    table = load(given.name, folders)
    more = list(given.overrides)
    name = f"{given.name}_{digest(more)}" if more else given.name
    output = given.output or Path("outputs/reproduce") / name
    if (output / "report.md").exists() and not (output / "runs").is_dir():
        raise UsageError(
            f"{output}/report.md is not that of a reproduced table; "
            "choose another place by --output"
        )
    if given.config_dir:
        more += ["--config-dir", str(given.config_dir)]
    work = Work(list(table.cells(more)), table.evaluated, output)
    failures = work.carry_out(given.jobs, partial(print, flush=True))
    found = [(cell, *place) for cell in work.cells for place in work.directories(cell)]
    results = collect(table, found)
    folder = tables(folders)[given.name].parent
    print(write_report(table, results, folder, output, failures, work.seconds()))
    print(f"\n{output}")
    if failures:
        told = f"{len(failures)} of {len(work.cells)} cells failed"
        say(f"{told}; the same command tries these again")
    return 1 if failures else 0
