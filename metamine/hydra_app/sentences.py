"""Hydra's errors, which span lines and suggest `+key`, as one sentence with a did-you-mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import Container, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from metamine.complaints import did_you_mean
from metamine.confdir import conf_dir
from metamine.errors import MetamineError, UsageError


def translated(error: Exception) -> MetamineError:
    """The same complaint as a UsageError; a MetamineError stays what it is."""
    if isinstance(error, MetamineError):
        return error
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return UsageError(_no_such_choice(error.missing_cfg_file, error.options or ()))
    if isinstance(error, OverrideParseException):
        return UsageError(f"'{error.override}' cannot be read; an override is written key=value")
    if isinstance(error, MissingMandatoryValue):
        return UsageError(f"{error.full_key} has no value; add {error.full_key}=...")
    text = str(error) or str(error.__cause__)
    if isinstance(error, OmegaConfBaseException):
        return UsageError(f"{error.full_key}: {text.splitlines()[0]}")
    if key := re.match(r"Could not override '([^']+)'", text):
        return UsageError(_no_such_key(key[1], error.__cause__))
    if several := re.match(r"Ambiguous value for argument '([^']+)'", text):
        return UsageError(f"{several[1]} gives several values; add -m to run with each of them")
    # The first paragraph says what is wrong; advice on Hydra's own syntax follows.
    return UsageError(" ".join(text.partition("\n\n")[0].split()))


def _no_such_choice(wanted: str, options: Sequence[str]) -> str:
    group, _, choice = wanted.rpartition("/")
    there = f"; there are {', '.join(options)}" if options else ""
    return f"there is no {group} '{choice}'" + (did_you_mean(choice, options) or there)


def _no_such_key(key: str, cause: BaseException | None) -> str:
    """`cause`: what OmegaConf said; it knows the node in which the key was looked for."""
    if key == "table":
        return "a table is no key of one run, but many runs: metamine reproduce NAME"
    keys = [path.name for path in conf_dir().iterdir() if path.is_dir()]
    node = getattr(cause, "parent_node", None)
    if isinstance(node, Container):
        keys += _dotted_keys(OmegaConf.to_container(node._get_root(), resolve=False))
    return f"there is no key {key}" + did_you_mean(key, keys)


def _dotted_keys(config: object) -> Iterator[str]:
    if isinstance(config, dict):
        for key in config.keys() - {"hydra"}:
            yield str(key)
            yield from (f"{key}.{rest}" for rest in _dotted_keys(config[key]))
