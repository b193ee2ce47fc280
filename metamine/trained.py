"""A run's method as it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from omegaconf import OmegaConf

from metamine import checkpoint
from metamine.config import build
from metamine.engine import device_of
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
    load_weights(method, run, which)
    return method.eval()


def load_weights(method: Method, run: Path, which: str) -> int:
    """Give `method` the weights of a run's checkpoint; returns the step that they are from.

    Raises UsageError if there is no such checkpoint, or if it is one of another method.
    """
    if which not in get_args(checkpoint.Which):
        raise UsageError(f"checkpoint={which} is neither best nor last")
    chosen = cast(checkpoint.Which, which)
    state = checkpoint.load(run / "checkpoints", chosen, device_of(method))
    try:
        method.load_state_dict(state.method)
    except RuntimeError as error:
        raise UsageError(
            f"the checkpoint of {run} does not fit the method configured: "
            f"{' '.join(str(error).split())}; leave method and encoder as they were"
        ) from error
    return state.step
