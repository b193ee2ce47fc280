"""`metamine list KIND`: what there is to choose from, or the runs under a folder."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from metamine.complaints import did_you_mean
from metamine.confdir import PACKAGE, conf_dir
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
    if given.kind == "runs":
        rows = runs(given.folder)
    elif given.kind == "suites":
        rows = suites()
    else:
        rows = choices(conf_dir() / GROUPS[given.kind])
    print_columns(rows)
    return 0


def complete(request: Sequence[str]) -> int:
    """Answer a shell's completion request."""
    last = os.environ.get("COMP_LINE", "").rpartition(" ")[2]
    print(" ".join(kind for kind in KINDS if kind.startswith(last)))
    return 0


def choices(folder: Path) -> list[tuple[str, ...]]:
    """Name, family (methods only: optimization, metric, ...) and purpose of each config."""
    rows = []
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_text()
        target = re.search(r"^_target_: *(\S+)", text, re.MULTILINE)
        module, _, name = target[1].rpartition(".") if target else ("", "", "")
        family = re.fullmatch(r"metamine\.methods\.(\w+)\.\w+", module)
        purpose = comment(text) or docstring(module, name)
        rows.append((path.stem, *([family[1]] if family else []), purpose))
    return rows


def comment(text: str) -> str:
    """The first line of a config, if it is a comment."""
    lines = [line for line in text.splitlines() if not line.startswith("# @package")]
    return lines[0].removeprefix("#").strip() if lines and lines[0].startswith("#") else ""


def docstring(module: str, name: str) -> str:
    """The first line of a class's docstring, read from its source: importing it takes seconds."""
    path = PACKAGE.parent / f"{module.replace('.', '/')}.py"
    if not path.is_file():
        return ""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


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
