"""Neural processes against loops in NumPy, and against the exact Gaussian process."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from making import built, built_method, episodes, protocol
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from torch import nn

from metamine.encoders.mlp import MLP
from metamine.episode import Kind
from metamine.methods.base import Method
from metamine.methods.model.cnp import CNP
from metamine.methods.model.neural_process import gaussian_loss
from metamine.sampler import sample

both = pytest.mark.parametrize("name", ["cnp", "anp"])
kinds = pytest.mark.parametrize("kind", ["classification", "regression"])


def network(net: nn.Sequential, x: np.ndarray) -> np.ndarray:
    """Linear layers with ReLU in between."""
    for index, layer in enumerate(layer for layer in net if isinstance(layer, nn.Linear)):
        x = (np.maximum(x, 0) if index else x) @ layer.weight.detach().numpy().T
        x = x + layer.bias.detach().numpy()
    return x


def attended(method: Any, x: np.ndarray, of_x: np.ndarray, r: np.ndarray) -> np.ndarray:
    """What one query row reads of some support rows: one head after the other."""
    query, keys = network(method.key, x), network(method.key, of_x)
    values, size = network(method.value, r), len(query) // method.heads
    read = []
    for head in range(method.heads):
        part = slice(head * size, (head + 1) * size)
        score = np.array([query[part] @ key for key in keys[:, part]]) / math.sqrt(size)
        weight = np.exp(score - score.max())
        read.append((weight / weight.sum()) @ values[:, part])
    return np.concatenate(read)


def by_hand(name: str, method: Any, x: np.ndarray, y: np.ndarray, query: np.ndarray, kind: Kind):
    """g's two numbers, of one task: query rows by outputs by 2. x and query: embeddings."""
    groups = (
        [np.arange(len(y))] if kind == "regression" else [np.flatnonzero(y == k) for k in range(3)]
    )
    label = y if kind == "regression" else np.zeros(len(y))
    r = np.stack(
        [network(method.rows.network, np.append(a, b)) for a, b in zip(x, label, strict=True)]
    )
    means = [r[rows].mean(axis=0) for rows in groups]
    overall = np.mean(means, axis=0)
    out = np.empty((len(query), len(groups), 2))
    for index, row in enumerate(query):
        for k, rows in enumerate(groups):
            of_class = means[k] if name == "cnp" else attended(method, row, x[rows], r[rows])
            out[index, k] = network(
                method.decoder.network, np.concatenate([row, of_class, overall])
            )
    return out


@both
@kinds
def test_equals_numpy(name: str, kind: Kind) -> None:
    method = built_method(name, "mlp", hidden=8).double()
    batch = episodes(kind, dtype=torch.float64)
    with torch.no_grad():
        answer = method.predict(batch.support, batch.query_x).numpy()
        loss = method.loss(batch).item()
        z_support = method.encoder(batch.support, batch.support.x).numpy()
        z_query = method.encoder(batch.support, batch.query_x).numpy()
    losses = []
    for task in range(batch.n_tasks):
        y, query_y = batch.support.y[task].numpy(), batch.query_y[task].numpy()
        out = by_hand(name, method, z_support[task], y, z_query[task], kind)
        np.testing.assert_allclose(answer[task], out[..., 0], atol=1e-10)
        if kind == "regression":
            sigma = method.least_sigma + (1 - method.least_sigma) * np.log1p(np.exp(out[:, 0, 1]))
            losses.append(-norm.logpdf(query_y, out[:, 0, 0], sigma).mean())
        else:
            exp = np.exp(out[..., 0])
            losses.append(-np.log(exp[np.arange(len(exp)), query_y] / exp.sum(axis=1)).mean())
    assert loss == pytest.approx(np.mean(losses), abs=1e-10)


def test_gaussian_loss_is_the_negative_log_density() -> None:
    mean, raw, y = torch.randn(3, 4, 6, dtype=torch.float64)
    sigma = raw.exp()
    expected = -norm.logpdf(y.numpy(), mean.numpy(), sigma.numpy()).mean()
    assert gaussian_loss(mean, sigma, y).item() == pytest.approx(expected, abs=1e-12)


@both
def test_sigma_stays_above_its_least(name: str) -> None:
    method, batch = built_method(name, "mlp", least_sigma=0.3), episodes("regression")
    last = method.decoder.network[-1]
    with torch.no_grad():
        last.bias[1] = -100
        _, sigma = method.distribution(batch.support, batch.query_x)
    torch.testing.assert_close(sigma, torch.full_like(sigma, 0.3))


def test_heads_must_share_the_width() -> None:
    with pytest.raises(Exception, match="hidden \\(10\\) must be a multiple of heads \\(4\\)"):
        built_method("anp", hidden=10)


def test_comes_near_the_exact_gaussian_process() -> None:
    """Of one known kernel: nothing can be likelier than the exact process."""
    source = built(
        "source", "gaussian_process", lengthscale=(2.0, 2.0), scale=(1.0, 1.0), noise=(0.3, 0.3)
    )
    torch.manual_seed(0)
    method = CNP(MLP(1, 64, 1, 64, False), hidden=64, least_sigma=0.01)
    trained(method, source, steps=400)
    exact, prior, ours = [], [], []
    batch = sample(
        source, "test", protocol(shot=10, query=20), 100, torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        mean_TQ, sigma_TQ = method.distribution(batch.support, batch.query_x)
    for task in range(100):
        x, y = batch.support.x[task].numpy(), batch.support.y[task].numpy()
        query_x, query_y = batch.query_x[task].numpy(), batch.query_y[task].numpy()
        process = GaussianProcessRegressor(RBF(2.0, "fixed"), alpha=0.3**2, optimizer=None).fit(
            x, y
        )
        mean, sd = process.predict(query_x, return_std=True)
        exact.append(norm.logpdf(query_y, mean, np.sqrt(sd**2 + 0.3**2)).mean())
        prior.append(norm.logpdf(query_y, 0, math.sqrt(1 + 0.3**2)).mean())
        ours.append(norm.logpdf(query_y, mean_TQ[task], sigma_TQ[task]).mean())
    gap = np.array(exact) - np.array(prior)
    left = np.array(exact) - np.array(ours)
    assert 0 < left.mean() < 0.5 * gap.mean()


def trained(method: Method, source: Any, steps: int) -> None:
    settings, generator = protocol(shot=(5, 15), query=20), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        method.loss(sample(source, "train", settings, 16, generator)).backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
