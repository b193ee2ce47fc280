"""DKT against scikit-learn's Gaussian process with the same kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import built_method, episodes
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from metamine.methods.metric.dkt import DKT


def dkt(encoder: str) -> DKT:
    method: DKT = built_method("dkt", encoder).double()
    with torch.no_grad():  # values that a wrong power or a forgotten factor would show at
        method.log_scale.fill_(0.5)
        method.log_length.fill_(0.3)
        method.log_noise.fill_(-1.0)
    return method


def theirs(method: DKT) -> GaussianProcessRegressor:
    length = method.log_length.exp().item() * method.encoder.width**0.5
    noise = WhiteKernel(method._noise().item())
    kernel = ConstantKernel(method.log_scale.exp().item()) * RBF(length) + noise
    return GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None)


def embeddings(method: DKT, batch) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        support = method.encoder(batch.support, batch.support.x)
        return support.numpy(), method.encoder(batch.support, batch.query_x).numpy()


def against_the_rest(y: np.ndarray, klass: int) -> np.ndarray:
    return np.where(y == klass, 1.0, -1.0)


@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
def test_regression_equals_scikit_learn(encoder: str) -> None:
    method = dkt(encoder)
    batch = episodes("regression", shot=6, dtype=torch.float64)
    ours = method.predict(batch.support, batch.query_x).detach().numpy()
    z_support, z_query = embeddings(method, batch)
    likelihoods = []
    for task in range(batch.n_tasks):
        y, query_y = batch.support.y[task].numpy(), batch.query_y[task].numpy()
        process = theirs(method).fit(z_support[task], y)
        np.testing.assert_allclose(ours[task, :, 0], process.predict(z_query[task]), atol=1e-9)
        z, every_y = np.concatenate([z_support[task], z_query[task]]), np.append(y, query_y)
        process = theirs(method).fit(z, every_y / np.sqrt((every_y**2).mean()))
        likelihoods.append(process.log_marginal_likelihood() / len(every_y))
    assert method.loss(batch).item() == pytest.approx(-np.mean(likelihoods), abs=1e-9)


@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
def test_classification_equals_scikit_learn(encoder: str) -> None:
    method, batch = dkt(encoder), episodes(dtype=torch.float64)
    ours = method.predict(batch.support, batch.query_x).detach().numpy()
    z_support, z_query = embeddings(method, batch)
    likelihoods = []
    for task in range(batch.n_tasks):
        y, query_y = batch.support.y[task].numpy(), batch.query_y[task].numpy()
        for klass in range(3):
            process = theirs(method).fit(z_support[task], against_the_rest(y, klass))
            mean, deviation = process.predict(z_query[task], return_std=True)
            np.testing.assert_allclose(ours[task, :, klass], mean / deviation**2, atol=1e-8)
            z = np.concatenate([z_support[task], z_query[task]])
            process = theirs(method).fit(z, against_the_rest(np.append(y, query_y), klass))
            likelihoods.append(process.log_marginal_likelihood() / len(z))
    assert method.loss(batch).item() == pytest.approx(-np.mean(likelihoods), abs=1e-9)


def test_two_classes_have_the_odds_of_one_process() -> None:
    """The second process tells nothing new, and does not count twice."""
    method, batch = dkt("mlp"), episodes(way=2, dtype=torch.float64)
    odds = method.predict(batch.support, batch.query_x).diff(dim=-1)[..., 0].detach().numpy()
    z_support, z_query = embeddings(method, batch)
    for task in range(batch.n_tasks):
        process = theirs(method).fit(
            z_support[task], against_the_rest(batch.support.y[task].numpy(), 1)
        )
        mean, deviation = process.predict(z_query[task], return_std=True)
        density = [-((target - mean) ** 2) / deviation**2 / 2 for target in (1, -1)]
        np.testing.assert_allclose(odds[task], density[0] - density[1], atol=1e-8)


def test_what_the_support_lacks_is_left_out_of_the_loss() -> None:
    """Query rows of an absent class, and the class itself: as if neither had been there."""
    method, batch = dkt("mlp"), episodes(dtype=torch.float64)
    binary = replace(batch.support, y=batch.support.y.clamp(max=1))
    lacking = replace(batch, support=binary)
    known = (batch.query_y[0] < 2).nonzero()[:, 0]  # the same rows in every task
    without = replace(
        batch,
        support=replace(binary, way=2),
        query_x=batch.query_x[:, known],
        query_y=batch.query_y[:, known],
    )
    assert torch.allclose(method.loss(lacking), method.loss(without), atol=1e-12)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_rows_in_twos_and_outliers_are_no_trouble_in_float32(kind: str) -> None:
    """The covariance of many equal rows is singular but for the noise."""
    method, batch = built_method("dkt", "mlp"), episodes(kind, shot=60)
    with torch.no_grad():
        method.log_noise.fill_(-30.0)
    x = batch.support.x.clone()
    x[:, ::2] = x[:, :1]
    x[:, 1] *= 1e4
    support = replace(batch.support, x=x)
    hard = replace(batch, support=support, query_x=x[:, :9], query_y=support.y[:, :9])
    loss = method.loss(hard)
    loss.backward()
    assert method.predict(hard.support, hard.query_x).isfinite().all()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_a_regression_does_not_depend_on_units() -> None:
    method, batch = dkt("mlp"), episodes("regression", dtype=torch.float64)
    scaled = replace(
        batch,
        support=replace(batch.support, y=1000 * batch.support.y),
        query_y=1000 * batch.query_y,
    )
    assert torch.allclose(method.loss(batch), method.loss(scaled), atol=1e-9)
    ours, theirs = (method.predict(each.support, each.query_x) for each in (batch, scaled))
    assert torch.allclose(1000 * ours, theirs, atol=1e-6)
