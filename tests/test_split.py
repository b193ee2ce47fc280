"""Splits: whole groups, near the shares, by seed; folds that partition; what cannot be done."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamine.errors import UsageError
from metamine.sources.groups import check_sides
from metamine.sources.split import (
    SPLITS,
    Folds,
    Given,
    OnePart,
    Shares,
    Splitting,
    in_parts,
    select,
)

groups = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4), st.integers(1, 6), min_size=5, max_size=40
).map(lambda sizes: {name: [f"{name}{i}" for i in range(n)] for name, n in sizes.items()})
splittings = st.one_of(
    st.builds(Shares, st.just(0.6), st.just(0.2), st.just(0.2), st.integers(0, 99)),
    st.builds(Folds, st.just(5), st.integers(0, 4), st.integers(0, 99)),
)


def singles(n: int) -> dict[str, list[str]]:
    return {f"g{i:03}": [f"t{i:03}"] for i in range(n)}


@settings(deadline=None)
@given(groups, splittings)
def test_every_table_has_a_side_and_every_group_only_one(
    members: dict[str, list[str]], splitting: Splitting
) -> None:
    sides = splitting.sides(members, {})
    assert sorted(sides) == sorted(table for tables in members.values() for table in tables)
    for tables in members.values():
        assert len({sides[table] for table in tables}) == 1
    assert set(sides.values()) == set(SPLITS)


@settings(deadline=None)
@given(st.integers(3, 200), st.integers(0, 99))
def test_shares_of_single_tables_are_met_to_a_table(n: int, seed: int) -> None:
    count = Counter(Shares(0.6, 0.2, 0.2, seed).sides(singles(n), {}).values())
    assert abs(count["train"] - 0.6 * n) <= 1
    assert abs(count["validation"] - 0.2 * n) <= 1
    assert abs(count["test"] - 0.2 * n) <= 1


def test_only_the_ratio_of_shares_counts() -> None:
    members = singles(40)
    assert Shares(6.0, 2.0, 2.0, 3).sides(members, {}) == Shares(0.6, 0.2, 0.2, 3).sides(
        members, {}
    )


def test_shares_differ_by_seed_and_not_by_the_order_of_the_groups() -> None:
    members = singles(40)
    backwards = dict(reversed(members.items()))
    first = Shares(0.6, 0.2, 0.2, 0).sides(members, {})
    assert first == Shares(0.6, 0.2, 0.2, 0).sides(backwards, {})
    assert first != Shares(0.6, 0.2, 0.2, 1).sides(members, {})


def test_a_draw_stays_what_it_was() -> None:
    sides = Shares(0.6, 0.2, 0.2, 0).sides(singles(10), {})
    assert sorted(table for table in sides if sides[table] == "test") == ["t004", "t009"]
    assert sorted(table for table in sides if sides[table] == "validation") == ["t006", "t008"]


def test_what_the_index_gives_is_kept_and_takes_its_group_along() -> None:
    members = singles(8) | {"pair": ["a", "b"]}
    sides = Shares(0.6, 0.2, 0.2, 0).sides(members, {"a": "test", "t000": "validation"})
    assert (sides["a"], sides["b"], sides["t000"]) == ("test", "test", "validation")
    assert len(sides) == 10
    assert Counter(sides.values()) == {"train": 6, "validation": 2, "test": 2}


def test_too_few_groups_for_the_shares() -> None:
    with pytest.raises(UsageError, match=r"2 groups of tables cannot fill test, train, validation"):
        Shares(0.6, 0.2, 0.2, 0).sides(singles(2), {})
    assert set(Shares(0.6, 0.0, 0.2, 0).sides(singles(2), {}).values()) == {"train", "test"}
    assert Shares(0.0, 0.0, 1.0, 0).sides(singles(1), {}) == {"t000": "test"}
    with pytest.raises(ValueError, match="all 0"):
        Shares(0.0, 0.0, 0.0, 0)


def test_folds_partition_the_tables_and_take_turns() -> None:
    members = singles(23) | {"pair": ["a", "b"]}
    sides = [Folds(5, fold, 7).sides(members, {}) for fold in range(5)]
    for table in sides[0]:
        assert sorted(each[table] for each in sides) == ["test", *["train"] * 3, "validation"]
    sizes = [Counter(each.values())["test"] for each in sides]
    assert max(sizes) - min(sizes) <= 2
    for fold in range(5):
        tested = {table for table in sides[fold] if sides[fold][table] == "test"}
        after = sides[(fold - 1) % 5]
        assert tested == {table for table in after if after[table] == "validation"}
    assert sides[0] != Folds(5, 0, 8).sides(members, {})


def test_folds_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="fold is 5; 5 folds are counted from 0"):
        Folds(5, 5, 0)
    with pytest.raises(UsageError, match=r"4 groups of tables cannot fill 5 folds; lower"):
        Folds(5, 0, 0).sides(singles(4), {})


@settings(deadline=None)
@given(groups, st.integers(2, 5), st.integers(0, 99))
def test_one_part_is_trained_on_and_all_others_tested(
    members: dict[str, list[str]], parts: int, seed: int
) -> None:
    tables = sorted(table for names in members.values() for table in names)
    sides = [OnePart(parts, part, seed).sides(members, {}) for part in range(parts)]
    for table in tables:
        assert sorted(each[table] for each in sides) == [*["test"] * (parts - 1), "train"]
    drawn = in_parts(members, parts, seed)
    assert [{t for t in each if each[t] == "train"} for each in sides] == list(map(set, drawn))
    sizes = list(map(len, drawn))
    assert max(sizes) - min(sizes) <= max(map(len, members.values()))
    for names in members.values():
        assert len({tuple(each[table] for each in sides) for table in names}) == 1
    assert OnePart(parts, None, seed).sides(members, {}) == dict.fromkeys(tables, "test")


def test_parts_that_cannot_be(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="part is 3; 3 parts are counted from 0"):
        OnePart(3, 3, 0)
    with pytest.raises(UsageError, match=r"2 groups of tables cannot fill 3 parts; lower"):
        OnePart(3, 0, 0).sides(singles(2), {})
    assert OnePart(3, None, 0).sides(singles(1), {}) == {"t000": "test"}
    OnePart(2, 0, 0).sides(singles(2), {"t000": "test"})
    assert "the splits that index.csv names are not used" in caplog.text


def test_given_patterns_go_before_the_index() -> None:
    members = {name: [name] for name in ("heart-a", "heart-b", "iris", "wine", "glass")}
    sides = Given(train=["heart-*", "!heart-b"], validation=[], test=["iris"]).sides(
        members, {"iris": "train", "wine": "validation"}
    )
    assert sides == {"heart-a": "train", "iris": "test", "wine": "validation"}
    with pytest.raises(UsageError, match=r"source.split: 'iris' is both in train and in test"):
        Given(["iris"], [], ["i*"]).sides(members, {})
    with pytest.raises(UsageError, match=r"source.split.test: 'iriss' matches none .* mean iris\?"):
        Given([], [], ["iriss"]).sides(members, {})


def test_a_group_on_two_sides_is_an_error() -> None:
    members = {"heart": ["a", "b"], "iris": ["iris"]}
    check_sides(members, {"a": "test", "b": "test", "iris": "train"}, "refuse")
    check_sides(members, {"a": "test"}, "refuse")
    with pytest.raises(UsageError, match=r"group 'heart' .* two sides .*\(a in train, b in test\)"):
        check_sides(members, {"a": "train", "b": "test"}, "refuse")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], []),
        (["*"], ["a1", "a2", "b1"]),
        (["a*"], ["a1", "a2"]),
        (["!a1"], ["a2", "b1"]),
        (["a*", "!a2"], ["a1"]),
        (["b1", "a1"], ["a1", "b1"]),
    ],
)
def test_select(patterns: list[str], expected: list[str]) -> None:
    assert select(["a1", "a2", "b1"], patterns, "source.tables") == expected
