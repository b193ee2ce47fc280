"""ProtoNet against ten lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from making import built_method, episodes


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
