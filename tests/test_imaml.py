"""iMAML against exact implicit gradients, solved densely in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hand_loops import answers, mean_loss, meta_gradient, start
from making import built_method, episodes
from torch import Tensor
from torch.func import jacrev

from metamine.encoders.base import Encoder
from metamine.encoders.columnwise import Columnwise
from metamine.episode import Episodes, Kind, Support
from metamine.methods.optimization.imaml import IMAML, conjugate_gradient


class Columns(Encoder):
    """Rows as they are: the network is linear, its squared loss a quadratic."""

    any_column_order = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, support: Support, x: Tensor | None) -> Tensor:
        return support.x if x is None else x


def made(encoder: Encoder, **changes: Any) -> IMAML:
    settings: dict[str, Any] = {
        "inner_lr": 0.1,
        "inner_steps": 10,
        "inner_clip": None,
        "strength": 0.5,
    }
    torch.manual_seed(0)
    return IMAML(**({"encoder": encoder, "cg_steps": 5} | settings | changes)).double()


def test_quadratic_has_its_exact_implicit_gradient() -> None:
    """Ridge regression towards theta: phi and d phi / d theta have closed forms."""
    batch = episodes("regression", n_tasks=3, n_features=4, shot=9, dtype=torch.float64)
    # Tasks of unlike scales need unlike steps of the conjugate gradient.
    stretch = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None, None]
    batch = replace(
        batch,
        support=replace(batch.support, x=batch.support.x * stretch),
        query_x=batch.query_x * stretch,
    )
    method = made(Columns(4), inner_lr=0.05, inner_steps=300, strength=2.0, cg_steps=6)
    loss = method.loss(batch)
    theta = np.append(method.network.head.detach().numpy(), method.network.bias.item())
    values, slopes = [], []
    for task in range(3):
        x, query_x = (
            np.pad(rows[task].numpy(), ((0, 0), (0, 1)), constant_values=1.0)
            for rows in (batch.support.x, batch.query_x)
        )
        y, query_y = batch.support.y[task].numpy(), batch.query_y[task].numpy()
        curvature = 2 * x.T @ x / len(x)
        pulled = curvature + method.strength * np.eye(5)
        phi = np.linalg.solve(pulled, 2 * x.T @ y / len(x) + method.strength * theta)
        miss = query_x @ phi - query_y
        values.append(np.mean(miss**2))
        query_slope = 2 * query_x.T @ miss / len(miss)
        slopes.append(np.linalg.solve(np.eye(5) + curvature / method.strength, query_slope))
    assert loss.item() == pytest.approx(np.mean(values), rel=1e-9)
    ours = meta_gradient(method, loss).numpy()
    assert np.abs(ours - np.mean(slopes, axis=0)).max() < 1e-9


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_gradient_of_a_network_equals_a_dense_solve(kind: Kind) -> None:
    """J' B J of every task in full, by all weights of its own; back to theta by the chain."""
    torch.manual_seed(0)
    encoder = Columnwise(hidden=2, width=2)
    settings: dict[str, Any] = {
        "inner_lr": 0.05,
        "inner_steps": 4,
        "inner_clip": 0.5,
        "strength": 0.5,
    }
    method = IMAML(encoder=encoder, cg_steps=30, **settings).double()
    batch = episodes(kind, n_tasks=2, way=2, shot=3, n_features=2, dtype=torch.float64)
    ours = method.loss(batch)
    values, slope = [], torch.zeros(())
    for one in (batch[:1], batch[1:]):
        value, found = dense(method, one)
        values.append(value)
        slope = slope + found / 2
    assert torch.allclose(ours, torch.stack(values).mean(), rtol=0, atol=1e-12)
    assert (meta_gradient(method, ours) - slope).abs().max() < 1e-8


def dense(method: IMAML, one: Episodes) -> tuple[Tensor, Tensor]:
    """Of one task: the query loss, and (I + G / lambda)^-1 of its slope, back at theta."""
    theta = start(method.network, one.support)
    sizes = {name: weight.shape for name, weight in theta.items()}

    def answers_at(flat: Tensor, x: Tensor) -> Tensor:
        parts = flat.split([size.numel() for size in sizes.values()])
        phi = {n: part.view(size) for (n, size), part in zip(sizes.items(), parts, strict=True)}
        return answers(method.network, phi, one.support, x)

    def loss_at(flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return mean_loss(answers_at(flat, x), y)

    rows, query = (one.support.x, one.support.y[0]), (one.query_x, one.query_y[0])
    theta_P = torch.cat([weight.flatten() for weight in theta.values()])
    phi_P = theta_P.detach().clone()
    for _ in range(method.inner_steps):
        phi_P.requires_grad_()
        away = (phi_P - theta_P.detach()).square().sum()
        (slope_P,) = torch.autograd.grad(loss_at(phi_P, *rows) + method.strength / 2 * away, phi_P)
        assert method.inner_clip is not None
        share = method.inner_clip / slope_P.norm().clamp(min=method.inner_clip)
        phi_P = (phi_P - method.inner_lr * share * slope_P).detach()
    phi_P.requires_grad_()
    value = loss_at(phi_P, *query)
    (slope_P,) = torch.autograd.grad(value, phi_P)
    x, y = rows
    jacobian = jacrev(answers_at)(phi_P.detach(), x).flatten(0, 1).numpy()
    bend = jacrev(jacrev(mean_loss))(answers_at(phi_P.detach(), x), y)
    curvature = jacobian.T @ bend.reshape(len(jacobian), -1).numpy() @ jacobian
    pulled = np.eye(len(phi_P)) + curvature / method.strength
    implicit = np.linalg.solve(pulled, slope_P.numpy())
    return value.detach(), meta_gradient(method, theta_P @ torch.from_numpy(implicit))


def test_conjugate_gradient_equals_dense_solves() -> None:
    """Each task with lengths of its own: one is solved after a step, one from the start."""
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(4, 6, 6)) * np.array([0.1, 1.0, 3.0, 1.0])[:, None, None]
    matrices = roots @ roots.swapaxes(1, 2) + np.eye(6)
    matrices[0] = 2 * np.eye(6)
    right = rng.normal(size=(4, 6))
    right[3] = 0
    A = torch.from_numpy(matrices)
    found = conjugate_gradient(
        lambda v: (A @ v[..., None])[..., 0], torch.from_numpy(right), steps=12
    )
    exact = np.stack([np.linalg.solve(a, b) for a, b in zip(matrices, right, strict=True)])
    assert np.abs(found.numpy() - exact).max() < 1e-9


def test_without_conjugate_gradient_it_is_first_order() -> None:
    """theta gets grad L_query(phi), as it is."""
    batch = episodes(dtype=torch.float64)
    method = made(built_method("protonet", "mlp").encoder, cg_steps=0)
    ours = meta_gradient(method, method.loss(batch))
    phi = method._learned(method.network.initial(batch.support), batch.support)
    theta = method.network.initial(batch.support)
    moved = {name: theta[name] + (phi[name] - theta[name]).detach() for name in theta}
    theirs = torch.stack(
        [
            mean_loss(method.network.outputs(moved, batch.support, batch.query_x)[task], y)
            for task, y in enumerate(batch.query_y)
        ]
    ).mean()
    assert (ours - meta_gradient(method, theirs)).abs().max() < 1e-10
