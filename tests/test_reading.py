"""Files into tables: one table for all formats, every column type, every complaint."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metamine.errors import MetamineError
from metamine.sources.reading import read_table
from metamine.sources.table import Table, standardised

N = 12
ARFF = """@relation mixed
@attribute size numeric
@attribute count integer
@attribute colour {red, 'dark blue', green}
@attribute big {False, True}
@attribute grade {10, 9, 2}
@attribute target {10, 2, 1}
@data
"""


def mixed() -> pd.DataFrame:
    colour = ["red", "dark blue", "green", None] * 3
    frame = pd.DataFrame(
        {
            "size": [0.5, np.nan, *np.arange(2, N)],
            "count": np.arange(N) * 1_000_000_007,
            "colour": colour,
            "big": [True, False] * (N // 2),
            "grade": ["10", "9", "2", None] * 3,
            "target": [1, 2, 10] * (N // 3),
        }
    )
    return frame.astype({"grade": "category"})


def write_arff(frame: pd.DataFrame, file: Path) -> None:
    quoted = frame.assign(colour=frame["colour"].map(lambda name: f"'{name}'", na_action="ignore"))
    rows = quoted.to_csv(index=False, header=False, na_rep="?", quotechar='"')
    file.write_text(ARFF + rows)


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "csv": lambda frame, file: frame.to_csv(file, index=False),
    "CSV": lambda frame, file: frame.to_csv(file, index=False, na_rep="?"),
    "parquet": lambda frame, file: frame.to_parquet(file),
    "pq": lambda frame, file: frame.to_parquet(file, index=False),
    "arff": write_arff,
}


def save(tmp_path: Path, frame: pd.DataFrame, suffix: str = "parquet") -> Path:
    file = tmp_path / f"mine.{suffix}"
    WRITERS[suffix](frame, file)
    return file


def read(file: Path, kind: str = "classification", text: str = "refuse") -> Table:
    return read_table(file, kind, "target", text)[0]


def alike(one: Table, other: Table) -> bool:
    return (
        (one.features, one.classes, one.kind) == (other.features, other.classes, other.kind)
        and np.array_equal(one.x, other.x, equal_nan=True)
        and np.array_equal(one.y, other.y)
        and np.array_equal(one.categorical, other.categorical)
    )


@pytest.mark.parametrize("suffix", ["parquet", "pq", "arff"])
def test_a_table_is_the_same_in_every_format(tmp_path: Path, suffix: str) -> None:
    table = read(save(tmp_path, mixed(), suffix))
    assert table.features == ("size", "count", "colour", "big", "grade")
    assert table.classes == ("1", "2", "10")  # numbers in the order of numbers, also as nominals
    np.testing.assert_array_equal(table.y, [0, 1, 2] * 4)
    np.testing.assert_array_equal(table.categorical, [False, False, True, True, True])
    colour = np.array([2, 0, 1, np.nan] * 3)
    np.testing.assert_array_equal(table.x[:, 2], colour)
    np.testing.assert_array_equal(table.x[:, 3], [1, 0] * 6)
    np.testing.assert_array_equal(table.x[:, 4], [2, 1, 0, np.nan] * 3)
    size = mixed()["size"].to_numpy()
    scaled = (size - np.nanmean(size)) / np.nanstd(size)
    np.testing.assert_allclose(table.x[:, 0], scaled, rtol=1e-6)
    assert (table.x.dtype, table.y.dtype) == (np.float32, np.int64)


def test_a_csv_is_the_same_but_for_declared_categories(tmp_path: Path) -> None:
    """CSV cannot say that the numbers of a column are names."""
    plain = mixed().drop(columns="grade")
    tables = [read(save(tmp_path, plain, suffix)) for suffix in ("csv", "CSV", "parquet")]
    assert alike(tables[0], tables[2])
    assert alike(tables[1], tables[2])


def recorded() -> list[Path]:
    root = os.environ.get("METAMINE_SHARED")
    folder = Path(root or "/nowhere") / "data" / "openml_recorded" / "datasets"
    return sorted(each for each in folder.glob("*") if (each / "dataset.pq").exists())


@pytest.mark.skipif(not recorded(), reason="METAMINE_SHARED names no folder of recorded answers")
def test_real_tables_are_the_same_as_arff_and_as_parquet() -> None:
    small = [each for each in recorded() if (each / "dataset.arff").stat().st_size < 200_000]
    assert len(small) > 10
    for folder in small:
        about = (folder / "description.xml").read_text()
        target = re.findall("<oml:default_target_attribute>(.*?)<", about)[0]
        one, other = (
            read_table(folder / name, "classification", target, "refuse")[0]
            for name in ("dataset.arff", "dataset.pq")
        )
        assert alike(one, other), folder.name
        assert len(one.classes) == len(np.unique(one.y)) > 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["b", "a", "b", None], [1, 0, 1, np.nan]),
        (["10", "9", "-1.5", "9"], [2, 1, 0, 1]),
        ([True, False, None, True], [1, 0, np.nan, 1]),
        (pd.array([True, None, False, True], dtype="boolean"), [1, np.nan, 0, 1]),
        (pd.Categorical(["z", "y", None, "z"], categories=["z", "unused", "y"]), [1, 0, np.nan, 1]),
    ],
)
def test_categories(tmp_path: Path, values: object, expected: list[float]) -> None:
    table = read(save(tmp_path, pd.DataFrame({"a": values, "target": [0, 1, 0, 1]})))
    np.testing.assert_array_equal(table.x[:, 0], expected)
    assert table.categorical.all()


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 3, 9],
        np.array([1, 2, 3, 9], dtype=np.uint8),
        pd.array([1, 2, 3, 9], dtype="Int64"),
        [Decimal("1"), Decimal("2"), Decimal("3"), Decimal("9")],
        np.array([1, 2, 3, 9]) * 1e-200,  # squares would vanish, in float64 too
        np.array([1, 2, 3, 9]) * 1e30,  # squares would not fit into float32
        np.array([1, 2, 3, 9]) + 1_700_000_000,  # seconds, that float32 would round to 128
    ],
)
def test_numbers_of_any_type_and_unit(tmp_path: Path, values: object) -> None:
    table = read(save(tmp_path, pd.DataFrame({"a": values, "target": [0, 1, 0, 1]})))
    plain = np.array([1, 2, 3, 9])
    np.testing.assert_allclose(table.x[:, 0], (plain - plain.mean()) / plain.std(), rtol=1e-6)
    assert not table.categorical.any()


def test_nullable_numbers_miss_values(tmp_path: Path) -> None:
    column = pd.array([1, None, 3, None], dtype="Int64")
    table = read(save(tmp_path, pd.DataFrame({"a": column, "target": [0, 1, 0, 1]})))
    np.testing.assert_array_equal(table.x[:, 0], [-1, np.nan, 1, np.nan])


def test_what_is_left_out_is_noted(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "Unnamed: 0": range(3, 9),
            "inf": [1, np.inf, 1e39, 2, 3, 4],
            "constant": [7.1] * 6,
            "nothing": [None] * 6,
            "day": pd.date_range("2020-01-01", periods=6),
            "target": ["a", "b", None, "a", "b", "b"],
        }
    )
    table, notes = read_table(save(tmp_path, frame), "classification", "target", "drop")
    assert table.features == ("inf", "constant")
    assert np.isnan(table.x[:, 0]).tolist() == [False, True, False, False, False]
    np.testing.assert_array_equal(table.x[:, 1], 0)
    assert notes == [
        "mine.parquet: the nameless first column only counts the rows and is left out",
        "mine.parquet: 1 rows without a value of 'target' are left out",
        "mine.parquet: 1 infinite values of 'inf' count as missing",
        "mine.parquet: the column 'nothing' has no value and is left out",
        "mine.parquet: the column 'day' holds dates and is left out",
    ]


def test_an_index_that_was_saved_with_a_csv_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    mixed().to_csv(file)
    assert read(file).features == ("size", "count", "colour", "big", "grade")


WORDS = [f"word {i}" for i in range(60)]


@pytest.mark.parametrize(
    ("words", "held"),
    [
        (WORDS[:21] + WORDS[:9], "text (21 different values)"),
        (WORDS, "text (60 different values)"),
        ([date(2020, 1, 1 + i % 3) for i in range(30)], "dates"),
        (pd.date_range("2020-01-01", periods=30), "dates"),
        (pd.to_timedelta(range(30)), "dates"),
        ([[1, 2]] * 30, "mixed values"),
        ([b"a", b"b"] * 15, "bytes values"),
    ],
)
def test_text_is_refused_or_dropped(tmp_path: Path, words: object, held: str) -> None:
    frame = pd.DataFrame({"notes": words})
    frame["a"], frame["target"] = np.arange(len(frame)), np.arange(len(frame)) % 2
    file = save(tmp_path, frame)
    sentence = f"mine.parquet: the column 'notes' holds {held}, which no method here reads; leave"
    with pytest.raises(MetamineError, match=re.escape(sentence)):
        read(file)
    table, notes = read_table(file, "classification", "target", "drop")
    assert table.features == ("a",)
    assert notes == [f"mine.parquet: the column 'notes' holds {held} and is left out"]


@pytest.mark.parametrize("words", [WORDS[:20], WORDS * 5])
def test_few_levels_are_no_text(tmp_path: Path, words: list[str]) -> None:
    """Twenty at most, or five rows for each."""
    frame = pd.DataFrame({"notes": words, "target": np.arange(len(words)) % 2})
    assert read(save(tmp_path, frame)).categorical.all()


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        (["no", "yes", "no"], ("no", "yes")),
        ([True, False, True], ("False", "True")),
        ([3.0, -1.0, 3.0], ("-1", "3")),
        (np.array([3, -1, 3], dtype=np.float32), ("-1", "3")),
        (["10", "9", "9"], ("9", "10")),
        (pd.array([10, 9, 9], dtype="Int64"), ("9", "10")),
    ],
)
def test_classes(tmp_path: Path, target: object, classes: tuple[str, str]) -> None:
    table = read(save(tmp_path, pd.DataFrame({"a": [1, 2, 3], "target": target})))
    assert table.classes == classes
    assert [classes[y] for y in table.y] == [
        str(int(y)) if isinstance(y, float) else str(y) for y in pd.Series(target).tolist()
    ]


def test_regression_targets_are_in_standard_deviations(tmp_path: Path) -> None:
    target = np.array([10.0, 20.0, 60.0, np.nan, np.inf])
    file = save(tmp_path, pd.DataFrame({"a": range(5), "target": target}))
    table, notes = read_table(file, "regression", "target", "refuse")
    assert table.target_mean == pytest.approx(30)
    assert table.target_sd == pytest.approx(np.std([10, 20, 60]))
    np.testing.assert_allclose(table.y * table.target_sd + 30, [10, 20, 60], rtol=1e-6)
    assert (table.kind, table.classes, table.y.dtype) == ("regression", (), np.float32)
    assert notes == ["mine.parquet: 2 rows without a value of 'target' are left out"]


@pytest.mark.parametrize(
    ("kind", "target", "held"),
    [
        ("classification", [0.5, 1.0, 2.0, 0.5], "0.5, which is no class"),
        ("classification", ["a"] * 4, "a single class, a"),
        ("classification", ["a", "b", "c", "d"], "another class in every row"),
        ("classification", pd.date_range("2020-01-01", periods=4), "dates"),
        ("regression", ["a", "b", "a", "b"], "labels"),
        ("regression", [3.0] * 4, "a single value, 3"),
        ("regression", pd.date_range("2020-01-01", periods=4), "dates"),
    ],
)
def test_targets_of_no_use(tmp_path: Path, kind: str, target: object, held: str) -> None:
    file = save(tmp_path, pd.DataFrame({"a": range(4), "target": target}))
    sentence = f"{file}: the target 'target' holds {held}, no use for {kind}; see source.target"
    with pytest.raises(MetamineError, match=re.escape(sentence)):
        read(file, kind)


def test_a_missing_target_column(tmp_path: Path) -> None:
    file = save(tmp_path, pd.DataFrame({f"f{i}": [1, 2] for i in range(9)} | {"Target": [1, 2]}))
    with pytest.raises(MetamineError) as caught:
        read(file)
    assert str(caught.value) == (
        f"{file} has no column 'target' to predict, but: f0, f1, f2, f3, f4, f5, f6, f7, ...; name "
        "the column with source.target=COLUMN, source.targets={mine:COLUMN}, or in index.csv; "
        "did you mean Target?"
    )


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("mine.csv", b"", "cannot be read: No columns to parse from file"),
        ("mine.csv", b"a,target\n", "has no row with a value of 'target'"),
        ("mine.csv", b"a,target\n1,\n2,?\n", "has no row with a value of 'target'"),
        ("mine.csv", b"target\n1\n2\n", "has no column to predict from"),
        ("mine.csv", b"a,target\n,1\n,2\n", "has no column to predict from"),
        ("mine.csv", b"a,target\ninf,1\n-inf,2\n", "the column 'a' holds infinite values, which"),
        ("mine.csv", b"a,target\n\xe9,1\n", "cannot be read: 'utf-8' codec can't decode"),
        ("mine.csv", b"a,target\n1,2\n1,2,3\n", "cannot be read: Error tokenizing data"),
        ("mine.parquet", b"PAR", "cannot be read: "),
        ("mine.arff", b"@relation a\n@attribute b string\n@data\nc\n", "; save it as CSV or"),
        ("mine.arff", b"nothing of the kind", "cannot be read: "),
        ("mine.arff", b"@relation a\n@attribute b {c}\n@data\nd\n", "cannot be read: d value not"),
    ],
)
def test_files_of_no_use(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(MetamineError) as caught:
        read(file)
    assert str(caught.value).startswith(str(file))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_of_one_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.parquet"
    columns = [pa.array([1, 2]), pa.array([1, 2]), pa.array([0, 1])]
    pq.write_table(pa.Table.from_arrays(columns, names=["a", "a", "target"]), file)
    with pytest.raises(MetamineError, match=f"{file} cannot be read: Multiple matches"):
        read(file)


def test_columns_named_by_numbers(tmp_path: Path) -> None:
    file = save(tmp_path, pd.DataFrame({0: [1.5, 2.5], 1: [0, 1]}))
    table, _ = read_table(file, "classification", "1", "refuse")
    assert table.features == ("0",)


def test_standardised_ignores_what_is_missing() -> None:
    scaled, mean, sd = standardised(np.array([2.0, np.nan, 6.0]))
    np.testing.assert_array_equal(scaled, np.array([-1, np.nan, 1], dtype=np.float32))
    assert (mean, sd) == (4.0, 2.0)
    scaled, mean, sd = standardised(np.array([0.1, 0.1, 0.1]))
    np.testing.assert_array_equal(scaled, 0)
    assert (mean, sd) == (0.1, 1.0)
