"""STUNT's clusters against Lloyd's loop in NumPy, and its tasks against what the paper says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import built_method, episodes, padded

from metamine.episode import Episodes
from metamine.errors import UsageError
from metamine.methods.data.kmeans import kmeans


def lloyd(x: np.ndarray, centres: np.ndarray, iterations: int) -> np.ndarray:
    """Of one task, a row and a cluster at a time."""
    centres = centres.copy()
    for step in range(iterations + 1):
        labels = np.array([np.argmin([np.sum((row - c) ** 2) for c in centres]) for row in x])
        if step < iterations:
            for k in range(len(centres)):
                if (labels == k).any():
                    centres[k] = x[labels == k].mean(axis=0)
    return labels


def made_by(batch: Episodes, seed: int = 0, **changes: object) -> Episodes:
    stunt = built_method("stunt", **changes)
    torch.manual_seed(seed)
    return stunt.self_generated(batch)


def rows_of(batch: Episodes) -> torch.Tensor:
    return torch.cat([batch.support.x, batch.query_x], dim=1)


@pytest.mark.parametrize("iterations", [1, 2, 5, 20])
def test_clusters_are_those_of_lloyds_loop(iterations: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 40, 3))
    start = x[:, :4].copy()
    start[:, 3] = 100.0  # loses all its rows at once
    ours = kmeans(torch.from_numpy(x), torch.from_numpy(start), iterations).numpy()
    theirs = np.stack([lloyd(*task, iterations) for task in zip(x, start, strict=True)])
    assert (ours == theirs).all()
    assert set(theirs.ravel()) == {0, 1, 2}


def test_clusters_end_where_they_would_stay() -> None:
    x = torch.randn(3, 30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(kmeans(x, x[:, :3], 50), kmeans(x, x[:, :3], 51))


def test_the_labels_play_no_part() -> None:
    batch = episodes()
    other = replace(
        batch,
        support=replace(batch.support, y=torch.zeros_like(batch.support.y)),
        query_y=torch.zeros_like(batch.query_y),
    )
    stunt, losses = built_method("stunt"), []
    for each in (batch, other):
        torch.manual_seed(0)
        losses.append(stunt.loss(each))
    assert torch.equal(*losses)


def test_the_seed_decides_the_tasks() -> None:
    batch = episodes()
    first, again, other = (made_by(batch, seed) for seed in (0, 0, 1))
    assert torch.equal(first.support.x, again.support.x)
    assert torch.equal(first.query_y, again.query_y)
    assert not torch.equal(first.support.x, other.support.x)


def test_a_task_is_of_the_same_rows_with_some_columns_shuffled() -> None:
    batch = episodes(n_tasks=200, n_features=10)
    made = made_by(batch)
    assert made.support.x.shape == batch.support.x.shape
    assert made.query_x.shape == batch.query_x.shape
    before, after = rows_of(batch), rows_of(made)
    assert torch.equal(before.sort(dim=1).values, after.sort(dim=1).values)  # column by column
    # Columns that stayed whole lie in the same order of rows as the first such column does.
    order_TNF = after.argsort(dim=1).gather(1, before.argsort(dim=1).argsort(dim=1))
    alike_TFF = (order_TNF[..., None] == order_TNF[:, :, None]).all(dim=1)
    whole_T = alike_TFF.sum(dim=2).amax(dim=1)
    chosen_T = 10 - whole_T
    assert set(chosen_T.tolist()) == {2, 3, 4}  # 20 to 50%, rounded down
    assert ((alike_TFF.sum(dim=2) == 1).sum(dim=1) == chosen_T).all()  # each shuffled by itself


def test_pseudo_classes_can_be_told_by_the_columns_that_were_hidden() -> None:
    """Two blobs apart in all columns: any subset finds them, and they are the pseudo-classes."""
    batch = episodes(n_tasks=50, way=2, shot=5, n_query=10, n_features=8)
    blob = torch.cat([batch.support.y, batch.query_y], dim=1)[..., None]
    x = 0.01 * rows_of(batch) + 10.0 * blob
    marked = torch.cat([x, blob.to(x)], dim=2)  # a ninth column that says which blob
    batch = replace(
        batch,
        support=replace(
            batch.support,
            x=marked[:, :10],
            feature_mask=torch.ones(50, 9, dtype=torch.bool),
            categorical=torch.zeros(50, 9, dtype=torch.bool),
        ),
        query_x=marked[:, 10:],
    )
    made = made_by(batch, clusters=2)
    y = torch.cat([made.support.y, made.query_y], dim=1)
    intact = (rows_of(made)[..., :8].mean(dim=2) > 5) == rows_of(made)[..., 8].bool()
    same = (y == rows_of(made)[..., 8]).double().mean(dim=1)
    agreement = torch.maximum(same, 1 - same)[intact.all(dim=1)]
    assert len(agreement) > 10
    assert (agreement == 1).double().mean() > 0.9  # two starts in one blob may stay there


def test_the_support_takes_a_row_of_each_cluster_in_turn() -> None:
    made = made_by(episodes(n_tasks=100, way=5, shot=5, n_query=75), clusters=5)
    in_support = made.support.member_TSC.sum(dim=1)
    in_query = torch.nn.functional.one_hot(made.query_y, 5).sum(dim=1)
    assert (in_support > 0).all()
    few_TC, most_T1 = in_support, in_support.amax(dim=1, keepdim=True)
    assert ((few_TC >= most_T1 - 1) | (in_query == 0)).all()  # fewer only where there are no more
    assert (few_TC.sum(dim=1) == 25).all()


def test_padded_columns_are_never_the_label() -> None:
    batch = padded(episodes(n_tasks=200, n_features=2), features=6, classes=0)
    made = made_by(batch, columns=[1.0, 1.0], clusters=3)
    assert (rows_of(made)[..., 2:] == 0).all()
    one = made_by(batch, columns=[0.01, 0.01], clusters=3)  # one column at least, a real one
    assert one.support.member_TSC.any(dim=1).all()


def test_holes_and_few_rows_are_no_obstacle() -> None:
    batch = episodes(way=2, shot=1, n_query=1)
    holes = batch.support.x.clone()
    holes[..., 0] = torch.nan
    stunt = built_method("stunt", clusters=10)
    assert stunt.loss(replace(batch, support=replace(batch.support, x=holes))).isfinite()


def test_answers_are_those_of_a_prototypical_network() -> None:
    batch = episodes()
    stunt, protonet = built_method("stunt"), built_method("protonet")
    protonet.load_state_dict(stunt.protonet.state_dict())
    ours = stunt.predict(batch.support, batch.query_x)
    assert torch.equal(ours, protonet.predict(batch.support, batch.query_x))


def test_shares_come_in_order() -> None:
    with pytest.raises(UsageError, match="the least share is above the greatest"):
        built_method("stunt", columns=[0.5, 0.2])
