"""Data files of OpenML as features.xml declares them, whatever the reader makes of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metamine.prefetch.datafile import Column, Corrupt, Feature, TooMany, read_arff, read_parquet

NUMBER = Feature("a", "numeric", ())
MOST = 1000  # cells


def by_parquet(folder: Path, feature: Feature, values: Any, kind: pa.DataType) -> list[Any]:
    pq.write_table(pa.table({feature.name: pa.array(values, kind)}), folder / "data.pq")
    return listed(read_parquet(folder / "data.pq", [feature], MOST))


def by_arff(folder: Path, features: list[Feature], text: str, sparse: bool = False) -> list[Column]:
    pytest.importorskip("arff")
    (folder / "data.arff").write_text(text, encoding="utf-8")
    return read_arff(folder / "data.arff", features, sparse, MOST)


def listed(columns: list[Column], at: int = 0) -> list[Any]:
    values = columns[at].values.tolist()
    return [None if value != value else value for value in values]


def nominal(*levels: str) -> Feature:
    return Feature("a", "nominal", levels)


@pytest.mark.parametrize(
    ("levels", "values", "kind", "labels"),
    [
        (("0", "1"), [0, 1, None], pa.int64(), ["0", "1", None]),
        (("0", "1"), [0, 1, None], pa.float64(), ["0", "1", None]),
        (("1.0", "2.0"), [1, 2], pa.uint8(), ["1.0", "2.0"]),
        (("0", "1"), ["0", "1"], pa.string(), ["0", "1"]),
        (("True", "False"), [True, False, None], pa.bool_(), ["True", "False", None]),
        (("TRUE", "FALSE"), [True, False], pa.bool_(), ["TRUE", "FALSE"]),
        (("false", "true"), [True, False], pa.bool_(), ["true", "false"]),
        ((" x", "y "), ["x", "y", "y "], pa.string(), ["x", "y", "y"]),
        (("1e3", "7"), [1000.0, 7.0], pa.float64(), ["1e3", "7"]),
        ((), ["b", "a"], pa.string(), ["b", "a"]),
    ],
)
def test_nominal_values_become_their_levels(
    levels: tuple[str, ...], values: list[Any], kind: pa.DataType, labels: list[Any], tmp_path: Path
) -> None:
    assert by_parquet(tmp_path, nominal(*levels), values, kind) == labels


def test_dictionaries_are_read_by_value(tmp_path: Path) -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([1, 0, None], pa.int8()), ["x", "y"])
    pq.write_table(pa.table({"a": array}), tmp_path / "data.pq")
    assert listed(read_parquet(tmp_path / "data.pq", [nominal("y", "x")], MOST)) == ["y", "x", None]


@pytest.mark.parametrize(
    ("levels", "values", "kind"),
    [
        (("0", "1"), [2], pa.int64()),
        (("x", "y"), ["X"], pa.string()),
        (("yes", "no"), [True], pa.bool_()),
        (("1", "2"), [1.5], pa.float64()),
    ],
)
def test_what_is_no_level_is_refused(
    levels: tuple[str, ...], values: list[Any], kind: pa.DataType, tmp_path: Path
) -> None:
    with pytest.raises(Corrupt, match=f"none of the {len(levels)} values"):
        by_parquet(tmp_path, nominal(*levels), values, kind)


@pytest.mark.parametrize(
    ("values", "kind", "numbers"),
    [
        ([1, None, 255], pa.uint8(), [1.0, None, 255.0]),
        ([1.5, None, float("nan")], pa.float64(), [1.5, None, None]),
        (["1", "2.5", None], pa.string(), [1.0, 2.5, None]),
        ([True, False], pa.bool_(), [1.0, 0.0]),
        ([2**53 + 1], pa.int64(), [float(2**53)]),
    ],
)
def test_numbers(values: list[Any], kind: pa.DataType, numbers: list[Any], tmp_path: Path) -> None:
    assert by_parquet(tmp_path, NUMBER, values, kind) == numbers


def test_a_text_among_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match=r"'a' is numeric by features\.xml, but holds 'x'"):
        by_parquet(tmp_path, NUMBER, ["1", "x"], pa.string())


def test_missing_are_also_numbers_that_float32_has_not() -> None:
    column = Column(NUMBER, np.array([1.0, np.nan, np.inf, -1e39, 3e38]))
    assert column.missing.tolist() == [False, True, True, True, False]
    assert Column(nominal(), np.array(["x", None], object)).missing.tolist() == [False, True]


ARFF = """% a comment
@RELATION r

@attribute 'a b' REAL
@ATTRIBUTE c {'x y', "it's", 1, TRUE}
@attribute "when date" DATE "yyyy-MM-dd HH:mm:ss"
@attribute plain date
@attribute text STRING

