"""SNAIL against loops over one sequence at a time: the support rows, then one query row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import built_method, episodes
from torch import Tensor, nn

from metamine.episode import Episodes, Kind
from metamine.methods.model.sequence import CausalAttention, Convolution
from metamine.methods.model.snail import SNAIL


def affine(layer: nn.Module, h: np.ndarray) -> np.ndarray:
    weights = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    return weights["weight"] @ h + weights.get("bias", 0.0)


def convolved(layer: Convolution, h: np.ndarray) -> np.ndarray:
    """Row by row along one sequence."""
    g = []
    for t in range(len(h)):
        before = h[t - layer.back] if t >= layer.back else np.zeros_like(h[0])
        value, gate = np.split(affine(layer.before, before) + affine(layer.now, h[t]), 2)
        g.append(np.tanh(value) / (1 + np.exp(-gate)))
    return np.stack(g)


def attended(layer: CausalAttention, h: np.ndarray) -> np.ndarray:
    g = []
    for t in range(len(h)):
        query = affine(layer.query, h[t])
        scores = [query @ affine(layer.key, h[i]) / np.sqrt(len(query)) for i in range(t + 1)]
        weight = np.exp(scores) / np.exp(scores).sum()
        g.append(sum(w * affine(layer.value, h[i]) for i, w in enumerate(weight)))
    return np.stack(g)


def by_hand(method: SNAIL, h: np.ndarray) -> np.ndarray:
    """h of every row of one sequence after all layers."""
    for layer in method.layers:
        g = convolved(layer, h) if isinstance(layer, Convolution) else attended(layer, h)
        h = np.concatenate([h, g], axis=1)
    return h


def small(kind: Kind, seed: int = 0) -> tuple[SNAIL, Episodes]:
    method = built_method("snail", "mlp", seed, reach=2, filters=3, keys=4, values=5, width=6)
    nn.init.normal_(method.klass.weight)  # at first almost nothing, and the vote sees no g
    nn.init.normal_(method.vote.weight)
    return method.double(), episodes(kind, n_tasks=2, shot=3, n_query=4, dtype=torch.float64)


def rows(method: SNAIL, batch: Episodes) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each task, support rows beside their labels and query rows beside zeros."""
    h_support, h_query = [], []
    with torch.no_grad():
        x_support, x_query = (method.encoder(batch.support, x) for x in (None, batch.query_x))
    for task, y in enumerate(batch.support.y.numpy()):
        z_support, z_query = (
            np.stack([affine(method.row, row) for row in x[task].numpy()])
            for x in (x_support, x_query)
        )
        mean = z_support.mean(axis=0)
        size = np.linalg.norm(z_support - mean) / np.sqrt(z_support.size)
        if batch.support.kind == "regression":
            label = np.stack([affine(method.target, np.array([target])) for target in y])
        else:
            label = np.stack([method.klass.weight.detach().numpy()[:, k] for k in y])
        h_support.append(np.concatenate([(z_support - mean) / size, label], axis=1))
        h_query.append(np.pad((z_query - mean) / size, ((0, 0), (0, label.shape[1]))))
    return h_support, h_query


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_equals_numpy_one_sequence_for_each_query_row(kind: Kind) -> None:
    method, batch = small(kind)
    ours = method.predict(batch.support, batch.query_x).detach()
    h_support, h_query = rows(method, batch)
    for task in range(2):
        for query in range(4):
            sequence = np.concatenate([h_support[task], h_query[task][query : query + 1]])
            h = by_hand(method, sequence)
            if kind == "regression":
                expected = affine(method.answer, h[-1])
                np.testing.assert_allclose(ours[task, query], expected, atol=1e-12)
                continue
            u = np.stack([affine(method.vote, row) for row in h])
            u /= np.linalg.norm(u, axis=1, keepdims=True)
            kernel = np.exp(method.log_scale.exp().item() * u[:-1] @ u[-1])
            y = batch.support.y[task].numpy()
            share = [kernel[y == k].sum() / kernel.sum() for k in range(3)]
            np.testing.assert_allclose(ours[task, query].softmax(dim=0), share, atol=1e-12)


def test_layers_are_those_of_the_paper() -> None:
    method = built_method("snail", "mlp", reach=3)
    assert [getattr(layer, "back", "attention") for layer in method.layers] == [
        "attention", 1, 2, 4, "attention", 1, 2, 4, "attention"
    ]  # fmt: skip


def test_a_convolution_sees_two_rows() -> None:
    """The derivative of each of its outputs: by the row itself, and by that 3 rows before."""
    layer = Convolution(2, 4, back=3)

    def outputs(h_NH: Tensor) -> Tensor:
        return layer(h_NH[None], 8)[0].sum(dim=1)

    slope = torch.autograd.functional.jacobian(outputs, torch.randn(8, 2)).abs().sum(dim=2)
    distance = torch.arange(8)[:, None] - torch.arange(8)
    assert torch.equal(slope > 0, (distance == 0) | (distance == 3))


def test_later_rows_change_nothing_earlier() -> None:
    """And through attention, every earlier row changes every later one."""
    method, _ = small("classification")
    n_in = method.layers[0].query.in_features

    def outputs(h_NH: Tensor) -> Tensor:
        h_TNH = h_NH[None]
        for layer in method.layers:
            h_TNH = torch.cat([h_TNH, layer(h_TNH, 9)], dim=-1)
        return h_TNH[0, :, n_in:].sum(dim=1)

    h_NH = torch.randn(9, n_in, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(outputs, h_NH).abs().sum(dim=2)
    assert torch.equal(slope > 0, torch.ones(9, 9).tril() > 0)


def test_classes_that_share_a_vector_are_told_apart() -> None:
    """More classes than any vectors: with two for six classes, a class is known by its rows."""
    batch = episodes(n_tasks=32, way=6, n_query=30, n_features=20)
    method = built_method("snail", "mlp", max_classes=2)
    answer = method.predict(batch.support, batch.query_x).argmax(dim=-1)
    # Were those of one vector mistaken for each other, it would be 1/3.
    assert (answer == batch.query_y).double().mean() > 0.6


def test_learns_what_only_the_order_tells() -> None:
    """The last support row's target is the answer, whatever the features."""
    method, _ = small("regression")
    method.float()
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)

    def batch(seed: int, n_tasks: int) -> Episodes:
        made = episodes("regression", n_tasks=n_tasks, shot=5, seed=seed)
        y = torch.randn(made.support.y.shape, generator=torch.Generator().manual_seed(seed))
        answer = y[:, -1:].expand_as(made.query_y)
        return replace(made, support=replace(made.support, y=y), query_y=answer)

    for step in range(100):
        optimizer.zero_grad()
        method.loss(batch(step, 8)).backward()
        optimizer.step()
    assert method.loss(batch(10_000, 256)) < 0.25  # the variance of the answers is 1
