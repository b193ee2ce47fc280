from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from metamine.annotations import parameters_of
from metamine.confdir import conf_dir
from metamine.config import build, check
from metamine.hydra_app.job import as_plain
from metamine.hydra_app.resolvers import register_resolvers
from metamine.settings import REFERRED_TO, Training, check_training

CONF = conf_dir()
FILES = sorted(path for path in CONF.glob("[!h]*/**/*.yaml") if path.parent != CONF)
NODES = [path for path in FILES if "_target_" in path.read_text() and path.parent.name != "table"]
EXPERIMENTS = sorted((CONF / "experiment").glob("*.yaml"))
GROUPS = ("method", "encoder", "source", "protocol", "optimizer", "evaluation")


def composed(*overrides: str) -> dict[str, Any]:
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return as_plain(compose("train", [*overrides, "device=cpu"]))


def named(path: Path) -> str:
    return str(path.relative_to(CONF).with_suffix(""))


def test_there_are_configs_to_test() -> None:
    assert len(NODES) > 20
    assert EXPERIMENTS
    assert all(any(named(path).startswith(group) for path in NODES) for group in GROUPS)


@pytest.mark.parametrize("path", NODES, ids=named)
def test_keys_are_the_constructor_s_arguments(path: Path) -> None:
    """Neither more nor fewer, every value allowed, and no argument has a default beside it."""
    group = named(path).rpartition("/")[0]
    place = group.replace("/", ".")
    chosen = [f"{group}={path.stem}"]
    if group == "baseline":
        place, chosen = "placed", [f"+baseline@placed={path.stem}"]
    if group == "source/split":
        chosen.append("source=tables")
    if group != "evaluation":
        chosen.append("~evaluation")  # takes long to compose
    node = composed(*chosen, "path=nowhere")
    for key in place.split("."):
        node = node[key]
    sound = {key: value for key, value in node.items() if key != "_target_"}
    constructor = resolve_name(node["_target_"])
    check(sound, constructor, where=place)
    parameters = parameters_of(constructor)
    assert sound.keys() == parameters.keys()
    twice = [name for name, each in parameters.items() if each.default is not each.empty]
    assert not twice, f"{twice} have a value in the class beside that in the yaml"
    if not sound.keys() & {"path", "suite", "sources"}:
        build(node, where=place)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=named)
def test_experiments_are_sound(path: Path) -> None:
    check_training(composed(f"experiment={path.stem}"))


def test_every_key_of_the_top_level_is_a_parameter() -> None:
    config = composed()
    check_training(config)
    known = {key: config[key] for key in config if key not in REFERRED_TO}
    check(known, Training)


def test_each_file_says_what_it_is() -> None:
    """A comment in the first line, or a class that documents itself."""
    from metamine.commands.list import choices

    for group in {path.parent for path in NODES}:
        for name, *_, purpose in choices(group):
            assert purpose, f"{group.name}/{name}.yaml"
