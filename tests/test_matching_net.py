"""MatchingNet against a few lines of NumPy, one row at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import built_method, episodes

from metamine.episode import Episodes
from metamine.methods.metric.matching_net import MatchingNet


def embeddings(method: MatchingNet, batch: Episodes) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        support = method.encoder(batch.support, batch.support.x)
        return support.numpy(), method.encoder(batch.support, batch.query_x).numpy()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def by_hand(f: np.ndarray, g: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
    """Equation 1 for one query row."""
    kernel = np.exp([scale * cosine(f, row) for row in g])
    attention = kernel / kernel.sum()
    return np.array([attention[y == k].sum() for k in range(3)])


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def reader_by_hand(method: MatchingNet, z: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Equations 3 to 6 for one row."""
    assert method.reader is not None
    cell = {name: p.detach().numpy() for name, p in method.reader.cell.named_parameters()}
    h, c = z, np.zeros_like(z)
    for _ in range(method.reader.reads):
        weight = np.exp(seen @ h)
        read = (weight / weight.sum()) @ seen
        gates = cell["weight_ih"] @ np.concatenate([z, read]) + cell["bias_ih"]
        into, forget, new, out = np.split(gates + cell["weight_hh"] @ h + cell["bias_hh"], 4)
        c = sigmoid(forget) * c + sigmoid(into) * np.tanh(new)
        h = sigmoid(out) * np.tanh(c) + z
    return h


@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
@pytest.mark.parametrize("full_context", [False, True])
def test_equals_numpy(encoder: str, full_context: bool) -> None:
    method = built_method("matching_net", encoder, full_context=full_context, reads=2).double()
    batch = episodes(n_tasks=2, shot=3, n_query=4, dtype=torch.float64)
    uneven = batch.support.y.clone()
    uneven[:, 0] = 1  # attention is summed over a class's rows, not averaged
    batch = replace(batch, support=replace(batch.support, y=uneven))
    ours = method.predict(batch.support, batch.query_x).softmax(dim=-1).detach().numpy()
    z_support, z_query = embeddings(method, batch)
    scale = method.log_scale.exp().item()
    for task in range(batch.n_tasks):
        f, g = z_query[task], z_support[task]
        if full_context:
            f, g = (np.stack([reader_by_hand(method, row, g) for row in rows]) for rows in (f, g))
        expected = [by_hand(row, g, uneven[task].numpy(), scale) for row in f]
        np.testing.assert_allclose(ours[task], expected, atol=1e-10)


def test_a_class_without_support_rows_changes_no_other() -> None:
    """Two classes named 0 and 2 are answered as if they were named 0 and 1."""
    method, batch = built_method("matching_net", "mlp").double(), episodes(dtype=torch.float64)
    binary = replace(batch.support, y=batch.support.y.remainder(2), way=2)
    gap = replace(batch.support, y=binary.y * 2)
    answer = method.predict(gap, batch.query_x)
    assert (answer[..., 1] == -torch.inf).all()
    assert torch.allclose(answer[..., ::2], method.predict(binary, batch.query_x), atol=1e-12)


def test_the_length_of_an_embedding_does_not_matter() -> None:
    method, batch = built_method("matching_net", "mlp").double(), episodes(dtype=torch.float64)
    before = method.predict(batch.support, batch.query_x)
    method.encoder.register_forward_hook(lambda _, __, z_TND: 3 * z_TND)
    assert torch.allclose(before, method.predict(batch.support, batch.query_x), atol=1e-10)


def test_far_rows_have_finite_gradients() -> None:
    """A class whose attention is 0 to machine precision still learns."""
    method, batch = built_method("matching_net", "mlp"), episodes()
    with torch.no_grad():
        method.log_scale.fill_(8.0)
    loss = method.loss(batch)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in method.parameters())
    assert any(p.grad.any() for p in method.encoder.parameters())
