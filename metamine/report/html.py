"""report.html beside report.md, made from its text: one file that holds its pictures too."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain, count, pairwise
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

from metamine.report.files import write
from metamine.report.table import NOTHING

STYLE, SCRIPT = (
    Path(__file__).with_name(name).read_text("utf-8") for name in ("report.css", "report.js")
)
MADE_BY = '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta name="generator" content="metamine">\n'
TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
EQUAL = " ≈"  # behind a score that is not told apart from the best

_ONE = r"[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?|inf)"
# 0.525, <0.001, 0.525 ± 0.012 ≈, -0.039 to +0.002, 7/4/11, 12%, 0.525 (3 tables)
_NUMBER = re.compile(rf"[<>]?{_ONE}(?:\s*(?:±|to|/|,)\s*{_ONE})*\s*%?(?:\s\(.*\))?(?:{EQUAL})?")


@dataclass(frozen=True)
class Heading:
    """level: from 1. anchor: its id in the page."""

    level: int
    words: str
    anchor: str


def write_both(folder: Path, parts: Sequence[str]) -> None:
    """Write report.md, those parts that are not empty, and report.html, the same as a page.

    Raises MetamineError if a file cannot be written.
    """
    text = "\n\n".join(part for part in parts if part) + "\n"
    write(folder / "report.md", text)
    write(folder / "report.html", page(text, folder))


def is_page(path: Path) -> bool:
    """Whether `write_both` made this file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MADE_BY)) == MADE_BY.encode()


def page(text: str, folder: Path) -> str:
    """Markdown as a page that loads nothing: pictures in `folder` are put into it.

    HTML within the Markdown is shown as text. Where an SVG lies beside a PNG, it is taken.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    headings = _name_headings(tokens)
    _embed_pictures(tokens, folder)
    _mark_columns(tokens)
    title = next((heading.words for heading in headings if heading.level == 1), folder.name)
    body = parser.renderer.render(list(_laid_out(tokens, headings)), parser.options, {})
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            "style-src 'unsafe-inline'",
            f"script-src 'sha256-{digest}'",
        ]
    )
    return f"""{MADE_BY}<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
{body}</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _name_headings(tokens: Sequence[Token]) -> list[Heading]:
    """Give each heading an id: its own words behind those of its section."""
    found: list[Heading] = []
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            level, words = int(token.tag[1]), _words(inline)
            above = [heading for heading in found if 1 < heading.level < level][-1:]
            path = [*(heading.anchor for heading in above), words.lower()]
            name = re.sub(r"\W+", "-", " ".join(path)).strip("-") or "section"
            taken = {heading.anchor for heading in found}
            names = chain([name], (f"{name}-{n}" for n in count(2)))
            anchor = next(each for each in names if each not in taken)
            token.attrSet("id", anchor)
            found.append(Heading(level, words, anchor))
    return found


def _embed_pictures(tokens: Sequence[Token], folder: Path) -> None:
    for before, token in pairwise(tokens):
        children = token.children or []
        for place, child in enumerate(children):
            if child.type == "image":
                data = _data(folder, unquote(str(child.attrGet("src"))))
                if data is None:  # its name is all there is to show
                    children[place] = Token("text", "", 0, content=child.content)
                    continue
                child.attrSet("src", data)
                if before.type == "paragraph_open" and len(children) == 1:
                    before.attrSet("class", "picture")


def _data(folder: Path, name: str) -> str | None:
    """A picture within `folder` as a data: URI; None if it is not there."""
    path = (folder / name).resolve()
    if folder.resolve() not in path.parents:
        return None
    for each in (path.with_suffix(".svg"), path):
        if each.suffix in TYPES and each.is_file():
            content = base64.b64encode(each.read_bytes()).decode()
            return f"data:{TYPES[each.suffix]};base64,{content}"
    return None


def _mark_columns(tokens: Sequence[Token]) -> None:
    """In each table, the class `number` for columns that hold nothing else: sorted by value.

    The class `name` for the first other column that tells all rows apart: it stays in sight.
    """
    columns: dict[int, list[tuple[Token, Token]]] = defaultdict(list)
    column = 0
    for token, inline in pairwise(tokens):
        if token.type == "table_open":
            columns.clear()
        elif token.type == "tr_open":
            column = 0
        elif token.type in ("th_open", "td_open"):
            columns[column].append((token, inline))
            column += 1
        elif token.type == "tbody_close":
            named = False
            for cells in columns.values():
                texts = [_words(inline) for _, inline in cells[1:]]
                numbers = [text for text in texts if text not in ("", NOTHING)]
                if numbers and all(map(_NUMBER.fullmatch, numbers)):
                    kind = "number"
                elif not named and len({*texts}) == len(texts):
                    kind, named = "name", True
                else:
                    continue
                for cell, inline in cells:
                    cell.attrSet("class", kind)
                    _hang_mark(inline)


def _hang_mark(cell: Token) -> None:
    """Without a width for the mark behind a score, the scores stand in line."""
    children = cell.children or []
    if children and children[-1].content.endswith(EQUAL):
        children[-1].content = children[-1].content.removesuffix(EQUAL)
        children.append(_raw(f'<span class="mark">{EQUAL}</span>'))


def _laid_out(tokens: Sequence[Token], headings: Sequence[Heading]) -> Iterator[Token]:
    """The contents behind the title; each table in a box of its own, which scrolls."""
    words, contents = "Table", _contents(headings)
    for token, inline in zip(tokens, [*tokens[1:], Token("", "", 0)], strict=True):
        if token.type == "heading_open":
            words = _words(inline)
        if token.type == "table_open":
            label = escape(words)
            yield _raw(f'<div class="table" role="region" aria-label="{label}" tabindex="0">\n')
        yield token
        if token.type == "table_close":
            yield _raw("</div>\n")
        if token.type == "heading_close" and contents:
            yield _raw(contents)
            contents = ""


def _contents(headings: Sequence[Heading]) -> str:
    """A line for each section, with the headings within it."""
    sections: list[list[str]] = []
    for heading in headings:
        link = f'<li><a href="#{heading.anchor}">{escape(heading.words)}</a>'
        if heading.level == 2:
            sections.append([link])
        elif heading.level == 3 and sections:
            sections[-1].append(f"{link}</li>")
    lines = [
        f"{first}<ul>{''.join(inner)}</ul></li>\n" if inner else f"{first}</li>\n"
        for first, *inner in sections
    ]
    return f'<nav aria-label="Contents">\n<ul>\n{"".join(lines)}</ul>\n</nav>\n' if lines else ""


def _words(inline: Token) -> str:
    """The text of a heading or a cell."""
    return "".join(child.content for child in inline.children or [])


def _raw(html: str) -> Token:
    return Token("html_block", "", 0, content=html)
