"""The modules that draw, where they can be had."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

NO_PICTURES = (
    "Pictures are left out: matplotlib is missing; `pip install metamine[plots]` brings it."
)


def drawing(name: str) -> ModuleType | None:
    """metamine.report.NAME, which draws; None if matplotlib is missing."""
    try:
        return import_module(f"metamine.report.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return None
