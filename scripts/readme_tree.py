"""Write the tree into README.md: each file with the first sentence of its docstring.

python scripts/readme_tree.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START, END = "## The tree\n\n```\n", "```\n\n## Benchmarks"
ABOVE = """\
conf/                          every yaml is one constructor call; shipped in the wheel
  train.yaml                   the main job: defaults, seed, steps, cadence, where runs go
  source/  protocol/           where tasks come from; how episodes are cut
  method/  encoder/  optimizer/
  evaluation/  baseline/       what a run is judged on, and beside what
  experiment/                  settings of several groups at once
  hydra/                       help texts and logging
"""
BELOW = """\
scripts/                       what a maintainer runs: benchmarks, this tree, docs/methods.md
tests/                         test_FILE.py for each file; contracts over everything in conf/
docs/methods.md                every method: equation, options, what it is good for, cost
docs/log.md                    what was tried and measured, dated
outputs/                       where runs go
"""


def tree() -> str:
    """The tree as it should stand in README.md."""
    return ABOVE + "\n".join(_lines(ROOT / "metamine", 0)) + "\n" + BELOW


def _lines(folder: Path, depth: int) -> Iterator[str]:
    yield _line(folder.name + "/", depth, folder / "__init__.py")
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            yield _line(path.name, depth + 1, path)
    for inside in sorted(folder.iterdir()):
        if (inside / "__init__.py").exists():
            yield from _lines(inside, depth + 1)


def _line(name: str, depth: int, module: Path) -> str:
    words = ast.get_docstring(ast.parse(module.read_text())) or ""
    sentence = " ".join(words.split("\n\n")[0].split()).rstrip(".")
    return ("  " * depth + name).ljust(30) + " " + sentence


if __name__ == "__main__":
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(START)
    readme.write_text(before + START + tree() + END + rest.partition(END)[2])
