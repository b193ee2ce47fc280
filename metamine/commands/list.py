"""`metamine list KIND`: what there is to choose from, or the runs under a folder."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from metamine.complaints import did_you_mean
from metamine.confdir import conf_dir
from metamine.docstrings import description, first_line, sentence_of_package
from metamine.errors import UsageError

# Kind of thing -> its folder of configs.
GROUPS = {
    "methods": "method",
    "baselines": "baseline",
    "encoders": "encoder",
    "sources": "source",
    "optimizers": "optimizer",
    "protocols": "protocol",
    "evaluations": "evaluation",
    "experiments": "experiment",
}
KINDS = (*GROUPS, "suites", "runs")
# Of methods, in the order in which they are shown: packages within metamine.methods.
FAMILIES = ("optimization", "metric", "model", "data")


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="metamine list", description=__doc__)
    parser.add_argument("kind", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("outputs"), help="of runs (default: outputs)"
    )
    given = parser.parse_args(words)
    if given.kind not in KINDS:
        hint = did_you_mean(given.kind, KINDS) or f"; there are {', '.join(KINDS)}"
        raise UsageError(f"there are no {given.kind} to list{hint}")
    if given.kind == "methods":
        print("\n".join(methods(conf_dir() / GROUPS["methods"])))
        return 0
    if given.kind == "runs":
        rows = runs(given.folder)
    elif given.kind == "suites":
        rows = suites()
    else:
        rows = [*choices(conf_dir() / GROUPS[given.kind])]
    print_columns(rows)
    return 0


def complete(request: Sequence[str]) -> int:
    """Answer a shell's completion request."""
    last = os.environ.get("COMP_LINE", "").rpartition(" ")[2]
    print(" ".join(kind for kind in KINDS if kind.startswith(last)))
    return 0


def methods(folder: Path) -> Iterator[str]:
    """The lines of `list methods`: by family, each method's purpose and, below it, its paper."""
    targets = {path.stem: target_of(path) for path in sorted(folder.glob("*.yaml"))}
    found = {name: target.rpartition(".")[0].rpartition(".")[0] for name, target in targets.items()}
    width = max(map(len, found))
    known = [f"metamine.methods.{family}" for family in FAMILIES]
    for package in (*known, *sorted({*found.values()} - {*known})):
        yield f"{package.rpartition('.')[2]}: {sentence_of_package(package)}"
        for name in (name for name in found if found[name] == package):
            yield f"  {name:{width}}  {purpose_of(folder / f'{name}.yaml')}"
            if paper := description(targets[name]).paper:
                yield f"  {'':{width}}  {paper}"


def choices(folder: Path) -> list[tuple[str, str]]:
    """Name and purpose of each config."""
    return [(path.stem, purpose_of(path)) for path in sorted(folder.glob("*.yaml"))]


def target_of(path: Path) -> str:
    """The class that a config constructs; empty if it constructs none."""
    found = re.search(r"^_target_: *(\S+)", path.read_text(), re.MULTILINE)
    return found[1] if found else ""


def purpose_of(path: Path) -> str:
    """The first line of a config, if it is a comment, or else of its class's docstring."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    if lines and lines[0].startswith("#"):
        return lines[0].removeprefix("#").strip()
    return first_line(target_of(path))


def suites() -> list[tuple[str, ...]]:
    """Alias, id, size and date of each OpenML suite that can be named without a network."""
    from metamine.openml.store import store_folder
    from metamine.openml.suites import known

    rows: list[tuple[str, ...]] = [("suite", "id", "tables", "as of")]
    for suite in known(store_folder()):
        number = "-" if suite.id is None else str(suite.id)
        rows.append((suite.alias, number, str(len(suite.entries)), suite.collected))
    return rows


def runs(folder: Path) -> list[tuple[str, ...]]:
    """Path, status, method, source, seed and headline metric of each run below `folder`."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} to look for runs in; list runs takes a path")
    rows: list[tuple[str, ...]] = [("run", "status", "method", "source", "seed", "headline")]
    for path in sorted(folder.rglob("run.json")):
        try:
            facts = json.loads(path.read_text())
        except (OSError, ValueError):
            rows.append((str(path.parent), "unreadable run.json"))
            continue
        chosen, headline = facts.get("choices", {}), facts.get("headline")
        rows.append(
            (
                str(path.parent),
                str(facts.get("status", "-")),
                str(chosen.get("method", "-")),
                str(chosen.get("source", "-")),
                str(facts.get("seed", "-")),
                "-" if headline is None else f"{headline:.4f}",
            )
        )
    return rows


def print_columns(rows: Iterable[Sequence[str]]) -> None:
    """Print rows with their cells aligned."""
    rows = list(rows)
    widths: dict[int, int] = {}
    for row in rows:
        for column, cell in enumerate(row[:-1]):
            widths[column] = max(widths.get(column, 0), len(cell))
    for row in rows:
        cells = [cell.ljust(widths[column]) for column, cell in enumerate(row[:-1])]
        print("  ".join([*cells, row[-1]]).rstrip())
