from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from metamine.confdir import PACKAGE

ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Which parts may not know of which: data flows from sources by way of the sampler to methods, from
# there to the engine, the run directory and the report; imports point the other way only.
FORBIDDEN = {
    "openml": ["sources", "prefetch", "sampler", "plan", "methods", "engine", "report", "run"],
    "prefetch": ["sampler", "plan", "encoders", "methods", "engine", "training", "report", "run"],
    "sources": [
        "prefetch",
        "sampler",
        "plan",
        "encoders",
        "methods",
        "engine",
        "training",
        "report",
        "run",
    ],
    "encoders": ["sources", "sampler", "plan", "methods", "engine", "training", "report", "run"],
    "methods": ["sources", "sampler", "plan", "engine", "training", "rundir", "report", "run"],
    "sampler": ["encoders", "methods", "engine", "training", "rundir", "report", "run"],
    "engine": ["training", "rundir", "report", "run"],
    "rundir": ["sources", "sampler", "methods", "engine", "report", "run"],
    "report": ["sources", "sampler", "plan", "encoders", "methods", "engine", "training", "run"],
}
# What only the command line knows of.
COMMAND_LINE = ("cli", "commands", "hydra_app", "confdir")
HEAVY = {"torch", "hydra", "omegaconf", "numpy", "pandas", "pydantic", "scipy", "sklearn", "joblib"}


def imports(path: Path, anywhere: bool = True) -> Iterator[str]:
    """Dotted names that a file imports; `anywhere`: also within functions."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if anywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import, which this test cannot follow"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    """The file or folder of the package that a module belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("part", FORBIDDEN)
def test_imports_point_one_way(part: str) -> None:
    paths = [path for path in MODULES if part_of(path) == part]
    assert paths
    for path in paths:
        for name in imports(path):
            package, *rest = name.split(".")
            assert package != "metamine" or rest[0] not in FORBIDDEN[part], f"{path}: {name}"


def test_only_the_command_line_knows_of_itself() -> None:
    for path in MODULES:
        if part_of(path) not in (*COMMAND_LINE, "__main__"):
            for name in imports(path):
                package, *rest = name.split(".")
                assert package != "hydra", f"{path}: {name}"
                assert package != "metamine" or rest[0] not in COMMAND_LINE, f"{path}: {name}"


def test_commands_import_nothing_heavy_at_the_top() -> None:
    paths = [path for path in MODULES if part_of(path) in ("cli", "commands", "__main__")]
    paths += [PACKAGE / f"{name}.py" for name in ("__init__", "complaints", "confdir", "errors")]
    assert len(paths) > 8
    for path in paths:
        heavy = {name.partition(".")[0] for name in imports(path, anywhere=False)} & HEAVY
        assert not heavy, f"{path}: {heavy}"


def test_the_forbidden_parts_exist() -> None:
    parts = {part_of(path) for path in MODULES}
    assert parts >= set(FORBIDDEN) | {name for names in FORBIDDEN.values() for name in names}


def test_every_folder_is_a_package() -> None:
    assert all((path.parent / "__init__.py").is_file() for path in MODULES)


def test_all_configs_travel_in_the_wheel() -> None:
    """The wheel takes conf/ as it lies there, which is to hold nothing that git ignores."""
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == {
        "conf": "metamine/conf"
    }
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "conf"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    found = [str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*") if path.is_file()]
    assert listed
    assert sorted(found) == sorted(listed)


def test_every_dependency_is_pinned_and_nothing_but_versions() -> None:
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {normal(line.partition("==")[0]) for line in lines}
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(name for extra in PROJECT["project"]["optional-dependencies"].values() for name in extra),
    ]
    names = {normal(re.split(r"[\[<>=~ ]", requirement)[0]) for requirement in wanted}
    assert names - {"metamine"} <= pinned


def test_make_says_which_python_it_needs() -> None:
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=").split(".")
    assert f"sys.version_info < ({', '.join(lowest)})" in (ROOT / "Makefile").read_text()
    assert sys.version_info >= tuple(map(int, lowest))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
