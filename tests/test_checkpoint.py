"""Checkpoints: back bit for bit, never half, and no code inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from metamine import checkpoint
from metamine.checkpoint import Checkpoint
from metamine.errors import MetamineError, UsageError

CPU = torch.device("cpu")


def made(step: int, best_step: int) -> Checkpoint:
    weights = {"w": torch.full((3,), float(step))}
    return Checkpoint(step, weights, {"lr": 0.1}, {}, 10, [0.25], best_step, 0.5, 1.5)


def test_last_and_best_are_kept(tmp_path: Path) -> None:
    for step, best in ((1, 1), (2, 1), (3, 1), (4, 4), (5, 4)):
        checkpoint.save(tmp_path, made(step, best))
        assert checkpoint.load(tmp_path, "last", CPU).step == step
        assert checkpoint.load(tmp_path, "best", CPU).step == best
    kept = sorted(path.name for path in tmp_path.glob("*.pt"))
    assert kept == ["step-000004.pt", "step-000005.pt"]
    back = checkpoint.load(tmp_path, "last", CPU)
    assert torch.equal(back.method.pop("w"), made(5, 4).method["w"])
    assert (back.losses, back.optimizer, back.journal) == ([0.25], {"lr": 0.1}, 10)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm was done",)


def test_a_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint.save(tmp_path, made(1, 1))
    torch.save({"step": Harmful()}, tmp_path / "step-000001.pt")
    with pytest.raises(MetamineError, match=r"step-000001.pt is no checkpoint of metamine"):
        checkpoint.load(tmp_path, "last", CPU)
    assert not (tmp_path / "harm was done").exists()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no checkpoint"):
        checkpoint.load(tmp_path, "last", CPU)
    checkpoint.save(tmp_path, made(1, 1))
    path = tmp_path / "step-000001.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MetamineError, match=r"step-000001.pt is no checkpoint of metamine"):
        checkpoint.load(tmp_path, "last", CPU)
