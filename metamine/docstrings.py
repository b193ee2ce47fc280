"""What classes say of themselves, read from their source: importing them takes seconds."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent  # that of the paths of modules
PAPER = re.compile(r'(?P<authors>[^"]+?): "(?P<title>[^"]+)" \((?P<year>\d{4})\)')
KINDS = ("classification", "regression")


@dataclass(frozen=True)
class Paper:
    """What the first paragraph of a method's docstring names."""

    authors: str
    title: str
    year: int

    def __str__(self) -> str:
        return f'{self.who}: "{self.title}" ({self.year})'

    @property
    def who(self) -> str:
        """The authors; the first alone, if there are more than two."""
        names = self.authors.split(", ")
        return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)


@dataclass(frozen=True)
class Description:
    """A method's docstring in its parts; empty where it does not have one."""

    citation: str  # the first paragraph, in one line
    body: list[tuple[Literal["text", "equation"], str]]  # paragraphs, in their order
    options: dict[str, str]  # argument -> what it means
    good_for: str
    arguments: list[str]  # of the constructor
    kinds: list[str]  # of tasks

    @property
    def paper(self) -> Paper | None:
        found = PAPER.match(self.citation)
        return found and Paper(found["authors"], found["title"], int(found["year"]))


def first_line(target: str) -> str:
    """The first line of the docstring of `package.module.Class`; empty if there is none."""
    node = _class(target)
    return _docstring(node).partition("\n")[0] if node else ""


def sentence_of_package(name: str) -> str:
    """The first line of the docstring of a package; empty if there is none."""
    path = ROOT / name.replace(".", "/") / "__init__.py"
    tree = ast.parse(path.read_text() if path.is_file() else "")
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def description(target: str) -> Description:
    """The docstring of `package.module.Class`, a method; empty if there is no such class."""
    node = _class(target)
    if node is None:
        return Description("", [], {}, "", [], [])
    arguments = _arguments(node)
    citation, *paragraphs = _docstring(node).split("\n\n")
    body: list[tuple[Literal["text", "equation"], str]] = []
    options: dict[str, str] = {}
    good_for = ""
    for paragraph in paragraphs:
        if paragraph.startswith("    "):
            body.append(("equation", paragraph))
        elif found := _options(paragraph, arguments):
            options |= found
        elif paragraph.startswith("Good "):
            good_for = _line(paragraph)
        else:
            body.append(("text", _line(paragraph)))
    return Description(_line(citation), body, options, good_for, arguments, _kinds(node))


def _class(target: str) -> ast.ClassDef | None:
    module, _, name = target.rpartition(".")
    path = ROOT / f"{module.replace('.', '/')}.py"
    found = ast.parse(path.read_text()).body if path.is_file() else []
    return next((n for n in found if isinstance(n, ast.ClassDef) and n.name == name), None)


def _docstring(node: ast.ClassDef) -> str:
    return ast.get_docstring(node) or ""


def _arguments(node: ast.ClassDef) -> list[str]:
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return [argument.arg for argument in (*each.args.args[1:], *each.args.kwonlyargs)]
    return []


def _options(paragraph: str, arguments: list[str]) -> dict[str, str]:
    """The arguments that a paragraph explains as `name: meaning`, each on a line or after `;`."""
    names = "|".join(map(re.escape, arguments))
    if not arguments or not re.match(rf"({names}): ", paragraph):
        return {}
    _, *parts = re.split(rf"(?:^|\n|;\s)({names}):\s", paragraph)
    return dict(zip(parts[::2], map(_line, parts[1::2]), strict=True))


def _kinds(node: ast.ClassDef) -> list[str]:
    """What `kinds = frozenset({...})` lists, in the order of KINDS; both without it."""
    for each in node.body:
        targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "kinds" for target in targets):
            text = ast.unparse(each)
            return [kind for kind in KINDS if f"'{kind}'" in text.partition("frozenset")[2]]
    return list(KINDS)


def _line(paragraph: str) -> str:
    return " ".join(paragraph.split())
