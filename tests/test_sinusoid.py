"""The sinusoid as published: its amplitudes, its phases, and the two errors that follow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from making import built, protocol

from metamine.sampler import sample
from metamine.sources.base import Shape
from metamine.sources.sinusoid import Sinusoid
from metamine.sources.table import Pack

SHOTS = Shape(way=0, shot=10, rows=None, query=15)


def packed(n_tasks: int, shape: Shape = SHOTS, seed: int = 0) -> Pack:
    source = built("source", "sinusoid")
    return source.pack("train", shape, n_tasks, torch.Generator().manual_seed(seed))


def test_every_task_is_a_sinusoid_in_range() -> None:
    pack = packed(500)
    x_TM, y_TM = (each.reshape(500, 25).double().numpy() for each in (pack.cells, pack.targets))
    assert -5 <= x_TM.min() < -4.9
    assert 4.9 < x_TM.max() <= 5
    amplitudes, phases = [], []
    for x_M, y_M in zip(x_TM, y_TM, strict=True):
        # A sin(x - p) = A cos(p) sin(x) - A sin(p) cos(x), which least squares finds.
        basis = np.stack([np.sin(x_M), -np.cos(x_M)], axis=1)
        (cosine, sine), residual, *_ = np.linalg.lstsq(basis, y_M, rcond=None)
        assert residual[0] < 1e-9
        amplitudes.append(math.hypot(cosine, sine))
        phases.append(math.atan2(sine, cosine))
    assert 0.1 - 1e-5 <= min(amplitudes) < 0.2
    assert 4.9 < max(amplitudes) <= 5 + 1e-5
    assert -1e-3 <= min(phases) < 0.05
    assert 3.09 < max(phases) <= math.pi + 1e-3


def test_the_two_anchors() -> None:
    pack = packed(40_000)
    x, y = pack.cells.double(), pack.targets.double()
    best = -(2 / math.pi) * 2.55 * x.cos()
    assert y.square().mean().item() == pytest.approx(4.25, abs=0.05)
    assert (y - best).square().mean().item() == pytest.approx(3.00, abs=0.05)


def test_targets_keep_their_units() -> None:
    source = built("source", "sinusoid")
    settings = protocol(shot=10, query=15)
    episodes = sample(source, "train", settings, 200, torch.Generator().manual_seed(0))
    assert episodes.support.kind == "regression"
    assert episodes.support.x.shape == (200, 10, 1)
    assert episodes.query_y.shape == (200, 15)
    assert episodes.query_y.abs().max() > 4
    assert episodes.target_scale.equal(torch.ones(200))


def test_as_many_rows_as_asked() -> None:
    assert packed(3, Shape(way=0, shot=None, rows=5, query=7)).class_count.tolist() == [[12]] * 3


def test_endless_and_seeded() -> None:
    assert built("source", "sinusoid").endless
    assert packed(4).targets.equal(packed(4).targets)
    assert not packed(4).targets.equal(packed(4, seed=1).targets)


def test_ranges_run_upwards() -> None:
    with pytest.raises(ValueError, match="phase runs from 3"):
        Sinusoid(amplitude=(0.1, 5.0), phase=(3.0, 0.0), x=(-5.0, 5.0))
