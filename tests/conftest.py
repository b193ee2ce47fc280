"""Set up before anything of metamine is imported: checked shapes, one thread, no leftovers."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from jaxtyping import install_import_hook

torch.set_num_threads(1)  # small networks run slower on more, and tests run side by side
# The shapes and types in annotations are held to at run time, in tests only.
install_import_hook("metamine", "typechecking.checked")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a test's prepared tables go: not into the user's cache."""
    monkeypatch.setenv("METAMINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where matplotlib is not installed: pictures take most of a small run's time."""
    if request.node.get_closest_marker("pictures"):
        return
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    # Were they imported before, they would still draw.
    modules = ["pictures", "task_map", "adaptation", "critical_difference", "shots", "cost"]
    for name in [*modules, "transfer_pictures"]:
        monkeypatch.delitem(sys.modules, f"metamine.report.{name}", raising=False)
        monkeypatch.delattr(f"metamine.report.{name}", raising=False)


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    """Hydra keeps a global, and log handlers that write to the captured stderr of a past test."""
    yield
    GlobalHydra.instance().clear()
    root = logging.getLogger()
    for handler in [each for each in root.handlers if type(each) is logging.StreamHandler]:
        root.removeHandler(handler)
