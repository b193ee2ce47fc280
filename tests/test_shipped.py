"""scikit-learn's tables, as scikit-learn gives them up to the scale of their columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from metamine.config import build
from metamine.errors import UsageError
from metamine.protocol import Protocol
from metamine.sampler import sample
from metamine.sources.base import Shape
from metamine.sources.shipped import Shipped, shipped_table
from metamine.sources.split import EmptySplit

NAMES = ["iris", "wine", "breast_cancer", "digits"]
ANY = Shape(way=2, shot=1, rows=None, query=1)
PROTOCOL = Protocol(
    way=2,
    shot=5,
    rows=None,
    query=5,
    draw="balanced",
    one_class="redraw",
    transductive=False,
    columns=None,
)


@pytest.mark.parametrize("name", [*NAMES, "diabetes"])
def test_tables_are_scikit_learns(name: str) -> None:
    table = shipped_table(name)
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    np.testing.assert_allclose(table.x, StandardScaler().fit_transform(x), atol=1e-5)
    assert table.x.dtype == np.float32
    assert not table.categorical.any()
    assert len(table.features) == x.shape[1]
    if table.kind == "regression":
        np.testing.assert_allclose(table.y * table.target_sd + table.target_mean, y, rtol=1e-5)
    else:
        np.testing.assert_array_equal(table.y, y)
        assert table.y.dtype == np.int64
        assert len(table.classes) == y.max() + 1


def test_all_tables_are_test_tables() -> None:
    source, generator = Shipped(NAMES), torch.Generator()
    pack = source.pack("test", ANY, 1, generator)
    assert (source.kind, source.name, source.endless) == ("classification", "shipped", False)
    assert pack.names == tuple(NAMES)
    assert pack is source.pack("test", ANY, 9, generator)
    for split in ("train", "validation"):
        with pytest.raises(EmptySplit, match=f"have no {split} split, for they serve evaluation"):
            source.pack(split, ANY, 1, generator)


def test_episodes_of_regression() -> None:
    source = Shipped(["diabetes"])
    episodes = sample(source, "test", PROTOCOL, 4, torch.Generator().manual_seed(0))
    assert (source.kind, source.name) == ("regression", "shipped_regression")
    assert episodes.support.x.shape == (4, 5, 10)
    assert episodes.support.y.dtype == torch.float32


def test_kinds_cannot_be_mixed() -> None:
    with pytest.raises(UsageError, match="mixes classification and regression"):
        Shipped(["iris", "diabetes"])


@pytest.mark.parametrize("tables", [["irris"], [], "iris"])
def test_the_config_is_checked(tables: object) -> None:
    with pytest.raises(UsageError, match=r"^source.tables"):
        build({"_target_": "metamine.sources.shipped.Shipped", "tables": tables}, (), "source")
