"""Standardising against plain NumPy in float64, one column of one task at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import episodes

from metamine.episode import Episodes
from metamine.preprocess import FURTHEST, standardise


def with_gaps(batch: Episodes, seed: int = 0) -> Episodes:
    """A fifth of the cells missing; columns 0 and 1 on scales of their own, column 2 constant,
    column 3 missing in the whole support of task 0."""
    generator = torch.Generator().manual_seed(seed)

    def spoilt(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[..., 0] = 1000 + 0.01 * x[..., 0]
        x[..., 1] *= 1e6
        x[..., 2] = 3.7
        return x.masked_fill_(torch.rand(x.shape, generator=generator) < 0.2, float("nan"))

    support_x = spoilt(batch.support.x)
    support_x[0, :, 3] = float("nan")
    return replace(
        batch, support=replace(batch.support, x=support_x), query_x=spoilt(batch.query_x)
    )


def reference(column_N: np.ndarray, seen_N: np.ndarray) -> np.ndarray:
    seen = seen_N[~np.isnan(seen_N)].astype(np.float64)
    if len(seen) == 0 or seen.std() < 1e-9:
        return np.where(np.isnan(column_N), np.nan, 0.0)
    return np.clip((column_N - seen.mean()) / seen.std(), -FURTHEST, FURTHEST)


@pytest.mark.parametrize("transductive", [False, True])
def test_columns(transductive: bool) -> None:
    batch = with_gaps(episodes(n_tasks=3, n_query=9, dtype=torch.float64))
    done = standardise(batch, transductive)
    for task in range(3):
        for feature in range(5):
            support_S = batch.support.x[task, :, feature].numpy()
            query_Q = batch.query_x[task, :, feature].numpy()
            seen_N = np.concatenate([support_S, query_Q]) if transductive else support_S
            for ours, column in (
                (done.support.x, support_S),
                (done.query_x, query_Q),
            ):
                np.testing.assert_allclose(
                    ours[task, :, feature], reference(column, seen_N), atol=1e-9
                )


def test_float32_is_as_good_as_it_can_be() -> None:
    batch = with_gaps(episodes(n_query=9))
    exact = standardise(
        replace(
            batch,
            support=replace(batch.support, x=batch.support.x.double()),
            query_x=batch.query_x.double(),
        ),
        False,
    )
    # Column 0 has a mean of 1e5 standard deviations: 0.01 of one is all that float32 holds.
    torch.testing.assert_close(
        standardise(batch, False).query_x.double(), exact.query_x, atol=0.05, rtol=0, equal_nan=True
    )


def test_query_does_not_move_the_support_unless_transductive() -> None:
    batch = episodes()
    other = replace(batch, query_x=batch.query_x * 5 + 1)
    assert standardise(batch, False).support.x.equal(standardise(other, False).support.x)
    assert not standardise(batch, True).support.x.equal(standardise(other, True).support.x)


def test_units_do_not_matter() -> None:
    batch = episodes(dtype=torch.float64)
    other = replace(
        batch,
        support=replace(batch.support, x=batch.support.x * 7 - 3),
        query_x=batch.query_x * 7 - 3,
    )
    ours, theirs = standardise(batch, False), standardise(other, False)
    torch.testing.assert_close(ours.support.x, theirs.support.x)
    torch.testing.assert_close(ours.query_x, theirs.query_x)


def test_far_queries_are_held_back() -> None:
    batch = episodes()
    far = standardise(replace(batch, query_x=batch.query_x + 1e4), False)
    assert (far.query_x == FURTHEST).all()


def test_classification_targets_stay() -> None:
    batch = episodes()
    done = standardise(batch, False)
    assert done.support.y.equal(batch.support.y)
    assert done.query_y.equal(batch.query_y)
    assert done.target_scale.equal(torch.ones(4))


@pytest.mark.parametrize("transductive", [False, True])
def test_regression_targets_are_scaled_by_the_support_alone(transductive: bool) -> None:
    batch = episodes("regression", shot=8, dtype=torch.float64)
    batch = replace(
        batch,
        support=replace(batch.support, y=3 * batch.support.y + 5),
        query_y=3 * batch.query_y + 5,
        target_scale=torch.full((4,), 2.0, dtype=torch.float64),
    )
    done = standardise(batch, transductive)
    for task in range(4):
        y_S, y_Q = batch.support.y[task].numpy(), batch.query_y[task].numpy()
        np.testing.assert_allclose(done.support.y[task], (y_S - y_S.mean()) / y_S.std())
        np.testing.assert_allclose(done.query_y[task], (y_Q - y_S.mean()) / y_S.std())
        np.testing.assert_allclose(done.target_scale[task], 2 * y_S.std())


def test_one_target_only_is_centred_not_scaled() -> None:
    batch = episodes("regression", shot=1)
    done = standardise(batch, False)
    assert not done.support.y.any()
    torch.testing.assert_close(done.query_y, batch.query_y - batch.support.y)
    assert done.target_scale.equal(torch.ones(4))


def test_the_episodes_given_are_left_alone() -> None:
    batch = with_gaps(episodes())
    before = (batch.support.x.clone(), batch.query_x.clone())
    standardise(batch, True)
    torch.testing.assert_close((batch.support.x, batch.query_x), before, equal_nan=True)
