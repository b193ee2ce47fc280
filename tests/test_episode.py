"""The value that flows: cut, moved and asked."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from making import episodes


def test_a_slice_cuts_every_tensor_along_the_tasks() -> None:
    batch = episodes(n_tasks=5)
    part = batch[1:3]
    assert part.n_tasks == 2
    assert part.support.x.equal(batch.support.x[1:3])
    assert part.support.y.equal(batch.support.y[1:3])
    assert part.support.feature_mask.equal(batch.support.feature_mask[1:3])
    assert part.support.categorical.equal(batch.support.categorical[1:3])
    assert part.support.n_classes.equal(batch.support.n_classes[1:3])
    assert part.support.way == batch.support.way
    assert part.query_x.equal(batch.query_x[1:3])
    assert part.query_y.equal(batch.query_y[1:3])
    assert part.target_scale.equal(batch.target_scale[1:3])


@pytest.mark.parametrize(("size", "lengths"), [(2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_chunks_are_the_batch_in_order(size: int, lengths: list[int]) -> None:
    batch = episodes(n_tasks=5)
    chunks = list(batch.chunks(size))
    assert [chunk.n_tasks for chunk in chunks] == lengths
    assert torch.cat([chunk.query_x for chunk in chunks]).equal(batch.query_x)
    assert torch.cat([chunk.support.y for chunk in chunks]).equal(batch.support.y)


def test_moving_takes_the_support_along() -> None:
    moved = episodes().to(torch.device("meta"))
    assert moved.support.x.is_meta
    assert moved.support.n_classes.is_meta
    assert moved.query_y.is_meta
    assert moved.support.way == 3


def test_kind_and_width_of_a_prediction() -> None:
    assert episodes(way=4).support.kind == "classification"
    assert episodes(way=4).support.n_outputs == 4
    assert episodes("regression").support.kind == "regression"
    assert episodes("regression").support.n_outputs == 1


def test_members_and_present_classes() -> None:
    batch = episodes(n_tasks=1, way=3, shot=2)
    support = batch.support
    support.y.copy_(torch.tensor([[0, 2, 2, 0, 0, 2]]))
    assert support.member_TSC[0].int().tolist() == [
        [1, 0, 0],
        [0, 0, 1],
        [0, 0, 1],
        [1, 0, 0],
        [1, 0, 0],
        [0, 0, 1],
    ]
    assert support.present_TC.tolist() == [[True, False, True]]


def test_nobody_changes_an_episode() -> None:
    with pytest.raises(FrozenInstanceError):
        episodes().query_x = torch.zeros(1)  # type: ignore[misc]


def test_chunks_hold_narrow_tables_first_without_their_padding() -> None:
    batch = episodes(n_tasks=4, n_features=6)
    width_T = torch.tensor([6, 2, 3, 2])
    mask_TF = torch.arange(6) < width_T[:, None]
    batch = replace(batch, support=replace(batch.support, feature_mask=mask_TF))
    first, second = batch.chunks(2)
    assert first.query_x.equal(batch.query_x[[1, 3], :, :2])
    assert first.support.x.equal(batch.support.x[[1, 3], :, :2])
    assert second.query_x.equal(batch.query_x[[2, 0]])
    assert second.support.feature_mask.equal(mask_TF[[2, 0]])
    assert second.support.categorical.shape == second.support.feature_mask.shape
