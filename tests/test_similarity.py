"""The learned similarity of tasks against loops and sums written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import built, episodes, protocol

from metamine.encoders.dataset2vec import Dataset2Vec
from metamine.episode import Support
from metamine.methods.metric.similarity import MOST, TaskSimilarity, halves, labelled, log_loss
from metamine.randomness import stream
from metamine.sampler import sample

KINDS = pytest.mark.parametrize("kind", ["classification", "regression"])


def made(hidden: int = 6, width: int = 3) -> TaskSimilarity:
    torch.manual_seed(0)
    return TaskSimilarity(Dataset2Vec(hidden=hidden, width=width)).double()


def test_s_is_a_symmetric_probability_that_falls_with_distance() -> None:
    similarity = made()
    similarity.log_a.data.fill_(np.log(0.7))
    similarity.b.data.fill_(2.0)
    d_TD = torch.cat([torch.zeros(1, 3), 10 * torch.randn(9, 3)]).double()
    s_TT = similarity(d_TD, d_TD).sigmoid()
    assert torch.allclose(s_TT, s_TT.mT)
    assert torch.allclose(s_TT.diagonal(), torch.sigmoid(torch.tensor(2.0)).double(), atol=1e-3)
    distance = (d_TD[0] - d_TD[4]).square().sum().sqrt()
    assert torch.allclose(s_TT[0, 4], 1 / (1 + torch.exp(0.7 * distance - 2)), rtol=1e-5)
    slope = torch.autograd.grad(similarity(d_TD.requires_grad_(), d_TD).sum(), d_TD)[0]
    assert slope.isfinite().all()  # also of a task and itself


def test_units_tell_nothing() -> None:
    support = episodes(dtype=torch.float64).support
    other = replace(support, x=support.x * torch.tensor([1.0, 10.0, 0.1, 3.0, 2.0]) + 5)
    similarity = made()
    assert torch.allclose(similarity.embed(support), similarity.embed(other))


def test_the_loss_by_hand() -> None:
    s_TT = torch.tensor([[0.9, 0.2, 0.4], [0.3, 0.8, 0.1], [0.5, 0.6, 0.7]]).double()
    same = -np.log([0.9, 0.8, 0.7]).mean()
    different = -np.log(1 - np.array([0.2, 0.4, 0.3, 0.1, 0.5, 0.6])).mean()
    logit_TT = (s_TT / (1 - s_TT)).log()
    assert log_loss(logit_TT).item() == pytest.approx(same + different)
    assert log_loss(logit_TT[:1, :1]).item() == pytest.approx(-np.log(0.9))

    similarity, batch = made(), episodes(dtype=torch.float64)
    torch.manual_seed(3)
    loss = similarity.loss(batch)
    torch.manual_seed(3)
    first, second = (similarity.embed(part) for part in halves(batch))
    assert torch.allclose(loss, log_loss(similarity(first, second)))


def rows_of(support: Support, task: int) -> set[tuple[float, ...]]:
    return {tuple(row) for row in support.x[task].tolist()}


def test_halves_share_no_rows_and_have_some_columns() -> None:
    torch.manual_seed(0)
    batch = episodes(n_features=20)
    whole = labelled(batch)
    first, second = halves(batch, all_columns=True)
    for t in range(4):
        assert not rows_of(first, t) & rows_of(second, t)
        assert rows_of(first, t) | rows_of(second, t) <= rows_of(whole, t)
    widths = set()
    for _ in range(10):
        for part in halves(batch):
            widths |= set(part.feature_mask.sum(dim=1).tolist())
            assert not part.x.masked_select(~part.feature_mask[:, None].expand_as(part.x)).any()
            columns = whole.x.mT  # each of the part's cells stands in one column of the task
            for t in range(4):
                for column in part.x[t].mT[part.feature_mask[t]]:
                    assert torch.isin(column, columns[t]).all()
    assert min(widths) == MOST // 2 + 1
    assert max(widths) == MOST


def auc(similarity: TaskSimilarity, first: Support, second: Support) -> float:
    """How often parts of one table are more alike than parts of two."""
    with torch.no_grad():
        s_TT = similarity(similarity.embed(first), similarity.embed(second))
    other = s_TT[~torch.eye(len(s_TT), dtype=torch.bool)]
    return float((s_TT.diagonal()[:, None] > other).double().mean())


def test_it_learns_to_tell_tables_it_never_saw() -> None:
    source = built("source", "synthetic", features=[2, 10])
    sizes = protocol(way=2, shot=5, query=20)
    torch.manual_seed(0)
    similarity = TaskSimilarity(Dataset2Vec(hidden=32, width=16))
    unseen = halves(sample(source, "test", sizes, 100, stream(1, "unseen")))
    before = auc(similarity, *unseen)
    batches = sample(source, "train", sizes, 16 * 60, stream(0, "training tasks"))
    optimizer = torch.optim.Adam(similarity.parameters(), lr=4e-3)
    for batch in (batches[first : first + 16] for first in range(0, 960, 16)):
        optimizer.zero_grad()
        similarity.loss(batch).backward()
        optimizer.step()
    assert auc(similarity, *unseen) > before + 0.03
