"""R2D2 against the normal equations, solved by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from making import built_method, episodes

from metamine.episode import Kind
from metamine.methods.optimization.r2d2 import FLOOR, ridge


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
def test_equals_the_normal_equations(encoder: str, kind: Kind) -> None:
    method, batch = built_method("r2d2", encoder).double(), episodes(kind, dtype=torch.float64)
    torch.nn.init.constant_(method.log_ridge, 0.3)
    torch.nn.init.constant_(method.log_scale, 0.7)
    with torch.no_grad():
        answer = method.predict(batch.support, batch.query_x).softmax(dim=-1)
        if kind == "regression":
            answer = method.predict(batch.support, batch.query_x)
        embedded = method.encoder(batch.support, None), method.encoder(batch.support, batch.query_x)
    for task in range(batch.n_tasks):
        rows, queries = (
            np.concatenate([each[task].numpy(), np.ones((each.shape[1], 1))], axis=1)
            for each in embedded
        )
        labels = batch.support.y[task].numpy()
        y = labels[:, None] if kind == "regression" else np.eye(3)[labels]
        strength = np.exp(0.3) + FLOOR * (rows**2).sum(axis=1).mean()
        w = np.linalg.solve(rows.T @ rows + strength * np.eye(rows.shape[1]), rows.T @ y)
        expected = queries @ w
        if kind == "classification":
            odds = np.exp(np.exp(0.7) * expected)
            expected = odds / odds.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(answer[task].numpy(), expected, atol=1e-9)


def test_the_meta_gradient_of_the_ridge() -> None:
    g = torch.Generator().manual_seed(0)
    z, y = (torch.randn(2, 5, n, generator=g, dtype=torch.float64) for n in (8, 3))
    strength = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda z, s: ridge(z @ z.mT, y, s), (z.requires_grad_(), strength)
    )


def test_rows_that_are_all_alike_are_solved() -> None:
    """Their kernel has rank 1, which float32 could not factor without the least ridge."""
    method = built_method("r2d2", "mlp")
    torch.nn.init.constant_(method.log_ridge, -30.0)
    batch = episodes()
    batch.support.x[:] = batch.support.x[:, :1]
    assert method.predict(batch.support, batch.query_x).isfinite().all()
