"""Functions drawn from a Gaussian process: their moments, against a kernel written out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from making import built, protocol

from metamine.sampler import sample
from metamine.sources.base import Shape
from metamine.sources.table import Pack

FIXED = {"lengthscale": (0.5, 0.5), "scale": (0.8, 0.8), "noise": (0.3, 0.3)}


def packed(n_tasks: int, shot: int, seed: int = 0, **changes: Any) -> Pack:
    source = built("source", "gaussian_process", **changes)
    shape = Shape(way=0, shot=shot, rows=None, query=5)
    return source.pack("train", shape, n_tasks, torch.Generator().manual_seed(seed))


def test_products_of_targets_average_to_the_kernel() -> None:
    pack = packed(60_000, shot=1, **FIXED)
    x_TM, y_TM = (each.reshape(-1, 6).double().numpy() for each in (pack.cells, pack.targets))
    apart = np.abs(x_TM[:, 0] - x_TM[:, 1])
    for low in (0.0, 0.3, 0.6, 1.0, 2.0):
        near = (apart >= low) & (apart < low + 0.1)
        product = y_TM[near, 0] * y_TM[near, 1]
        expected = 0.8**2 * np.exp(-(apart[near] ** 2) / (2 * 0.5**2)).mean()
        assert abs(product.mean() - expected) < 4 * product.std() / math.sqrt(near.sum())
    assert y_TM.mean() == pytest.approx(0, abs=0.01)
    assert y_TM.var() == pytest.approx(0.8**2 + 0.3**2, rel=0.02)


def test_whitened_functions_are_independent_normals() -> None:
    """L^-1 y for K + s I = L L^T: all moments of all rows at once, each task by its own kernel."""
    source = built("source", "gaussian_process")
    kernel, x_TM, y_TM = source.draw(1500, 8, torch.Generator().manual_seed(0))
    parameters = zip(kernel.lengthscale_T, kernel.scale_T, kernel.noise_T, strict=True)
    white = []
    for (length, scale, noise), x, y in zip(parameters, x_TM.numpy(), y_TM.numpy(), strict=True):
        apart = (x[:, None] - x) / float(length)
        covariance = float(scale) ** 2 * np.exp(-(apart**2) / 2) + float(noise) ** 2 * np.eye(8)
        white.append(np.linalg.solve(np.linalg.cholesky(covariance), y))
    white = np.stack(white)
    assert np.abs(white.mean(axis=0)).max() < 4 / math.sqrt(1500)
    assert np.abs(white.T @ white / 1500 - np.eye(8)).max() < 6 / math.sqrt(1500)
    assert (white**4).mean() == pytest.approx(3, abs=0.3)


def test_kernels_fill_their_ranges() -> None:
    source = built("source", "gaussian_process")
    kernel, x_TM, _ = source.draw(2000, 3, torch.Generator().manual_seed(0))
    for value, low, high in (
        (kernel.lengthscale_T, 0.1, 0.6),
        (kernel.scale_T, 0.1, 1.0),
        (x_TM, -2.0, 2.0),
    ):
        assert low <= value.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < value.max() <= high
    assert kernel.noise_T.unique().tolist() == pytest.approx([0.02])


def test_without_noise_and_with_many_rows() -> None:
    pack = packed(2, shot=300, lengthscale=(2.0, 2.0), noise=(0.0, 0.0))
    assert pack.targets.isfinite().all()
    x_M, order = pack.cells[:305].sort()
    y_M = pack.targets[:305][order]
    assert (y_M.diff().abs() <= 4 * x_M.diff() + 1e-3).all()  # smooth


def test_seeded() -> None:
    assert packed(4, shot=3).targets.equal(packed(4, shot=3).targets)
    assert not packed(4, shot=3).targets.equal(packed(4, shot=3, seed=1).targets)
    assert built("source", "gaussian_process").endless


def test_episodes_keep_its_units() -> None:
    source = built("source", "gaussian_process", scale=(50.0, 50.0))
    settings = protocol(shot=10, query=15)
    episodes = sample(source, "train", settings, 20, torch.Generator().manual_seed(0))
    assert episodes.support.kind == "regression"
    assert episodes.support.x.shape == (20, 10, 1)
    assert episodes.query_y.shape == (20, 15)
    assert 30 < episodes.query_y.std() < 70
    assert episodes.target_scale.equal(torch.ones(20))


def test_ranges_run_upwards() -> None:
    with pytest.raises(Exception, match="lengthscale runs from 2"):
        built("source", "gaussian_process", lengthscale=(2.0, 1.0))
