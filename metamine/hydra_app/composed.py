"""What `metamine train` would be asked to do by some words, without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from metamine.confdir import conf_dir
from metamine.hydra_app.job import as_plain
from metamine.hydra_app.resolvers import register_resolvers
from metamine.hydra_app.sentences import translated
from metamine.settings import check_training


def composed(words: Sequence[str], folders: Sequence[Path] = ()) -> dict[str, Any]:
    """The config that overrides of `metamine train` give: plain, resolved and checked.

    folders: where config groups are looked up beside metamine's own.
    Raises UsageError as the command would. Nothing is constructed or written.
    """
    register_resolvers()
    places = [f"hydra.searchpath=[{','.join(map(str, folders))}]"] if folders else []
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = compose("train", overrides=[*places, *words])
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise translated(error) from error
    plain = as_plain(config)
    check_training(plain)
    return plain
