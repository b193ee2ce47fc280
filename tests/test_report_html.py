"""report.html says what report.md says, and needs no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from metamine.errors import MetamineError, UsageError
from metamine.report.collect import report
from metamine.report.html import SCRIPT, STYLE, is_page, page, write_both
from metamine.report.run_report import write_report
from metamine.report.table import markdown

VOID = {"meta", "img", "br", "hr", "link"}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TEXT = """\
# MAML on <synthetic> & more

`metamine train 'evaluation.also={}'`

| family | method       | score             | cost  | p      | started    |
|--------|--------------|-------------------|-------|--------|------------|
| metric | MAML         | **0.812 ± 0.012** | 1,234 | <0.001 | 2026-01-02 |
| metric | a \\| b      |   0.525 ± 0.100 ≈ | 5     | 0.040  | 2026-01-10 |
| other  | from scratch | —                 | 1e+03 | —      | 2026-01-03 |

- **bold**: best

![learning](pictures/learning.png)

A caption.

## Paired comparisons

### uci, 5-shot

| won/tied/lost | interval         |
|---------------|------------------|
| 7/4/11        | -0.039 to +0.002 |

### iris

text

## By table

### iris
"""


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    inside: list[Element | str] = field(default_factory=list)

    def all(self, tag: str) -> Iterator[Element]:
        for part in self.inside:
            if isinstance(part, Element):
                if part.tag == tag:
                    yield part
                yield from part.all(tag)

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.inside)


class Reader(HTMLParser):
    """A tree of elements, each of which has to be closed where it belongs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open = [Element("", {})]
        self.feed(html)
        self.close()
        assert len(self.open) == 1, f"not closed: {self.open[-1].tag}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].inside.append(data)


def read(html: str) -> Element:
    return Reader(html).open[0]


