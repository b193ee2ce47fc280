"""Checkpoints: tensors and numbers only, so that loading one cannot run anybody's code."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from metamine.errors import MetamineError, UsageError
from metamine.files import write_json, write_whole

Which = Literal["best", "last"]


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on exactly where a run was.

    Random states are not among it: every stream is a function of the seed and the step.
    """

    step: int
    method: dict[str, Any]  # the weights to use
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    journal: int  # bytes of metrics.jsonl at this step
    losses: list[float]  # of the steps since its last line
    best_step: int
    best_score: float
    seconds: float  # of training so far
    latest: dict[str, Any] | None = None  # weights to go on from where `method` is an average


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `step-NNNNNN.pt`, then point `last` (and `best`) at it, then drop what is neither.

    At any moment `index.json` names whole files.
    """
    name = _name(checkpoint.step)
    write_whole(folder / name, lambda file: torch.save(asdict(checkpoint), file))
    keep = {"last": name, "best": _name(checkpoint.best_step)}
    write_json(folder / "index.json", keep)
    for old in folder.glob("step-*.pt"):
        if old.name not in keep.values():
            old.unlink()


def load(folder: Path, which: Which, device: torch.device) -> Checkpoint:
    """Read the `best` or the `last` checkpoint.

    Raises UsageError if there is none, MetamineError if the file is damaged or holds anything but
    tensors and numbers.
    """
    try:
        path = folder / str(json.loads((folder / "index.json").read_text())[which])
    except (FileNotFoundError, KeyError, ValueError):
        raise UsageError(f"{folder} has no checkpoint; the run stopped before its first") from None
    try:
        return Checkpoint(**torch.load(path, map_location=device, weights_only=True))
    except (OSError, RuntimeError, EOFError, TypeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MetamineError(f"{path} is no checkpoint of metamine: {reason}") from error


def exists(folder: Path) -> bool:
    """True if there is a checkpoint to go on from."""
    return (folder / "index.json").exists()


def _name(step: int) -> str:
    return f"step-{step:06d}.pt"
