"""The shipped suites and the shipped table of families are complete and agree with each other."""

from __future__ import annotations

import csv
import json
from importlib.resources import files
from typing import Any

import pytest

counts = {
    "OpenML-CC18": 72,
    "OpenML-CTR23": 35,
    "AMLB-classification": 71,
    "AMLB-regression": 33,
    "tabarena-v0.1": 51,
    "cc18-small": 30,
}
ids = {
    "OpenML-CC18": 99,
    "OpenML-CTR23": 353,
    "AMLB-classification": 271,
    "AMLB-regression": 269,
    "tabarena-v0.1": 457,
    "cc18-small": None,
}
relations = {"same data", "near-duplicate", "shared origin"}
package = files("metamine")


def suite_text(alias: str) -> str:
    return (package / "openml" / "suites" / f"{alias}.json").read_text(encoding="utf-8")


def suite(alias: str) -> dict[str, Any]:
    return json.loads(suite_text(alias))


def families_text() -> str:
    return (package / "sources" / "families.csv").read_text(encoding="utf-8")


def families() -> list[dict[str, str]]:
    return list(csv.DictReader(families_text().splitlines(), strict=True))


def members(family: dict[str, str]) -> list[int]:
    return [int(dataset) for dataset in family["datasets"].split(" ")]


def family_of() -> dict[int, str]:
    return {dataset: line["family"] for line in families() for dataset in members(line)}


def test_every_suite_that_ships_is_tested() -> None:
    shipped = {path.name for path in (package / "openml" / "suites").iterdir()}
    assert shipped == {f"{alias}.json" for alias in counts}


@pytest.mark.parametrize("alias", counts)
def test_a_suite_has_the_layout(alias: str) -> None:
    read = suite(alias)
    assert list(read) == ["id", "alias", "collected", "provenance", "note", "entries"]
    assert read["alias"] == alias
    assert read["id"] == ids[alias]
    assert read["collected"] == "2026-11-22"
    assert read["provenance"]
    assert read["note"]
    assert len(read["entries"]) == counts[alias]
    for entry in read["entries"]:
        assert set(entry) - {"name"} == {"task", "dataset"}
        assert entry["task"] is None or type(entry["task"]) is int
        assert type(entry["dataset"]) is int
        assert entry.get("name", "unknown").strip()


@pytest.mark.parametrize("alias", counts)
def test_no_suite_names_a_task_or_a_data_set_twice(alias: str) -> None:
    entries = suite(alias)["entries"]
    tasks = [entry["task"] for entry in entries if entry["task"] is not None]
    datasets = [entry["dataset"] for entry in entries]
    assert len(set(tasks)) == len(tasks)
    assert len(set(datasets)) == len(datasets)
    assert len(tasks) == (0 if alias.startswith("AMLB") else len(entries))


@pytest.mark.parametrize("alias", counts)
def test_a_suite_has_one_entry_a_line(alias: str) -> None:
    lines = suite_text(alias).splitlines()
    assert sum('"dataset"' in line for line in lines) == counts[alias]


def test_cc18_small_is_part_of_cc18() -> None:
    cc18 = suite("OpenML-CC18")["entries"]
    assert all(entry in cc18 for entry in suite("cc18-small")["entries"])


def test_the_families_have_the_layout() -> None:
    lines = families()
    assert list(lines[0]) == ["family", "datasets", "relation", "source"]
    assert len({line["family"] for line in lines}) == len(lines)
    for line in lines:
        assert None not in line
        assert line["relation"] in relations
        assert line["source"].strip()
        assert len(members(line)) >= 2


def test_a_data_set_is_in_one_family_at_most() -> None:
    datasets = [dataset for line in families() for dataset in members(line)]
    assert len(set(datasets)) == len(datasets)


@pytest.mark.parametrize("alias", ["OpenML-CC18", "AMLB-classification", "AMLB-regression"])
def test_a_re_upload_of_tabarena_is_in_the_family_of_its_namesake(alias: str) -> None:
    family = family_of()
    namesakes = {entry["name"].casefold(): entry["dataset"] for entry in suite(alias)["entries"]}
    shared = [e for e in suite("tabarena-v0.1")["entries"] if e["name"].casefold() in namesakes]
    assert shared
    for entry in shared:
        namesake = namesakes[entry["name"].casefold()]
        assert entry["dataset"] in family, entry
        assert family[entry["dataset"]] == family.get(namesake), entry


def test_one_name_in_two_suites_is_one_data_set_or_one_family() -> None:
    family = family_of()
    by_name: dict[str, set[int]] = {}
    for alias in counts:
        for entry in suite(alias)["entries"]:
            by_name.setdefault(entry["name"].casefold(), set()).add(entry["dataset"])
    for name, datasets in by_name.items():
        groups = {family.get(dataset, str(dataset)) for dataset in datasets}
        assert len(groups) == 1, (name, datasets)


def test_nothing_that_ships_names_a_path_of_the_machine_it_was_made_on() -> None:
    for text in [families_text(), *map(suite_text, counts)]:
        for word in ("/work", "/home", "/tmp", "shared/"):
            assert word not in text
