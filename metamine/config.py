"""Check a config against the annotations of the constructors it calls, then call them.

A node is a mapping with `_target_`, the path of a class; its other keys are the class's arguments.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from types import NoneType
from typing import Any, Union

from pydantic import ConfigDict, TypeAdapter, ValidationError

from metamine.annotations import (
    branches,
    container_of,
    is_node_kind,
    parameter_annotations,
    parameters_of,
    wants_node,
)
from metamine.complaints import did_you_mean
from metamine.errors import UsageError


def check(
    config: Mapping[str, Any],
    constructor: Callable[..., Any],
    trust: Sequence[str] = (),
    where: str = "",
    ignore: Collection[str] = (),
) -> None:
    """Check that `constructor(**config)` is a sound call, and so are all nodes within.

    config: plain values only, interpolations resolved.
    trust: packages besides metamine whose classes a node may name.
    where: dotted key of `config` in the whole, for messages.
    ignore: keys that need not be parameters.
    Raises UsageError: a key that is unknown or missing, a value of the wrong type or out of range,
    a class that is not trusted. Nothing is constructed.
    """
    known = {key: value for key, value in config.items() if key not in ignore}
    _call(known, constructor, trust, where)


def build(node: Mapping[str, Any], trust: Sequence[str] = (), where: str = "") -> Any:
    """Check a node whole, then construct it and the nodes within.

    Raises UsageError as `check` does, and for a ValueError of a constructor.
    """
    return _construct(_parse(node, Any, trust, where))


@dataclass(frozen=True)
class _Call:
    """A call that has been checked and not yet made."""

    where: str
    constructor: Callable[..., Any]
    arguments: dict[str, Any]


def _construct(parsed: Any) -> Any:
    if isinstance(parsed, dict):
        return {key: _construct(value) for key, value in parsed.items()}
    if isinstance(parsed, list | tuple):
        return type(parsed)(map(_construct, parsed))
    if not isinstance(parsed, _Call):
        return parsed
    arguments = _construct(parsed.arguments)
    try:
        return parsed.constructor(**arguments)
    except ValueError as error:
        raise UsageError(f"{parsed.where or parsed.constructor.__name__}: {error}") from error


def _call(
    config: Mapping[str, Any], constructor: Callable[..., Any], trust: Sequence[str], where: str
) -> _Call:
    hints = parameter_annotations(constructor)
    parameters = parameters_of(constructor)
    for key in config:
        if key not in parameters:
            raise UsageError(
                f"{_dotted(where, key)} is not a parameter of {constructor.__name__}"
                + did_you_mean(_dotted(where, key), [_dotted(where, name) for name in parameters])
            )
    for key, parameter in parameters.items():
        if key not in config and parameter.default is parameter.empty:
            raise UsageError(f"{_dotted(where, key)} is missing; {constructor.__name__} needs it")
    arguments = {
        key: _parse(value, hints.get(key, Any), trust, _dotted(where, key))
        for key, value in config.items()
    }
    return _Call(where, constructor, arguments)


def _parse(value: Any, annotation: Any, trust: Sequence[str], where: str) -> Any:
    """`value` as its annotation wants it, with a `_Call` in place of every node."""
    if _is_node(value):
        target = _target(value["_target_"], trust, where)
        _check_kind(target, annotation, where)
        arguments = {key: inner for key, inner in value.items() if key != "_target_"}
        return _call(arguments, target, trust, where)
    container, item = container_of(annotation, value)
    if _holds_node(value) or (container and wants_node(item)):
        if isinstance(value, Mapping):
            return {key: _parse(value[key], item, trust, _dotted(where, key)) for key in value}
        parts = [_parse(part, item, trust, f"{where}[{i}]") for i, part in enumerate(value)]
        return tuple(parts) if container is tuple else parts
    # pydantic would build a dataclass from any mapping; only a node may say what is built.
    plain = [branch for branch in branches(annotation) if not is_node_kind(branch)]
    if plain in ([], [NoneType]) and not (plain and value is None):
        names = _names(branch for branch in branches(annotation) if branch not in plain)
        raise UsageError(f"{where}={json.dumps(value)} must be a mapping with _target_, a {names}")
    return _validated(value, Union[tuple(plain)], where)  # noqa: UP007


def _validated(value: Any, annotation: Any, where: str) -> Any:
    """`value` in the annotated type. Strict: "5" is no number, though a list may be a tuple."""
    settings = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)
    try:
        adapter = TypeAdapter(annotation, config=settings)
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problems = error.errors()
    # Of a union's branches, those of another type altogether have nothing to say.
    near = [problem for problem in problems if not problem["type"].endswith("_type")] or problems
    rules = (re.sub(r"^\w+ should | after validation", "", problem["msg"]) for problem in near)
    given, culprit = json.dumps(value), json.dumps(near[0]["input"])
    part = "" if culprit == given else f": {culprit}"
    raise UsageError(f"{where}={given}{part} must {' or '.join(dict.fromkeys(rules))}")


def _target(path: Any, trust: Sequence[str], where: str) -> type:
    """The class that a node names, if it belongs to metamine or to a trusted package."""
    key = _dotted(where, "_target_")
    package = str(path).partition(".")[0]
    if package not in ("metamine", *trust):
        raise UsageError(
            f"{key} names '{path}', which lies outside metamine; "
            f"add trust=[{package}] if you trust its code"
        )
    # A console script, unlike `python -m`, does not look for packages where it is called.
    if package in trust and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        target = resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{key} names '{path}', which cannot be imported: {error}") from error
    # What a module of metamine merely imported (metamine.x.os.system) is not metamine's.
    home = getattr(target, "__module__", "").partition(".")[0]
    if not isinstance(target, type) or home not in ("metamine", *trust):
        raise UsageError(f"{key} names '{path}', which is not a class of {package}")
    return target


def _check_kind(target: type, annotation: Any, where: str) -> None:
    kinds = [branch for branch in branches(annotation) if isinstance(branch, type)]
    if kinds and Any not in kinds and not issubclass(target, tuple(kinds)):
        raise UsageError(f"{where} must be a {_names(kinds)}, which {target.__name__} is not")


def _names(kinds: Iterable[type]) -> str:
    return " or ".join(kind.__name__ for kind in kinds if kind is not NoneType)


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _holds_node(value: Any) -> bool:
    if isinstance(value, Mapping):
        return _is_node(value) or any(_holds_node(item) for item in value.values())
    return isinstance(value, list) and any(_holds_node(item) for item in value)


def _dotted(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)