@DATA
1e-3,'x y','2020-01-01 00:00:00',2020,'date, of @data'
% another
?,"it's",?,?,?
-7,1,'2020-01-02 00:00:00',2021,'é'
3, TRUE ,'',2022,''
"""
FEATURES = [
    Feature("a b", "numeric", ()),
    Feature("c", "nominal", ("x y", "it's", "1", "TRUE")),
    Feature("when date", "date", ()),
    Feature("plain", "date", ()),
    Feature("text", "string", ()),
]


def test_dense_arff(tmp_path: Path) -> None:
    columns = by_arff(tmp_path, FEATURES, ARFF)
    assert listed(columns, 0) == [0.001, None, -7.0, 3.0]
    assert listed(columns, 1) == ["x y", "it's", "1", "TRUE"]
    assert listed(columns, 2)[:3] == ["2020-01-01 00:00:00", None, "2020-01-02 00:00:00"]
    assert listed(columns, 3) == ["2020", None, "2021", "2022"]
    assert listed(columns, 4)[:3] == ["date, of @data", None, "é"]


def test_windows_line_ends_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "data.arff").write_bytes(ARFF.replace("\n", "\r\n").encode())
    pytest.importorskip("arff")
    one = read_arff(tmp_path / "data.arff", FEATURES, False, MOST)
    other = by_arff(tmp_path, FEATURES, ARFF)
    assert [listed(one, i) for i in range(5)] == [listed(other, i) for i in range(5)]


def test_levels_come_from_the_file_where_the_list_has_none(tmp_path: Path) -> None:
    features = [*FEATURES]
    features[1] = Feature("c", "nominal", ())
    columns = by_arff(tmp_path, features, ARFF)
    assert columns[1].feature.levels == ("x y", "it's", "1", "TRUE")


def test_what_sparse_arff_leaves_out_is_zero_or_the_first_level(tmp_path: Path) -> None:
    text = "@relation r\n@attribute n REAL\n@attribute c {x,y}\n@data\n{}\n{0 ?,1 y}\n{0 2}\n"
    features = [Feature("n", "numeric", ()), Feature("c", "nominal", ("x", "y"))]
    columns = by_arff(tmp_path, features, text, sparse=True)
    assert listed(columns, 0) == [0.0, None, 2.0]
    assert listed(columns, 1) == ["x", "y", "x"]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("'a b'", "'a c'", "its column 'a c' is called 'a b' in features.xml"),
        ("@attribute text STRING\n", "", "4 columns where features.xml lists 5"),
        ("@DATA", "@DATUM", "cannot be read"),
        ("-7,1", "-7", "cannot be read"),
        ("-7,1", "-7,2", "cannot be read"),
        ("-7,1", "x,1", "cannot be read"),
        ("@RELATION r", "<html>", "cannot be read"),
    ],
)
def test_a_broken_arff_file_is_refused(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    assert old in ARFF
    with pytest.raises(Corrupt, match=sentence):
        by_arff(tmp_path, FEATURES, ARFF.replace(old, new))


@pytest.mark.parametrize("length", [0, 3, 100, -8, -1])
def test_a_cut_parquet_file_is_refused(length: int, tmp_path: Path) -> None:
    file = tmp_path / "data.pq"
    pq.write_table(pa.table({"a": [1.0, 2.0]}), file)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(Corrupt, match="its Parquet file cannot be read"):
        read_parquet(file, [NUMBER], MOST)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"b": [1.0], "c": [1.0]}), tmp_path / "data.pq")
    with pytest.raises(Corrupt, match="2 columns where"):
        read_parquet(tmp_path / "data.pq", [NUMBER], MOST)
    with pytest.raises(Corrupt, match="'c' is called 'a'"):
        read_parquet(tmp_path / "data.pq", [Feature("b", "numeric", ()), NUMBER], MOST)


def test_tables_of_too_many_cells_are_refused(tmp_path: Path) -> None:
    """Small files may hold huge tables: long runs of one value, or rows that are left out."""
    file = tmp_path / "data.pq"
    pq.write_table(pa.table({"a": [1.0] * 1001}), file)
    with pytest.raises(TooMany, match=r"1,001 rows x 1 columns, more than most_cells=1,000"):
        read_parquet(file, [NUMBER], MOST)
    columns = "".join(f"@attribute c{i} numeric\n" for i in range(600))
    features = [Feature(f"c{i}", "numeric", ()) for i in range(600)]
    with pytest.raises(TooMany, match="2 rows x 600 columns"):
        by_arff(tmp_path, features, f"@relation r\n{columns}@data\n{{0 1}}\n{{1 1}}\n", True)
