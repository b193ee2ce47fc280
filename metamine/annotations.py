"""What the annotations of a constructor say about the values it takes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def branches(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; anything else is its own only branch."""
    if get_origin(annotation) in (Union, UnionType):
        return get_args(annotation)
    return (annotation,)


def container_of(annotation: Any, value: Any) -> tuple[type | None, Any]:
    """The kind of container that `value` is to be, and the annotation of its items."""
    for branch in branches(annotation):
        kind = get_origin(branch)
        given = tuple if kind is tuple and isinstance(value, list) else type(value)
        if isinstance(kind, type) and issubclass(given, kind):
            return kind, [part for part in get_args(branch) if part is not Ellipsis][-1]
    return None, Any


def wants_node(annotation: Any) -> bool:
    """True if a node has a place anywhere in a value of that annotation."""
    inner = (part for branch in branches(annotation) for part in get_args(branch))
    return any(map(is_node_kind, branches(annotation))) or any(map(wants_node, inner))


def is_node_kind(annotation: Any) -> bool:
    """True for classes that a node constructs; plain values are of the standard library."""
    if not isinstance(annotation, type) or get_origin(annotation) is not None:
        return False
    return annotation.__module__.partition(".")[0] not in sys.stdlib_module_names


def parameters_of(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Name -> parameter; what only `*args` or `**kwargs` would take is none."""
    parameters = inspect.signature(constructor).parameters
    gathering = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: each for name, each in parameters.items() if each.kind not in gathering}


def parameter_annotations(constructor: Callable[..., Any]) -> dict[str, Any]:
    """Name -> annotation, of a function's or a class's parameters that have one."""
    source: Any = constructor
    if isinstance(constructor, type) and not is_dataclass(constructor):
        source = inspect.getattr_static(constructor, "__init__")
    return get_type_hints(source, include_extras=True)
