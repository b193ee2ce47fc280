"""Episodes and tables made for tests."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from metamine.confdir import conf_dir
from metamine.config import build
from metamine.episode import Episodes, Kind, Support
from metamine.protocol import Protocol
from metamine.sources.table import Table


def episodes(
    kind: Kind = "classification",
    n_tasks: int = 4,
    way: int = 3,
    shot: int = 4,
    n_query: int = 7,
    n_features: int = 5,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Episodes:
    """Tasks whose classes are blobs (regression: whose target is a noisy sum of columns)."""
    g = torch.Generator().manual_seed(seed)
    n_classes = way if kind == "classification" else 1
    n_rows = n_classes * shot + n_query
    y = torch.arange(n_rows).remainder(n_classes).expand(n_tasks, -1).contiguous()
    centre = 2 * torch.randn(n_tasks, n_classes, n_features, generator=g, dtype=dtype)
    x = torch.randn(n_tasks, n_rows, n_features, generator=g, dtype=dtype)
    if kind == "classification":
        x = x + centre.gather(1, y[..., None].expand(-1, -1, n_features))
    else:
        y = x.mean(dim=2) + 0.1 * torch.randn(n_tasks, n_rows, generator=g, dtype=dtype)
    n_support = n_classes * shot
    return Episodes(
        support=Support(
            x=x[:, :n_support],
            y=y[:, :n_support],
            feature_mask=torch.ones(n_tasks, n_features, dtype=torch.bool),
            categorical=torch.zeros(n_tasks, n_features, dtype=torch.bool),
            n_classes=torch.full((n_tasks,), way if kind == "classification" else 0),
            way=way if kind == "classification" else 0,
        ),
        query_x=x[:, n_support:],
        query_y=y[:, n_support:],
        target_scale=torch.ones(n_tasks, dtype=dtype),
    )


def permuted_columns(batch: Episodes, order: torch.Tensor) -> Episodes:
    support = batch.support
    return replace(
        batch,
        support=replace(
            support,
            x=support.x[..., order],
            feature_mask=support.feature_mask[:, order],
            categorical=support.categorical[:, order],
        ),
        query_x=batch.query_x[..., order],
    )


def permuted_classes(batch: Episodes, order: torch.Tensor) -> Episodes:
    return replace(
        batch,
        support=replace(batch.support, y=order[batch.support.y]),
        query_y=order[batch.query_y],
    )


def padded(batch: Episodes, features: int, classes: int) -> Episodes:
    """The same tasks beside wider ones and ones of more classes."""
    support = batch.support

    def wider(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(x, (0, features))

    return replace(
        batch,
        support=replace(
            support,
            x=wider(support.x),
            feature_mask=wider(support.feature_mask),
            categorical=wider(support.categorical),
            way=support.way + classes if support.way else 0,
        ),
        query_x=wider(batch.query_x),
    )


def table(
    name: str = "made",
    group: str | None = None,
    kind: Kind = "classification",
    n_rows: int = 60,
    n_features: int = 4,
    n_classes: int = 3,
    seed: int = 0,
) -> Table:
    """A table of blobs, or of a noisy linear target."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, n_features)).astype(np.float32)
    if kind == "classification":
        y: np.ndarray = np.arange(n_rows) % n_classes
        x += 2 * rng.normal(size=(n_classes, n_features)).astype(np.float32)[y]
    else:
        y = (x.mean(axis=1) + 0.1 * rng.normal(size=n_rows)).astype(np.float32)
        y = (y - y.mean()) / y.std()
    return Table(
        name=name,
        group=group or name,
        kind=kind,
        x=x,
        y=y,
        categorical=np.zeros(n_features, dtype=bool),
        features=tuple(f"f{i}" for i in range(n_features)),
        classes=tuple(map(str, range(n_classes))) if kind == "classification" else (),
    )


def protocol(**changes: Any) -> Protocol:
    settings: dict[str, Any] = {
        "way": 3,
        "shot": 2,
        "rows": None,
        "query": 5,
        "draw": "balanced",
        "one_class": "redraw",
        "transductive": False,
        "columns": None,
    }
    return Protocol(**settings | changes)


def names_in(group: str) -> list[str]:
    """All configs of a group, as found on disk."""
    found = sorted(path.stem for path in (Path(conf_dir()) / group).glob("*.yaml"))
    assert found, f"no config found in {group}"
    return found


def kinds_of(group: str, name: str) -> frozenset[Kind]:
    """The kinds of task that a method or baseline can do; composes nothing, which takes long."""
    node = yaml.safe_load((Path(conf_dir()) / group / f"{name}.yaml").read_text())
    return frozenset(resolve_name(node["_target_"]).kinds)


def built(group: str, name: str, *overrides: str, **changes: Any) -> Any:
    """What conf/GROUP/NAME.yaml constructs; `overrides` add the top-level keys it refers to."""
    return build(_composed(group, name, overrides) | changes)


def encoders_of(method: str) -> list[str]:
    """The encoders that a method can be given: all, or for one that brings its own, the default."""
    if "${encoder}" in (Path(conf_dir()) / "method" / f"{method}.yaml").read_text():
        return names_in("encoder")
    return ["columnwise"]


def built_method(
    method: str, encoder: str | None = None, seed: int = 0, light: bool = False, **changes: Any
) -> Any:
    """A method of conf/method, freshly initialised, as shipped.

    encoder: of conf/encoder, in the place of its own. Both are made light then, as with `light`:
    depth and the number of inner steps change nothing that a method promises, and take long.
    """
    torch.manual_seed(seed)
    config = _composed_method(method)
    if "encoder" in config and (encoder or light):
        small = _composed("encoder", encoder, ()) if encoder else config["encoder"]
        config = config | {"encoder": _light(small, "depth", 1)}
        config = _light(config, "inner_steps", 2)
    return build(config | changes)


def _light(config: dict[str, Any], key: str, value: int) -> dict[str, Any]:
    return config | {key: value} if key in config else config


@cache
def _composed(group: str, name: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(overrides=[f"+{group}={name}", *overrides])
    return dict(OmegaConf.to_container(config, resolve=True)[group])  # type: ignore[call-overload,index]


@cache
def _composed_method(method: str) -> dict[str, Any]:
    chosen = ["+encoder=columnwise", f"+method={method}"]  # all of train.yaml takes long to compose
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(overrides=chosen)
    return dict(OmegaConf.to_container(config, resolve=True)["method"])  # type: ignore[call-overload,index]
