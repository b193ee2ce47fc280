"""Streams: the same on every day, each its own, and no one else's."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from metamine.randomness import seed_of, stream


@pytest.mark.parametrize(
    ("root", "purpose", "index", "seed"),
    [
        (0, "training tasks", (0,), 2357886632925318281),
        (0, "training tasks", (1,), 2811032820854564437),
        (7, "initialisation", (), 1624525373311926719),
        (2147483648, "evaluation tasks", (3, 4), 3041476895778478688),
    ],
)
def test_seeds_never_change(root: int, purpose: str, index: tuple[int, ...], seed: int) -> None:
    """Written down once: a result of last year must be drawn again from the same numbers."""
    assert seed_of(root, purpose, *index) == seed


def test_first_numbers_never_change() -> None:
    drawn = torch.rand(3, generator=stream(0, "training tasks", 0))
    torch.testing.assert_close(
        drawn, torch.tensor([0.9168441, 0.9308262, 0.487663]), atol=1e-6, rtol=0
    )


def test_every_stream_is_its_own() -> None:
    seeds = [
        seed_of(root, purpose, *index)
        for root in range(10)
        for purpose in ("initialisation", "training tasks", "evaluation tasks")
        for index in [(), *((i,) for i in range(20)), *((0, i) for i in range(20))]
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_neighbouring_streams_are_not_alike() -> None:
    drawn = torch.stack([torch.randn(2000, generator=stream(0, "x", i)) for i in range(20)])
    correlations = torch.corrcoef(drawn) - torch.eye(20)
    assert correlations.abs().max() < 5 / 2000**0.5


def test_a_stream_is_drawn_from_without_touching_the_global_ones() -> None:
    states = (torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False))  # noqa: NPY002
    torch.rand(5, generator=stream(3, "x"))
    assert torch.get_rng_state().equal(states[0])
    assert random.getstate() == states[1]
    np.testing.assert_equal(np.random.get_state(legacy=False), states[2])  # noqa: NPY002
