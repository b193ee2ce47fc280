"""docs/methods.md is what the docstrings and configs say, and every method's docstring says it."""

from __future__ import annotations

import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest
from making import names_in

from metamine.annotations import parameters_of
from metamine.commands.list import target_of
from metamine.confdir import conf_dir
from metamine.docstrings import description

ROOT = Path(__file__).resolve().parent.parent
TARGETS = sorted({target_of(conf_dir() / f"method/{name}.yaml") for name in names_in("method")})
every = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.rpartition(".")[2])


def test_the_page_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
    import methods_page

    same = (ROOT / "docs/methods.md").read_text() == methods_page.page()
    assert same, "run: python scripts/methods_page.py"


@pytest.mark.parametrize("name", names_in("method"))
def test_the_page_shows_each_method_with_its_options(name: str) -> None:
    text = (ROOT / "docs/methods.md").read_text()
    _, found, rest = text.partition(f"\n### {name}\n")
    section = rest.partition("\n### ")[0]
    assert found, "run: python scripts/methods_page.py"
    assert f"| [{name}](#{name}) " in text
    assert " with `" in section or "| option " in section
    assert "not measured" not in section, f"run: python scripts/bench_methods.py --methods {name}"


@every
def test_a_method_names_its_paper_and_says_what_it_is_good_for(target: str) -> None:
    about = description(target)
    assert about.paper, 'the first paragraph is to be: Author, Author: "Title" (year), where.'
    assert about.good_for.startswith("Good "), "a paragraph is to say: Good for ..."
    kinds = [kind for kind, _ in about.body]
    assert "equation" in kinds, "no equation: a paragraph indented by four spaces"
    assert "text" in kinds, "no sentence says what the equation is"


@every
def test_a_method_explains_each_option(target: str) -> None:
    about = description(target)
    assert list(about.options) == about.arguments, "each as `argument: meaning`, in their order"
    assert all(about.options.values())


@every
def test_what_is_read_from_the_source_is_so(target: str) -> None:
    method, about = resolve_name(target), description(target)
    assert set(about.kinds) == method.kinds
    assert about.arguments == list(parameters_of(method))
