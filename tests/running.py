"""Small real runs for tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from metamine import checkpoint
from metamine.confdir import conf_dir
from metamine.config import build
from metamine.hydra_app.resolvers import register_resolvers

SMALL = (
    "steps=6",
    "meta_batch=4",
    "log_every=2",
    "checkpoint_every=3",
    "encoder.hidden=8",
    "encoder.width=2",
    "evaluation.episodes=3",
    "evaluation.tasks=8",
    "evaluation.validation_tasks=4",
    "evaluation.also.shipped.tables=[iris,wine]",
)
# These need no worker processes.
QUICK_BASELINES = ("majority", "nearest_centroid", "knn", "ridge")


def config(*overrides: str, small: bool = True) -> dict[str, Any]:
    """conf/train.yaml with overrides, plain and resolved; a few steps and tasks if `small`."""
    plain: Any = OmegaConf.to_container(
        _composed(*(SMALL if small else ()), *overrides), resolve=True
    )
    if small:
        baselines = plain["evaluation"]["baselines"]
        plain["evaluation"]["baselines"] = {name: baselines[name] for name in QUICK_BASELINES}
    return dict(plain)


@cache
def _composed(*overrides: str) -> DictConfig:
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", overrides=list(overrides))


def files(directory: Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def leave_run(place: Path, made: dict[str, Any]) -> Path:
    """What a run with that config leaves in `place`: the config, and the weights it began with."""
    place.mkdir()
    (place / "config.yaml").write_text(OmegaConf.to_yaml(made))
    torch.manual_seed(1)
    weights = build(made["method"]).state_dict()
    state = checkpoint.Checkpoint(1, weights, {}, {}, 0, [], 1, 0.0, 0.0)
    checkpoint.save(place / "checkpoints", state)
    return place
