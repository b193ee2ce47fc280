"""`metamine report PATH...`: any number of runs in one table, with pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="metamine report", description=__doc__)
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="run directories, or folders of them"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("outputs/report"),
        metavar="DIR",
        help="where to write (default: outputs/report)",
    )
    given = parser.parse_args(words)
    from metamine.report.collect import report

    print(report(given.paths, given.output))
    print(f"\n{given.output}")
    return 0


def complete(request: Sequence[str]) -> int:
    """Answer a shell's completion request: paths are the shell's own affair."""
    return 0
