"""RelationNet against NumPy, one pair of a row and a class at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import built_method, episodes, padded
from torch import nn


def network(net: nn.Sequential, value: np.ndarray) -> np.ndarray:
    layers = [each for each in net if isinstance(each, nn.Linear)]
    for depth, layer in enumerate(layers):
        value = np.maximum(value, 0) if depth else value
        value = layer.weight.detach().numpy() @ value + layer.bias.detach().numpy()
    return value


@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
def test_equals_numpy(encoder: str) -> None:
    method = built_method("relation_net", encoder).double()
    batch = episodes(n_tasks=2, n_query=3, n_features=4, dtype=torch.float64)
    wider = padded(batch, features=2, classes=0)  # what pads a table is no column
    ours = method.predict(wider.support, wider.query_x).detach().numpy()
    with torch.no_grad():
        z_support = method.encoder(batch.support, batch.support.x).numpy()
        z_query = method.encoder(batch.support, batch.query_x).numpy()
    n_columns = 4 if encoder == "columnwise" else 1
    for task in range(batch.n_tasks):
        y = batch.support.y[task].numpy()
        for klass in range(3):
            mean = z_support[task][y == klass].mean(axis=0)
            for row in range(3):
                pairs = zip(
                    np.split(mean, n_columns), np.split(z_query[task, row], n_columns), strict=True
                )
                compared = sum(
                    network(method.compare, np.concatenate([c, z]) * n_columns**0.5)
                    for c, z in pairs
                )
                expected = network(method.relation, compared / n_columns**0.5)
                np.testing.assert_allclose(ours[task, row, klass], expected[0], atol=1e-10)


def test_the_relation_has_a_direction() -> None:
    """A row and a class are not interchangeable, as they would be in a distance."""
    method = built_method("relation_net", "mlp")
    batch = episodes(way=2, shot=1, n_query=2)
    swapped = replace(
        batch, support=replace(batch.support, x=batch.query_x), query_x=batch.support.x
    )
    ours, theirs = (method.predict(each.support, each.query_x) for each in (batch, swapped))
    assert not torch.allclose(ours, theirs.mT, atol=1e-3)


def test_a_class_without_support_rows_changes_no_other() -> None:
    method, batch = built_method("relation_net", "mlp").double(), episodes(dtype=torch.float64)
    binary = replace(batch.support, y=batch.support.y.remainder(2), way=2)
    gap = replace(batch.support, y=binary.y * 2)
    answer = method.predict(gap, batch.query_x)
    assert (answer[..., 1] == -torch.inf).all()
    assert torch.allclose(answer[..., ::2], method.predict(binary, batch.query_x), atol=1e-12)
