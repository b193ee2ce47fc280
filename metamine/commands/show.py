"""`metamine show RUN`: status, command line, config in brief, results and files of one run."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metamine.commands.list import print_columns
from metamine.errors import UsageError
from metamine.pretrained import run_of


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="metamine show", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, or pretrained")
    run = run_of(parser.parse_args(words).run)
    try:
        facts = json.loads((run / "run.json").read_text())
    except (OSError, ValueError):
        raise UsageError(
            f"{run} is no run directory: it has no readable run.json; see: metamine list runs"
        ) from None
    print_columns([("run", str(run)), *status(facts), *settings(run / "config.yaml")])
    if table := results(run / "report.md"):
        print(f"\n{table}")
    print("\nfiles")
    print_columns([("", *row) for row in files(run)])
    return 0


def complete(request: Sequence[str]) -> int:
    """Answer a shell's completion request: paths are the shell's own affair."""
    return 0


def status(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What `run.json` says of the course of the run."""
    for key in ("status", "error", "started", "ended", "command", "device", "seed", "headline"):
        if facts.get(key) is not None:
            yield key, str(facts[key])


def settings(path: Path) -> Iterator[tuple[str, str]]:
    """The class of each node of the config, and the plain values of its top level."""
    if not path.is_file():
        return
    from omegaconf import OmegaConf

    config = OmegaConf.to_container(OmegaConf.load(path))
    for key, value in config.items() if isinstance(config, dict) else ():
        if not isinstance(value, dict):
            yield f"config.{key!s}", json.dumps(value)
        elif "_target_" in value:
            yield f"config.{key!s}", value["_target_"].rpartition(".")[2]


def results(path: Path) -> str:
    """The first table of the report; empty if there is none yet."""
    if not path.is_file():
        return ""
    table = re.search(r"(?:^\|.*\n?)+", path.read_text(), re.MULTILINE)
    return table[0].rstrip() if table else ""


def files(run: Path) -> Iterator[tuple[str, str]]:
    """Path and size of each file, hidden ones left out."""
    for path in sorted(run.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield str(path), f"{path.stat().st_size:,} bytes"
