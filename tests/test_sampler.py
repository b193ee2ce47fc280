"""Episodes hold what they promise: the right rows, once each, drawn with the right chances."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from making import protocol
from scipy import stats

from metamine.episode import Episodes, Kind
from metamine.rows import ordered_sample
from metamine.sampler import NoEligibleTable, choose_tables, draw, eligible, fitting, sample
from metamine.sources.base import Shape, Source, Split
from metamine.sources.table import Pack, Table

few_examples = settings(derandomize=True, max_examples=40, deadline=None)


def traced(
    index: int, counts: tuple[int, ...], n_features: int = 3, kind: Kind = "classification"
) -> Table:
    """A table that says in its cells where they stand: cell = 1000 * table + row + column / 8."""
    rng = np.random.default_rng(index)
    classes = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    n_rows = len(classes)
    y = classes if kind == "classification" else np.arange(n_rows, dtype=np.float32) / 100
    x = 1000 * index + np.arange(n_rows)[:, None] + np.arange(n_features) / 8
    return Table(
        name=f"table {index}",
        group=f"table {index}",
        kind=kind,
        x=x.astype(np.float32),
        y=y,
        categorical=np.arange(n_features) % 2 == 1,
        features=tuple(f"f{i}" for i in range(n_features)),
        classes=tuple(map(str, range(len(counts)))) if kind == "classification" else (),
    )


class Folder(Source):
    """A source of given tables."""

    name = "folder"
    endless = False
    standardise = False

    def __init__(self, tables: list[Table]) -> None:
        self.kind = tables[0].kind
        self.tables = tables

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: torch.Generator) -> Pack:
        return Pack.of(self.tables)


def sampled(tables: list[Table], n_tasks: int = 50, seed: int = 0, **settings: Any) -> Episodes:
    generator = torch.Generator().manual_seed(seed)
    return sample(Folder(tables), "train", protocol(**settings), n_tasks, generator)


def rows_and_labels(episodes: Episodes) -> tuple[np.ndarray, np.ndarray]:
    """1000 * table + row of each row, and its label; support before query."""
    x_TNF = torch.cat([episodes.support.x, episodes.query_x], dim=1)
    y_TN = torch.cat([episodes.support.y, episodes.query_y], dim=1)
    return x_TNF[..., 0].numpy().astype(int), y_TN.numpy()


def check_rows(episodes: Episodes, tables: list[Table]) -> None:
    """Each task is about one table, its rows are distinct, its labels a renaming of the table's."""
    rows_TN, labels_TN = rows_and_labels(episodes)
    for rows, labels, n_classes in zip(
        rows_TN, labels_TN, episodes.support.n_classes.tolist(), strict=True
    ):
        assert len(set(rows)) == len(rows)
        assert len(set(rows // 1000)) == 1
        table = tables[rows[0] // 1000]
        pairs = set(zip(table.y[rows % 1000].tolist(), labels.tolist(), strict=True))
        assert len(pairs) == len({own for own, _ in pairs}) == len({label for _, label in pairs})
        assert set(labels.tolist()) <= set(range(n_classes))


def is_uniform(counts: list[int] | np.ndarray, expected: np.ndarray | None = None) -> bool:
    return bool(stats.chisquare(counts, expected).pvalue > 1e-3)


# Five tables of different size and width; the last is narrower than the others, so that its last
# rows end less than a wide row before the end of the pack.
TABLES = [
    traced(0, (7, 7, 7)),
    traced(1, (40, 9, 12, 8), n_features=6),
    traced(2, (7, 30), n_features=1),
    traced(3, (20, 20, 20, 20, 20), n_features=4),
    traced(4, (9, 9, 9), n_features=2),
]


def test_k_shot_gives_every_class_its_rows() -> None:
    episodes = sampled(TABLES, way=3, shot=2, query=5)
    check_rows(episodes, TABLES)
    for y, each in ((episodes.support.y, 2), (episodes.query_y, 5)):
        for label in range(3):
            assert ((y == label).sum(dim=1) == each).all()


@few_examples
@given(
    way=st.integers(2, 5),
    shot=st.integers(1, 4),
    query=st.integers(1, 3),
    columns=st.none() | st.integers(1, 7),
    seed=st.integers(0, 1000),
)
def test_any_shot_protocol_gives_sound_episodes(
    way: int, shot: int, query: int, columns: int | None, seed: int
) -> None:
    episodes = sampled(TABLES, 9, seed, way=way, shot=shot, query=query, columns=columns)
    if columns is None:
        check_rows(episodes, TABLES)
    assert episodes.support.x.shape[1] == way * shot
    assert episodes.query_x.shape[1] == way * query
    assert (episodes.support.n_classes == way).all()


@few_examples
@given(
    way=st.integers(2, 5),
    rows=st.integers(1, 12),
    query=st.integers(1, 8),
    how=st.sampled_from(["balanced", "natural", "even"]),
    one_class=st.sampled_from(["redraw", "keep"]),
    seed=st.integers(0, 1000),
)
def test_any_rows_protocol_gives_sound_episodes(
    way: int, rows: int, query: int, how: str, one_class: str, seed: int
) -> None:
    # The third class has one row only, and is soon used up.
    tables = [traced(0, (20, 9, 1)), traced(1, (30, 40))]
    settings = {"way": way, "shot": None, "rows": rows, "query": query, "draw": how}
    episodes = sampled(tables, 9, seed, **settings, one_class=one_class)
    check_rows(episodes, tables)
    assert episodes.support.y.shape == (9, rows)
    assert episodes.query_y.shape == (9, query)


def test_a_class_may_get_any_label() -> None:
    tables = [traced(0, (9, 9, 9))]
    rows_TN, labels_TN = rows_and_labels(sampled(tables, 3000))
    own_TN = tables[0].y[rows_TN % 1000]
    first_of_own_0 = labels_TN[np.arange(3000), (own_TN == 0).argmax(axis=1)]
    assert is_uniform(list(Counter(first_of_own_0).values()))


def test_any_classes_of_a_table_may_come() -> None:
    tables = [traced(0, (9, 9, 9, 9))]
    rows_TN, _ = rows_and_labels(sampled(tables, 3000, way=2))
    sets = Counter(frozenset(own) for own in tables[0].y[rows_TN % 1000].tolist())
    assert len(sets) == 6
    assert is_uniform(list(sets.values()))


def test_any_row_may_come_and_in_any_place() -> None:
    rows_TN, _ = rows_and_labels(sampled([traced(0, (5, 5))], 2000, way=2, shot=1, query=2))
    for place in range(rows_TN.shape[1]):
        assert is_uniform(list(Counter(rows_TN[:, place]).values()))
        assert len(set(rows_TN[:, place])) == 10


def test_one_class_set_gives_other_rows_each_time() -> None:
    rows_TN, _ = rows_and_labels(sampled([traced(0, (50, 50))], 20, way=2))
    assert len({frozenset(rows) for rows in rows_TN.tolist()}) == 20


def test_order_of_rows_tells_nothing_of_labels() -> None:
    _, labels_TN = rows_and_labels(sampled([traced(0, (9, 9, 9))], 3000))
    for place in (0, 5, 6, 20):  # first and last of the support, and of the query
        assert is_uniform(list(Counter(labels_TN[:, place]).values()))


def test_seed_decides() -> None:
    rows, labels = rows_and_labels(sampled(TABLES, seed=1))
    again, labels_again = rows_and_labels(sampled(TABLES, seed=1))
    others, _ = rows_and_labels(sampled(TABLES, seed=2))
    np.testing.assert_array_equal(rows, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert (rows != others).any()


def test_every_table_comes_before_any_comes_twice() -> None:
    rows_TN, _ = rows_and_labels(sampled(TABLES, 7 * 4, way=3, shot=2, query=5))
    about = (rows_TN[:, 0] // 1000).reshape(7, 4)  # table 2 has two classes only
    assert all(sorted(each) == [0, 1, 3, 4] for each in about.tolist())


# Rows mode


def rows_mode(tables: list[Table], n_tasks: int, **settings: Any) -> Episodes:
    return sampled(tables, n_tasks, **{"way": 2, "shot": None, "rows": 4, "query": 1} | settings)


@pytest.mark.parametrize("one_class", ["keep", "redraw"])
def test_natural_draw_follows_the_table(one_class: str) -> None:
    table = traced(0, (4, 8))
    episodes = rows_mode([table], 4000, draw="natural", one_class=one_class)
    rows_TN, _ = rows_and_labels(episodes)
    of_first_T = (table.y[rows_TN[:, :4] % 1000] == 0).sum(axis=1)
    chance = stats.hypergeom(12, 4, 4).pmf(np.arange(5))
    if one_class == "redraw":
        assert not np.isin(of_first_T, (0, 4)).any()
        chance[[0, 4]] = 0
    counts = np.bincount(of_first_T, minlength=5)
    some = chance > 0
    assert is_uniform(counts[some], 4000 * chance[some] / chance.sum())


def test_balanced_draw_ignores_how_common_classes_are() -> None:
    table = traced(0, (200, 20))
    rows_TN, _ = rows_and_labels(rows_mode([table], 4000, one_class="keep"))
    of_first_T = (table.y[rows_TN[:, :4] % 1000] == 0).sum(axis=1)
    chance = stats.binom(4, 0.5).pmf(np.arange(5))
    assert is_uniform(np.bincount(of_first_T, minlength=5), 4000 * chance)


def test_even_draw_labels_as_many_rows_of_each_class_while_there_are_any() -> None:
    table = traced(0, (40, 20, 2))
    rows_TN, _ = rows_and_labels(rows_mode([table], 600, way=3, rows=8, query=8, draw="even"))
    own_TN = table.y[rows_TN % 1000]
    counts_TC = np.stack([(own_TN[:, :8] == own).sum(axis=1) for own in range(3)], axis=1)
    assert {*map(tuple, counts_TC.tolist())} == {(3, 3, 2)}
    chance = np.array([37, 17]) / 54  # of the rows that are left, none of the third class
    assert is_uniform(np.bincount(own_TN[:, 8:].ravel()), 600 * 8 * chance)


def test_even_draw_favours_no_class_and_no_place() -> None:
    table = traced(0, (9, 9, 9))
    rows_TN, _ = rows_and_labels(rows_mode([table], 3000, way=3, rows=4, draw="even"))
    own_TS = table.y[rows_TN[:, :4] % 1000]
    twice_T = [np.bincount(own, minlength=3).argmax() for own in own_TS]
    assert is_uniform(list(Counter(twice_T).values()))
    for place in range(4):
        assert is_uniform(list(Counter(own_TS[:, place]).values()))


def test_query_is_drawn_as_the_support_is() -> None:
    table = traced(0, (30, 10))
    rows_TN, _ = rows_and_labels(rows_mode([table], 4000, draw="natural", one_class="keep"))
    of_first = int((table.y[rows_TN[:, 4] % 1000] == 0).sum())
    assert is_uniform([of_first, 4000 - of_first], 4000 * np.array([0.75, 0.25]))


def test_tables_with_too_few_rows_in_their_smallest_classes_are_left_out() -> None:
    pack = Pack.of([traced(0, (2, 2, 50)), traced(1, (3, 2)), traced(2, (2, 3, 3))])
    assert eligible(pack, Shape(way=2, shot=None, rows=3, query=2)).tolist() == [1, 2]
    assert eligible(pack, Shape(way=3, shot=None, rows=3, query=2)).tolist() == [0, 1, 2]


# Columns and padding


def test_padding_is_masked_zero() -> None:
    episodes = sampled(TABLES, 30)
    support = episodes.support
    rows_TN, _ = rows_and_labels(episodes)
    for task, number in enumerate(rows_TN[:, 0] // 1000):
        width = TABLES[number].x.shape[1]
        assert support.feature_mask[task].sum() == width
        expected_SF = TABLES[number].x[rows_TN[task, : support.y.shape[1]] % 1000]
        np.testing.assert_array_equal(support.x[task, :, :width], expected_SF)
        assert not support.x[task, :, width:].any()
        assert not episodes.query_x[task, :, width:].any()
        assert support.categorical[task, :width].tolist() == list(TABLES[number].categorical)
        assert not support.categorical[task, width:].any()


def test_last_rows_of_a_narrow_last_table_are_read_whole() -> None:
    tables = [traced(0, (9, 9), n_features=50), traced(1, (3, 3), n_features=1)]
    episodes = sampled(tables, 2, way=2, shot=2, query=1)
    check_rows(episodes, tables)


def test_column_subsets() -> None:
    table = traced(0, (9, 9), n_features=6)
    episodes = sampled([table], 3000, way=2, columns=(2, 4))
    support = episodes.support
    assert support.x.shape[2] == 4
    assert sorted(set(support.feature_mask.sum(dim=1).tolist())) == [2, 3, 4]
    columns_TF = (support.x[:, 0] % 1 * 8).int()
    assert ((columns_TF % 2 == 1) & support.feature_mask).equal(support.categorical)
    chosen: Counter[int] = Counter()
    for columns, mask in zip(columns_TF, support.feature_mask, strict=True):
        own = columns[mask].tolist()
        assert len(set(own)) == len(own)
        chosen.update(own)
    assert is_uniform([chosen[column] for column in range(6)])
    assert not support.x.masked_select(~support.feature_mask[:, None]).any()


# Regression


@pytest.mark.parametrize(
    "settings", [{"shot": 4, "query": 6}, {"shot": None, "rows": 4, "query": 6}]
)
def test_regression_rows_keep_their_targets(settings: dict[str, Any]) -> None:
    tables = [traced(0, (30,), kind="regression"), traced(1, (10,), kind="regression")]
    episodes = sampled(tables, 20, **settings)
    rows_TN, targets_TN = rows_and_labels(episodes)
    assert rows_TN.shape == (20, 10)
    assert episodes.support.y.shape == (20, 4)
    assert episodes.support.kind == "regression"
    np.testing.assert_allclose(targets_TN, rows_TN % 1000 / 100, rtol=1e-6)
    assert all(len(set(rows)) == 10 for rows in rows_TN)


# Query rows that are the support rows


@pytest.mark.parametrize(
    ("kind", "settings", "n_rows"),
    [
        ("classification", {"way": 3, "shot": 7}, 21),  # all there are
        ("classification", {"way": 2, "shot": None, "rows": 9}, 9),
        ("classification", {"way": 2, "shot": None, "rows": 9, "draw": "natural"}, 9),
        ("classification", {"way": 2, "shot": None, "rows": 9, "draw": "even"}, 9),
        ("regression", {"shot": 21}, 21),
        ("regression", {"shot": None, "rows": 9}, 9),
    ],
)
@pytest.mark.parametrize("given", [False, True])
def test_query_rows_are_the_support_rows(
    kind: Kind, settings: dict[str, Any], n_rows: int, given: bool
) -> None:
    table = traced(0, (7, 7, 7), kind=kind)
    if given:  # a split: rows to learn from, none of the others
        table = replace(table, training=np.ones(21, dtype=bool))
    episodes = sampled([table], 30, query="support", **settings)
    assert episodes.support.x.shape[1] == n_rows
    assert episodes.query_x.equal(episodes.support.x)
    assert episodes.query_y.equal(episodes.support.y)
    rows_TN, _ = rows_and_labels(episodes)
    assert all(len(set(rows)) == n_rows for rows in rows_TN.tolist())


def test_query_rows_that_are_the_support_rows_come_from_the_part_to_learn_from() -> None:
    training = np.arange(40) % 2 == 0
    table = replace(traced(0, (20, 20)), training=training)
    sizes: list[dict[str, Any]] = [{"shot": 5}, {"shot": None, "rows": 5}]
    for each in sizes:
        episodes = sampled([table], 30, way=2, query="support", **each)
        assert training[rows_and_labels(episodes)[0] % 1000].all()


# Sizes


def test_way_shot_and_columns_are_drawn_from_their_ranges() -> None:
    drawn = [
        sampled([traced(0, (9, 9, 9))], 1, seed, way=(2, 3), shot=(1, 4)) for seed in range(60)
    ]
    assert {(each.support.way, each.support.y.shape[1] // each.support.way) for each in drawn} == {
        (way, shot) for way in (2, 3) for shot in (1, 2, 3, 4)
    }


def test_way_is_cut_to_what_the_best_table_has() -> None:
    assert sampled([traced(0, (9, 9, 9)), traced(1, (9, 9))], 4, way=5).support.way == 3
    shape = Shape(way=5, shot=1, rows=None, query=1)
    assert fitting(Pack.of([traced(0, (9, 1))]), shape).way == 2


@pytest.mark.parametrize(
    ("kind", "settings", "needed"),
    [
        ("classification", {"shot": 5, "query": 5}, "10 rows in each of 2 classes"),
        ("classification", {"shot": None, "rows": 15, "query": 5}, "20 rows and two classes"),
        ("regression", {"shot": 15, "query": 5}, "20 rows in each of 1 classes"),
        ("regression", {"shot": None, "rows": 15, "query": 5}, "20 rows"),
    ],
)
def test_tables_that_are_too_small(kind: Kind, settings: dict[str, Any], needed: str) -> None:
    with pytest.raises(NoEligibleTable, match=f"none of the 2 tables has {needed}; lower"):
        sampled([traced(index, (9, 9), kind=kind) for index in (0, 1)], **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": 5}, r"exactly one of shot \(2\) and rows \(5\)"),
        ({"shot": None}, "exactly one of shot"),
        ({"way": (5, 2)}, "way runs from 5 to 2"),
        ({"columns": (3, 1)}, "columns runs from 3 to 1"),
    ],
)
def test_protocols_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        protocol(**settings)


def test_draw_scales_where_asked() -> None:
    pack = Pack.of([traced(0, (9, 9))])
    generator = torch.Generator().manual_seed(0)
    shape = Shape(way=2, shot=2, rows=None, query=5)
    tables_T = choose_tables(pack, shape, 3, generator)
    x_TSF = draw(pack, tables_T, shape, protocol(), True, generator).support.x
    torch.testing.assert_close(x_TSF.mean(dim=1), torch.zeros(3, 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(x_TSF.std(dim=1, correction=0), torch.ones(3, 3))


# The ordered sample


def fisher_yates(count: int, randoms: list[float]) -> list[int]:
    deck = list(range(count))
    for step, random in enumerate(randoms[:count]):
        other = step + int(random * (count - step))
        deck[step], deck[other] = deck[other], deck[step]
    return deck[: len(randoms)]


@few_examples
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=5), size=st.integers(1, 25))
def test_ordered_sample_is_fisher_and_yates_shuffle(counts: list[int], size: int) -> None:
    picked = ordered_sample(torch.tensor(counts), size, torch.Generator().manual_seed(size))
    randoms = torch.rand(
        len(counts), size, generator=torch.Generator().manual_seed(size), dtype=torch.float64
    )
    for lane, count in enumerate(counts):
        expected = fisher_yates(count, randoms[lane].tolist())
        assert picked[lane, : len(expected)].tolist() == expected


@pytest.mark.parametrize(("count", "size"), [(3, 3), (4, 2), (5, 3), (6, 1)])
def test_ordered_sample_is_uniform(count: int, size: int) -> None:
    n_lanes = 200 * len(list(permutations(range(count), size)))
    picked = ordered_sample(
        torch.full((n_lanes,), count), size, torch.Generator().manual_seed(count)
    )
    seen = Counter(map(tuple, picked.tolist()))
    assert set(seen) == set(permutations(range(count), size))
    assert is_uniform(list(seen.values()))


def test_ordered_sample_of_a_large_table() -> None:
    picked = ordered_sample(torch.tensor([10**9]), 200, torch.Generator().manual_seed(0))[0]
    assert len(set(picked.tolist())) == 200
    assert stats.kstest(picked.numpy() / 1e9, "uniform").pvalue > 1e-3
