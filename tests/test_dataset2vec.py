"""Dataset2Vec against loops written out by hand, in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import episodes, padded, permuted_classes, permuted_columns
from torch import nn

from metamine.encoders.dataset2vec import Dataset2Vec
from metamine.episode import Kind, Support

KINDS = pytest.mark.parametrize("kind", ["classification", "regression"])


def encoder() -> Dataset2Vec:
    torch.manual_seed(0)
    return Dataset2Vec(hidden=6, width=4).double()


def tasks(kind: Kind) -> Support:
    """Three tasks with missing cells, of different width, one without rows of the last class."""
    support = padded(episodes(kind, n_tasks=3, dtype=torch.float64), 2, 1).support
    x, y = support.x.clone(), support.y.clone()
    x[:, ::3, 0] = torch.nan
    x[0, :, 1] = torch.nan  # a column without a cell
    mask = support.feature_mask.clone()
    mask[1, 4] = False
    x[1, :, 4] = 0.0
    x[:, :, 2] = x[:, :, 2].round()  # ties
    categorical = mask & torch.tensor([0, 0, 1, 1, 0, 0, 0]).bool()
    if kind == "classification":
        y[2] = y[2].clamp(max=1)
    return replace(support, x=x, y=y, feature_mask=mask, categorical=categorical)


def answer(net: nn.Sequential, v: np.ndarray) -> np.ndarray:
    for layer in net:
        if isinstance(layer, nn.Linear):
            v = layer.weight.detach().numpy() @ v + layer.bias.detach().numpy()
        elif isinstance(layer, nn.LayerNorm):
            v = (v - v.mean()) / np.sqrt(v.var() + layer.eps)
            v = v * layer.weight.detach().numpy() + layer.bias.detach().numpy()
        else:
            v = np.maximum(v, 0.0)
    return v


def pooled(values: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.mean(values, axis=0), np.mean(np.square(values), axis=0)])


def by_hand(model: Dataset2Vec, support: Support) -> np.ndarray:
    described = []
    for task in range(support.n_tasks):
        x, y = support.x[task].numpy(), support.y[task].numpy()
        responses = [y]
        if support.kind == "classification":
            responses = [(y == label).astype(float) for label in np.unique(y)]
        pairs = []
        for column in np.flatnonzero(support.feature_mask[task].numpy()):
            rows = np.flatnonzero(~np.isnan(x[:, column]))
            for response in responses if len(rows) else []:
                cells = []
                for row in rows:
                    value, others = x[row, column], x[rows, column]
                    rank = ((others < value).sum() + (others <= value).sum()) / len(rows) - 1
                    cells.append(answer(model.row, np.array([value, rank, response[row]])))
                about = [1 - len(rows) / len(x), float(support.categorical[task, column])]
                pairs.append(answer(model.pair, np.concatenate([pooled(cells), about])))
        described.append(answer(model.task, pooled(pairs)))
    return np.stack(described)


@KINDS
def test_equals_the_equation(kind: Kind) -> None:
    model, support = encoder(), tasks(kind)
    np.testing.assert_allclose(model(support).detach().numpy(), by_hand(model, support), atol=1e-12)


@KINDS
def test_order_of_rows_columns_and_classes_does_not_matter(kind: Kind) -> None:
    model, batch = encoder(), episodes(kind, dtype=torch.float64)
    support = batch.support
    order = torch.randperm(support.y.shape[1])
    others = [
        replace(support, x=support.x[:, order], y=support.y[:, order]),
        permuted_columns(batch, torch.tensor([3, 1, 4, 0, 2])).support,
    ]
    if kind == "classification":
        others.append(permuted_classes(batch, torch.tensor([2, 0, 1])).support)
    for other in others:
        assert torch.allclose(model(other), model(support), atol=1e-12)


@KINDS
def test_padding_and_the_other_tasks_of_a_batch_do_not_matter(kind: Kind) -> None:
    model, batch = encoder(), episodes(kind, dtype=torch.float64)
    d_TD = model(batch.support)
    assert torch.allclose(model(padded(batch, 3, 2).support), d_TD, atol=1e-12)
    assert torch.allclose(model(batch.support[1:2]), d_TD[1:2], atol=1e-12)


@KINDS
def test_a_table_without_a_cell_is_no_trouble(kind: Kind) -> None:
    model, support = encoder(), episodes(kind, dtype=torch.float64).support
    d_TD = model(replace(support, x=torch.full_like(support.x, torch.nan)))
    d_TD.sum().backward()
    assert d_TD.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@KINDS
def test_labels_matter(kind: Kind) -> None:
    model, support = encoder(), episodes(kind, dtype=torch.float64).support
    y = support.y.clone()
    y[:, 0] = support.y[:, 1]
    other = replace(support, y=y)
    assert not torch.allclose(model(other), model(support), atol=1e-6)