def cells(table: Element) -> list[list[str]]:
    rows = ([*row.all("th"), *row.all("td")] for row in table.all("tr"))
    return [[cell.text for cell in row] for row in rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/learning.png").write_bytes(PNG)
    return tmp_path


def test_all_that_the_markdown_says_is_there(folder: Path) -> None:
    tree = read(page(TEXT, folder))
    titles = [(tag, each.text) for tag in ("h1", "h2", "h3") for each in tree.all(tag)]
    assert titles == [
        ("h1", "MAML on <synthetic> & more"),
        ("h2", "Paired comparisons"),
        ("h2", "By table"),
        ("h3", "uci, 5-shot"),
        ("h3", "iris"),
        ("h3", "iris"),
    ]
    assert next(tree.all("title")).text == "MAML on <synthetic> & more"
    assert next(tree.all("code")).text == "metamine train 'evaluation.also={}'"
    first, second = tree.all("table")
    assert cells(first) == [
        ["family", "method", "score", "cost", "p", "started"],
        ["metric", "MAML", "0.812 ± 0.012", "1,234", "<0.001", "2026-01-02"],
        ["metric", "a | b", "0.525 ± 0.100 ≈", "5", "0.040", "2026-01-10"],
        ["other", "from scratch", "—", "1e+03", "—", "2026-01-03"],
    ]
    assert cells(second) == [["won/tied/lost", "interval"], ["7/4/11", "-0.039 to +0.002"]]
    assert [each.text for each in first.all("strong")] == ["0.812 ± 0.012"]


def test_columns_of_numbers_and_of_names_are_told(folder: Path) -> None:
    first, second = read(page(TEXT, folder)).all("table")
    kinds = [[cell.attributes.get("class") for cell in row.all("td")] for row in first.all("tr")]
    of_a_row = [None, "name", "number", "number", "number", None]
    assert kinds[1:] == [of_a_row] * 3
    assert [cell.attributes.get("class") for cell in first.all("th")] == of_a_row
    assert {cell.attributes["class"] for cell in second.all("td")} == {"number"}


@pytest.mark.parametrize(
    "cell",
    ["-0.5", "+1.0", "12%", "1e-05", "inf", "<0.001", "0.5 (3 tables)", "1,234,567", "  0.9 ≈"],
)
def test_numbers(cell: str, tmp_path: Path) -> None:
    table = next(read(page(markdown(["x"], [[cell], ["—"]]), tmp_path)).all("table"))
    assert [each.attributes.get("class") for each in table.all("td")] == ["number"] * 2


@pytest.mark.parametrize("cell", ["5-shot", "2026-01-02", "1.2.3", "v2", "info", "12 rows", "1 2"])
def test_no_numbers(cell: str, tmp_path: Path) -> None:
    table = next(read(page(markdown(["x"], [[cell], ["1"]]), tmp_path)).all("table"))
    assert next(table.all("td")).attributes.get("class") == "name"


def test_the_contents_lead_to_the_headings(folder: Path) -> None:
    tree = read(page(TEXT, folder))
    links = {each.attributes["href"]: each.text for each in next(tree.all("nav")).all("a")}
    assert links == {
        "#paired-comparisons": "Paired comparisons",
        "#paired-comparisons-uci-5-shot": "uci, 5-shot",
        "#paired-comparisons-iris": "iris",
        "#by-table": "By table",
        "#by-table-iris": "iris",
    }
    anchors = [each.attributes["id"] for tag in ("h1", "h2", "h3") for each in tree.all(tag)]
    assert {*links} <= {f"#{anchor}" for anchor in anchors}
    again = read(page("## a\n\n## a\n\n## -\n\n## a-2\n\n# Title", folder))
    anchors = [each.attributes["id"] for each in again.all("h2")]
    assert len({*anchors}) == 4
    assert next(again.all("title")).text == "Title"


def test_it_needs_nothing_else(folder: Path) -> None:
    tree = read(page(TEXT, folder))
    assert not [*tree.all("link"), *tree.all("iframe"), *tree.all("object")]
    for tag in ("script", "img", "a"):
        for each in tree.all(tag):
            reference = each.attributes.get("src", each.attributes.get("href", "#"))
            assert reference.startswith(("#", "data:image/")), reference
    assert not re.search(r"https?:|//[a-z]|@import|url\(", STYLE)
    assert not re.search(r"https?:|fetch|import\b", SCRIPT)
    assert "</" not in SCRIPT + STYLE
    policy = next(each for each in tree.all("meta") if "http-equiv" in each.attributes)
    script = next(tree.all("script")).text
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'; img-src data:;" in policy.attributes["content"]
    assert f"script-src 'sha256-{digest}'" in policy.attributes["content"]


def test_pictures_are_in_it_as_svg_if_there_is_one(folder: Path) -> None:
    picture = next(read(page(TEXT, folder)).all("img"))
    kind, _, data = picture.attributes["src"].partition(",")
    assert (kind, picture.attributes["alt"]) == ("data:image/png;base64", "learning")
    assert base64.b64decode(data) == PNG
    (folder / "pictures/learning.svg").write_text("<svg/>")
    kind, _, data = next(read(page(TEXT, folder)).all("img")).attributes["src"].partition(",")
    assert (kind, base64.b64decode(data)) == ("data:image/svg+xml;base64", b"<svg/>")


@pytest.mark.parametrize(
    "place",
    ["gone.png", "../secret.png", "secret.txt", "https://a.b/c.png", "data:image/png;base64,A"],
)
def test_other_pictures_are_named_only(place: str, tmp_path: Path) -> None:
    for file in ("secret.png", "in/secret.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("secret")
    tree = read(page(f"before ![its name]({place})", tmp_path / "in"))
    assert not list(tree.all("img"))
    assert next(tree.all("p")).text == "before its name"


def test_html_is_shown_not_obeyed(tmp_path: Path) -> None:
    name = "<script>alert(1)</script><img src=x onerror=alert(1)>&amp;<b>"
    link = "[link](javascript:alert(1))"
    table = markdown(["method", name], [[name, link]])
    text = f'# {name}\n\n{name}\n\n## a "quoted" {name}\n\n{table}'
    html = page(text, tmp_path)
    tree = read(html)
    assert html.count("<script") == 1
    assert not [*tree.all("img"), *tree.all("b")]
    assert all(each.attributes["href"].startswith("#") for each in tree.all("a"))
    shown = name.replace("&amp;", "&")  # Markdown's own way to write &
    assert next(tree.all("title")).text == next(tree.all("h1")).text == shown
    assert cells(next(tree.all("table"))) == [["method", shown], [shown, link]]
    box = next(each for each in tree.all("div") if each.attributes["class"] == "table")
    assert box.attributes["aria-label"] == f'a "quoted" {shown}'


def test_without_heading_it_is_named_for_its_folder(tmp_path: Path) -> None:
    tree = read(page("text\n\n| a |\n|---|", tmp_path / "a&b"))
    assert next(tree.all("title")).text == "a&b"
    assert not list(tree.all("nav"))
    assert cells(next(tree.all("table"))) == [["a"]]


def test_both_are_written_and_always_the_same(folder: Path) -> None:
    write_both(folder, ["# Title", "", "text <b>"])
    assert (folder / "report.md").read_text() == "# Title\n\ntext <b>\n"
    first = (folder / "report.html").read_bytes()
    assert first.decode() == page("# Title\n\ntext <b>\n", folder)
    write_both(folder, ["# Title", "text <b>"])
    assert (folder / "report.html").read_bytes() == first
    (folder / "other/report.html").mkdir(parents=True)
    with pytest.raises(MetamineError, match=r"cannot write .*report\.html"):
        write_both(folder / "other", ["text"])


def test_its_own_pages_are_known(folder: Path) -> None:
    write_both(folder, ["text"])
    (folder / "mine.html").write_text("<!DOCTYPE html><html></html>")
    assert is_page(folder / "report.html")
    for name in ("mine.html", "report.md", "gone.html", "pictures"):
        assert not is_page(folder / name)


def run_directory(path: Path) -> Path:
    """A finished run of a method with a hostile name."""
    rows = [
        {
            "method": method,
            "role": role,
            "source": "shipped",
            "protocol": "5-shot",
            "table": table,
            "episode": episode,
            "seed": 0,
            "fallback": False,
            "accuracy": level + episode / 100,
        }
        for method, role, level in (("<b>MAML", "meta", 0.8), ("kNN", "baseline", 0.7))
        for table in ("iris", "wine")
        for episode in range(3)
    ]
    path.mkdir()
    pd.DataFrame(rows).to_parquet(path / "results.parquet")
    facts = {"status": "done", "plan_hash": {"shipped/5-shot": "0123"}}
    facts |= {"choices": {"method": "<b>MAML", "source": "shipped"}}
    (path / "run.json").write_text(json.dumps(facts))
    return path


def test_a_run_gets_both(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "run")
    write_report(run)
    text = (run / "report.md").read_text()
    tree = read((run / "report.html").read_text())
    assert next(tree.all("title")).text == "<b>MAML on shipped"
    assert not list(tree.all("b"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    headings = [each for tag in ("h1", "h2", "h3") for each in tree.all(tag)]
    assert sorted(each.text for each in headings) == sorted(titles)
    tables = [cells(each) for each in tree.all("table")]
    written = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert tables == [
        [
            [cell.strip().replace("**", "") for cell in line.strip("|").split("|")]
            for line in block.splitlines()
            if not line.startswith("|--")
        ]
        for block in written
    ]
    first = (run / "report.html").read_bytes()
    write_report(run)
    assert (run / "report.html").read_bytes() == first


def test_many_runs_get_both_and_nobody_elses_page_is_overwritten(tmp_path: Path) -> None:
    run, output = run_directory(tmp_path / "run"), tmp_path / "all"
    for _ in range(2):
        report([run], output)
        assert is_page(output / "report.html")
    (output / "report.html").write_text("<html>mine</html>")
    with pytest.raises(UsageError, match=r"report\.html is not a report of many runs"):
        report([run], output)
    assert (output / "report.html").read_text() == "<html>mine</html>"
    (output / "report.html").unlink()
    report([run], output)
    (output / "report.md").unlink()
    (output / "table.tex").unlink()  # as where only a single run's page lies
    with pytest.raises(UsageError, match=r"report\.html is not a report of many runs"):
        report([run], output)
