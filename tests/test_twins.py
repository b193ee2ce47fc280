from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from metamine.sources.reading import read_table
from metamine.sources.shipped import shipped_table
from metamine.sources.table import standardised
from metamine.sources.twins import SKETCHED, sketch, twins

DATA = Path(os.environ.get("METAMINE_SHARED") or "/nowhere") / "data"
RECORDED = DATA / "openml_recorded" / "datasets"
needs_data = pytest.mark.skipif(
    not (DATA / "uci").exists() or not RECORDED.exists(),
    reason="METAMINE_SHARED names no folder with data/uci and data/openml_recorded",
)
SHIPPED = ("iris", "wine", "breast_cancer", "digits", "diabetes")


def found(tables: Mapping[str, np.ndarray]) -> dict[frozenset[str], str]:
    """The pairs of twins, and why they are."""
    sketches = {name: sketch(x) for name, x in tables.items()}
    n_rows = {name: len(x) for name, x in tables.items()}
    pairs = twins(sketches, n_rows, tables.__getitem__)
    assert pairs == twins(sketches, n_rows, tables.__getitem__)
    return {frozenset((pair.first, pair.second)): pair.reason for pair in pairs}


def uploaded_again(x: np.ndarray, seed: int) -> np.ndarray:
    """99 % of the rows, all but up to 3 columns, in another order, recoded and in other units."""
    rng = np.random.default_rng(seed)
    n_rows, n_columns = x.shape
    rows = rng.permutation(n_rows)[: n_rows - n_rows // 100]
    columns = rng.permutation(n_columns)[: max(4, n_columns - 3)]
    again = x[np.ix_(rows, columns)].astype(np.float64)
    for column in again.T:
        known = ~np.isnan(column)
        values = np.unique(column[known])
        if len(values) <= 8:
            codes = rng.permutation(len(values))
            column[known] = codes[np.searchsorted(values, column[known])]
        else:
            column[:] = standardised(column * rng.uniform(0.1, 10) + rng.normal())[0]
    return again.astype(np.float32)


def unrelated(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    n_rows = 1000 if seed % 3 == 0 else int(rng.integers(100, 5000))
    columns = []
    kinds = rng.choice(["normal", "uniform", "binary", "integer", "skewed"], rng.integers(2, 15))
    for kind in kinds if seed % 2 else np.repeat(kinds[:1], len(kinds)):
        columns.append(
            {
                "normal": rng.normal(size=n_rows),
                "uniform": rng.random(n_rows),
                "binary": rng.random(n_rows) < rng.choice([0.5, rng.random()]),
                "integer": rng.integers(0, rng.integers(2, 30), n_rows),
                "skewed": rng.exponential(size=n_rows),
            }[kind]
        )
    return np.stack([standardised(each.astype(np.float64))[0] for each in columns], axis=1)


def categories(seed: int = 0, n_rows: int = 800) -> np.ndarray:
    """Codes, that depend on each other, with missing ones."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n_rows, 1))
    x = np.floor(np.abs(hidden + rng.normal(size=(n_rows, 9))) * np.linspace(0.8, 2.5, 9))
    x = np.minimum(x, 5)
    x[rng.random(x.shape) < 0.05] = np.nan
    return x.astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_uploads_of_shipped_tables_are_found(seed: int) -> None:
    tables = {name: shipped_table(name).x for name in SHIPPED} | {"codes": categories()}
    again = {f"{name} again": uploaded_again(x, seed) for name, x in tables.items()}
    pairs = found(tables | again)
    assert set(pairs) == {frozenset((name, f"{name} again")) for name in tables}
    for reason in pairs.values():
        assert "columns match and" in reason


def test_an_equal_table_is_found_for_what_it_is() -> None:
    x = shipped_table("wine").x
    assert found({"a": x, "b": x.copy()}) == {
        frozenset("ab"): "13 of 13 columns match and 100% of the rows agree"
    }


def test_equal_columns_whose_rows_are_shuffled_apart_are_still_found_by_their_distribution() -> (
    None
):
    x = shipped_table("breast_cancer").x
    apart = np.random.default_rng(0).permuted(x, axis=0)
    assert found({"a": x, "b": apart}) == {frozenset("ab"): "30 of 30 columns match"}


def test_categories_alone_are_found_though_few_rows_differ() -> None:
    # Many rows agree by chance: for twins, all have to.
    x = categories()[:, :3]
    assert found({"a": x, "b": uploaded_again(x, 0)})
    assert not found({"a": x, "b": categories(seed=1)[:, :3]})


def test_a_random_part_of_the_rows_is_found() -> None:
    x = shipped_table("digits").x
    assert found({"all": x, "half": uploaded_again(x, 0)[:900]})


def test_a_full_factorial_design_is_found_though_none_of_its_columns_is_distinctive() -> None:
    x = np.stack(np.meshgrid(*[np.arange(5.0)] * 4), axis=-1).reshape(-1, 4).astype(np.float32)
    shuffled = np.random.default_rng(0).permutation(x)
    assert found({"a": x, "b": shuffled[:, [2, 0, 3, 1]]})


def test_unrelated_tables_are_no_twins() -> None:
    assert not found({str(seed): unrelated(seed) for seed in range(24)})  # 276 pairs


def test_other_rows_of_the_same_distributions_are_no_twins() -> None:
    x = shipped_table("diabetes").x
    odd, even = x[::2], x[1::2]
    assert not found({"odd": odd, "even": even})


def test_cells_are_asked_for_suspects_only_and_known_pairs_are_passed_over() -> None:
    tables = {name: shipped_table(name).x for name in ("digits", "wine", "breast_cancer")}
    tables["wine again"] = uploaded_again(tables["wine"], 0)
    sketches = {name: sketch(x) for name, x in tables.items()}
    n_rows = {name: len(x) for name, x in tables.items()}
    asked: set[str] = set()

    def cells(name: str) -> np.ndarray:
        asked.add(name)
        return tables[name]

    (pair,) = twins(sketches, n_rows, cells)
    assert (pair.first, pair.second) == ("wine", "wine again")  # the larger first
    assert asked == {"wine", "wine again"}
    asked.clear()
    assert twins(sketches, n_rows, cells, lambda first, second: True) == []
    assert not asked


def test_a_sketch_holds_the_most_distinctive_columns_and_no_constant_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 100)).astype(np.float32)
    x[:, 3] = np.where(rng.random(300) < 0.7, 0, np.exp(x[:, 3]))
    x[:, 4], x[:, 5] = 1, np.nan
    x[:30, 6] = np.nan
    signatures = sketch(x)
    assert len(signatures) == SKETCHED
    assert signatures[0, 0] == 3
    assert not np.isin([4, 5], signatures[:, 0]).any()
    few = sketch(x[:, 4:7])
    assert few[:, :3].tolist() == [[2, 270, pytest.approx(0.1)]]


def test_a_sketch_does_not_depend_on_the_encoding() -> None:
    x = categories()
    recoded = np.where(np.isnan(x), np.nan, 7 - 3 * x).astype(np.float32)
    assert np.array_equal(sketch(x), sketch(recoded))
    numbers = shipped_table("diabetes").x
    assert np.allclose(sketch(numbers), sketch(numbers * 50 + 3), atol=1e-4)


def test_no_tables_and_tables_without_a_column_have_no_twins() -> None:
    nothing = np.zeros((5, 2), dtype=np.float32)
    assert sketch(nothing).shape == (0, 18)
    assert found({}) == {}
    assert found({"a": nothing, "b": nothing}) == {}


@cache
def uci(name: str) -> np.ndarray:
    return read_table(DATA / "uci" / f"{name}.parquet", "classification", "target", "drop")[0].x


@cache
def recorded(number: int, target: str) -> np.ndarray:
    (file,) = (RECORDED / str(number)).glob("dataset.pq")
    return read_table(file, "classification", target, "drop")[0].x


@needs_data
def test_the_twins_among_real_tables_are_found_and_no_others() -> None:
    tables = {
        "23": recorded(23, "Contraceptive_method_used"),
        "31": recorded(31, "class"),
        "50": recorded(50, "Class"),
        "1504": recorded(1504, "Class"),
        "40704": recorded(40704, "class"),
        "40982": recorded(40982, "target"),
    }
    groups = [
        {"acute-inflammation", "acute-nephritis"},
        {"cardiotocography-10clases", "cardiotocography-3clases"},
        {"contrac", "23"},
        {"credit-approval", "statlog-australian-credit"},
        {"energy-y1", "energy-y2"},
        {"heart-cleveland", "statlog-heart"},
        {"monks-1", "monks-3"},
        {"oocytes_merluccius_nucleus_4d", "oocytes_merluccius_states_2f"},
        {"oocytes_trisopterus_nucleus_2f", "oocytes_trisopterus_states_5b"},
        {f"pittsburg-bridges-{of}" for of in ("MATERIAL", "REL-L", "SPAN", "T-OR-D", "TYPE")},
        {"statlog-german-credit", "31"},
        {"steel-plates", "1504", "40982"},
        {"tic-tac-toe", "50"},
        {"titanic", "40704"},
        {"vertebral-column-2clases", "vertebral-column-3clases"},
    ]
    others = [
        *("annealing", "arrhythmia", "audiology-std", "breast-cancer-wisc-prog", "car"),
        *("conn-bench-sonar-mines-rocks", "dermatology", "flags", "heart-hungarian"),
        *("heart-switzerland", "hepatitis", "horse-colic", "libras", "low-res-spect"),
        *("lung-cancer", "lymphography", "plant-shape", "synthetic-control", "trains", "zoo"),
    ]
    tables |= {name: uci(name) for name in [*set().union(*groups), *others] if name not in tables}
    expected = {frozenset((a, b)) for group in groups for a in group for b in group if a != b}
    assert set(found(tables)) == expected


@needs_data
@pytest.mark.parametrize("name", ["abalone", "balance-scale", "mushroom", "ringnorm", "yeast"])
def test_uploads_of_real_tables_are_found(name: str) -> None:
    assert found({"a": uci(name), "b": uploaded_again(uci(name), 0)})
