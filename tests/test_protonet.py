"""ProtoNet against ten lines of NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import built_method, episodes

from metamine.encoders.set import Set
from metamine.methods.metric.protonet import ProtoNet


@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
def test_equals_numpy(encoder: str) -> None:
    method, batch = built_method("protonet", encoder).double(), episodes(dtype=torch.float64)
    with torch.no_grad():
        ours = method.predict(batch.support, batch.query_x).softmax(dim=-1).numpy()
        z_support = method.encoder(batch.support, batch.support.x).numpy()
        z_query = method.encoder(batch.support, batch.query_x).numpy()
    for task in range(batch.n_tasks):
        y = batch.support.y[task].numpy()
        prototypes = np.stack([z_support[task][y == k].mean(axis=0) for k in range(3)])
        squared = ((z_query[task][:, None] - prototypes) ** 2).sum(axis=-1)
        likelihood = np.exp(-squared)
        expected = likelihood / likelihood.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(ours[task], expected, atol=1e-10)


def test_a_class_without_support_rows_changes_no_other() -> None:
    """Nor is it a prototype of its own, at the origin or not a number."""
    method, batch = built_method("protonet", "mlp").double(), episodes(dtype=torch.float64)
    binary = replace(batch.support, y=batch.support.y.remainder(2), way=2)
    gap = replace(batch.support, y=binary.y * 2)
    answer = method.predict(gap, batch.query_x)
    assert (answer[..., 1] == -torch.inf).all()
    assert torch.allclose(answer[..., ::2], method.predict(binary, batch.query_x), atol=1e-12)


def test_the_distance_is_squared() -> None:
    """Embeddings twice as long make log-odds four times as large; without the square, twice."""
    method, batch = built_method("protonet", "mlp").double(), episodes(dtype=torch.float64)
    before = method.predict(batch.support, batch.query_x)
    method.encoder.register_forward_hook(lambda _, __, z_TND: 2 * z_TND)
    after = method.predict(batch.support, batch.query_x)
    assert torch.allclose(4 * (before - before[..., :1]), after - after[..., :1], atol=1e-9)


def test_hetnet_is_a_protonet_on_sets() -> None:
    method = built_method("hetnet")
    assert isinstance(method, ProtoNet)
    assert isinstance(method.encoder, Set)
