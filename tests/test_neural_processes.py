"""Neural processes against loops in NumPy, and against the exact Gaussian process."""

from __future__ import annotations

import math
from collections.abc import Iterable
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
from metamine.methods.model.cnp import CNP
from metamine.methods.model.neural_process import gaussian_loss
from metamine.sampler import sample

both = pytest.mark.parametrize("name", ["cnp", "anp"])
kinds = pytest.mark.parametrize("kind", ["classification", "regression"])


def network(net: Iterable[nn.Module], x: np.ndarray) -> np.ndarray:
    """Linear layers with ReLU in between."""
    for index, layer in enumerate(layer for layer in net if isinstance(layer, nn.Linear)):
        x = (np.maximum(x, 0) if index else x) @ layer.weight.detach().numpy().T
        x = x + layer.bias.detach().numpy()
    return x


def attended(method: Any, x: np.ndarray, of_x: np.ndarray, r: np.ndarray) -> np.ndarray:
    """What one query row reads of some support rows: one head after the other.

    The axes of `x` are columns and numbers; `of_x` and `r` have rows before them.
    """
    query, keys = (network(method.key, each) / math.sqrt(len(x)) for each in (x, of_x))
    values = network(method.value, r)
    size = query.shape[-1] // method.heads
    read = np.empty((len(x), method.heads * size))
    for head in range(method.heads):
        part = slice(head * size, (head + 1) * size)
        score = np.array([(query[:, part] * key).sum() for key in keys[..., part]])
        weight = np.exp(score / math.sqrt(size))
        weight = weight / weight.sum()
        read[:, part] = sum(a * value for a, value in zip(weight, values[..., part], strict=True))
    return read


def by_hand(
    name: str, method: Any, x: np.ndarray, y: np.ndarray, query: np.ndarray, kind: Kind
) -> np.ndarray:
    """g's two numbers, of one task: query rows by outputs by 2.

    The axes of `x` and `query`, embeddings, are rows, columns and numbers.
    """
    n_columns = x.shape[1]
    classes = [np.arange(len(y))]
    if kind == "classification":
        classes = [np.flatnonzero(y == k) for k in range(3)]
    label = y if kind == "regression" else np.zeros(len(y))
    cells = [[[*cell, target] for cell in row] for row, target in zip(x, label, strict=True)]
    r = network(method.rows.network, np.array(cells))
    means = [r[rows].mean(axis=0) for rows in classes]
    out = np.empty((len(query), len(classes), 2))
    for index, row in enumerate(query):
        for k, rows in enumerate(classes):
            of_class = means[k] if name == "cnp" else attended(method, row, x[rows], r[rows])
            told = np.concatenate([row, of_class, np.mean(means, axis=0)], axis=1)
            seen = np.maximum(network([method.decoder.column], told), 0)
            out[index, k] = network(method.decoder.answer, seen.sum(axis=0) / math.sqrt(n_columns))
    return out


@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
@both
@kinds
def test_equals_numpy(name: str, encoder: str, kind: Kind) -> None:
    method = built_method(name, encoder, hidden=8).double()
    batch = episodes(kind, dtype=torch.float64)
    with torch.no_grad():
        answer = method.predict(batch.support, batch.query_x).numpy()
        loss = method.loss(batch).item()
        z_support, z_query = (
            method.encoder.encoder(batch.support, x).numpy() for x in (None, batch.query_x)
        )
    losses = []
    for task in range(batch.n_tasks):
        y, query_y = batch.support.y[task].numpy(), batch.query_y[task].numpy()
        n_columns = 5 if encoder == "columnwise" else 1
        x, query_x = (
            each[task].reshape(-1, n_columns, method.encoder.width) * math.sqrt(n_columns)
            for each in (z_support, z_query)
        )
        out = by_hand(name, method, x, y, query_x, kind)
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
    last = method.decoder.answer[-1]
    with torch.no_grad():
        last.bias[1] = -100
        _, sigma = method.distribution(batch.support, batch.query_x)
    torch.testing.assert_close(sigma, torch.full_like(sigma, 0.3))


@pytest.mark.parametrize("name", ["cnp", "anp"])
def test_the_spread_is_that_of_the_likelihood(name: str) -> None:
    method, batch = built_method(name), episodes("regression")
    with torch.no_grad():
        mean_TQ, sigma_TQ = method.distribution(batch.support, batch.query_x)
        assert torch.equal(method.predict(batch.support, batch.query_x)[..., 0], mean_TQ)
        assert torch.equal(method.spread(batch.support, batch.query_x), sigma_TQ)
        assert method.spread(episodes().support, batch.query_x) is None


def test_heads_must_share_the_width() -> None:
    with pytest.raises(Exception, match="hidden \\(10\\) must be a multiple of heads \\(4\\)"):
        built_method("anp", hidden=10)


def test_comes_near_the_exact_gaussian_process() -> None:
    """Of one kernel, which it has to learn: nothing can be likelier than the exact process."""
    fixed = {"lengthscale": (2.0, 2.0), "scale": (1.0, 1.0), "noise": (0.3, 0.3)}
    source, settings = built("source", "gaussian_process", **fixed), protocol(shot=10, query=20)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    method = CNP(MLP(1, 64, 1, 64, False), hidden=64, least_sigma=0.01)
    optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
    for batch in sample(source, "train", settings, 250 * 16, generator).chunks(16):
        optimizer.zero_grad()
        method.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
    held_out = sample(source, "test", settings, 50, generator)
    with torch.no_grad():
        ours = norm(*method.distribution(held_out.support, held_out.query_x))
    y_TQ = held_out.query_y.numpy()
    ours_TQ, prior_TQ = ours.logpdf(y_TQ), norm(0, math.hypot(1, 0.3)).logpdf(y_TQ)
    exact_TQ = np.empty_like(prior_TQ)
    for task in range(50):
        process = GaussianProcessRegressor(RBF(2.0, "fixed"), alpha=0.3**2, optimizer=None)
        process.fit(held_out.support.x[task], held_out.support.y[task])
        mean, sd = process.predict(held_out.query_x[task], return_std=True)
        exact_TQ[task] = norm(mean, np.hypot(sd, 0.3)).logpdf(y_TQ[task])
    share = (ours_TQ - prior_TQ).mean() / (exact_TQ - prior_TQ).mean()

    assert 0.4 < share < 1
