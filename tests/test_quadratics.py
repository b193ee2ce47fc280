"""Random quadratics: independent normal numbers, minimised on the rows they are made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from making import built, protocol
from scipy import stats

from metamine.sampler import sample
from metamine.sources.base import Shape
from metamine.sources.table import Pack

SAME_ROWS = Shape(way=0, shot=10, rows=None, query=0)


def packed(n_tasks: int, shape: Shape = SAME_ROWS, seed: int = 0) -> Pack:
    source = built("source", "quadratics")
    return source.pack("train", shape, n_tasks, torch.Generator().manual_seed(seed))


def test_all_numbers_are_independent_standard_normals() -> None:
    pack = packed(4000)
    numbers = np.concatenate(
        [pack.cells.reshape(4000, 100).numpy(), pack.targets.reshape(4000, 10).numpy()], axis=1
    ).astype(float)
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 1e-3
    assert np.abs(numbers.mean(axis=0)).max() < 5 / math.sqrt(4000)
    assert np.abs(numbers.T @ numbers / 4000 - np.eye(110)).max() < 6 * math.sqrt(2 / 4000)


def test_the_error_of_no_step_and_of_the_wrong_weights() -> None:
    """E ||X w - y||^2 / S = ||w||^2 + 1."""
    source = built("source", "quadratics")
    settings = protocol(shot=10, query="support")
    support = sample(source, "train", settings, 4000, torch.Generator().manual_seed(0)).support
    for w_F in (torch.zeros(10), torch.arange(10) / 10):
        error_T = (support.x @ w_F - support.y).square().mean(dim=1)
        off = error_T.mean() - (w_F.square().sum() + 1)
        assert abs(off) < 4 * error_T.std() / math.sqrt(4000)


def test_episodes_keep_their_units_and_are_judged_on_their_own_rows() -> None:
    source = built("source", "quadratics", dimension=3)
    settings = protocol(shot=7, query="support")
    episodes = sample(source, "train", settings, 50, torch.Generator().manual_seed(0))
    assert episodes.support.kind == "regression"
    assert episodes.support.x.shape == (50, 7, 3)
    assert episodes.query_x.equal(episodes.support.x)
    assert episodes.query_y.equal(episodes.support.y)
    assert episodes.support.x.abs().max() > 3
    assert episodes.target_scale.equal(torch.ones(50))


@pytest.mark.parametrize(
    ("shape", "n_rows"), [(SAME_ROWS, 10), (Shape(way=0, shot=None, rows=5, query=7), 12)]
)
def test_as_many_rows_as_asked(shape: Shape, n_rows: int) -> None:
    assert packed(3, shape).class_count.tolist() == [[n_rows]] * 3


def test_endless_and_seeded() -> None:
    assert built("source", "quadratics").endless
    assert packed(4).cells.equal(packed(4).cells)
    assert not packed(4).cells.equal(packed(4, seed=1).cells)
