"""A run's method as it was trained, for use from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from metamine import checkpoint
from metamine.config import build
from metamine.errors import UsageError
from metamine.methods.base import Method


def trained_method(
    run: Path, which: checkpoint.Which = "best", trust: Sequence[str] = ()
) -> Method:
    """The method that a run directory configures, with the weights of a checkpoint, on the CPU.

    trust: packages besides metamine whose classes the run's config may name.
    Raises UsageError if `run` is no run directory, has no checkpoint, or names other classes.
    """
    if not (run / "config.yaml").is_file():
        raise UsageError(
            f"{run} is no run directory: it has no config.yaml; see: metamine list runs"
        )
    config: Any = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"), resolve=True)
    method: Method = build(config["method"], trust, "method")
    state = checkpoint.load(run / "checkpoints", which, torch.device("cpu"))
    method.load_state_dict(state.method)
    return method.eval()
