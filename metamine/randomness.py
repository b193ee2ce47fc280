"""One root seed, a named stream for each purpose.

A stream is a pure function of (root seed, purpose, index), so nothing about random states needs to
be saved: the batch of step 700 is the same in a resumed run, on a GPU, and on another day.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def seed_of(root: int, purpose: str, *index: int) -> int:
    """The 63-bit seed of one stream, e.g. `seed_of(0, "training tasks", step)`."""
    key = (zlib.crc32(purpose.encode()), *index)
    high, low = np.random.SeedSequence(root, spawn_key=key).generate_state(2, np.uint32)
    return (int(high) << 32 | int(low)) >> 1


def stream(root: int, purpose: str, *index: int) -> torch.Generator:
    """A CPU generator for one purpose; CPU and GPU runs draw the same numbers from it."""
    return torch.Generator().manual_seed(seed_of(root, purpose, *index))
