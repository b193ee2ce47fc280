"""Where and with what a run was made: command line, commit, versions, machine."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

PACKAGES = ("metamine", "torch", "numpy", "scikit-learn", "pandas", "hydra-core", "omegaconf")


def facts() -> dict[str, Any]:
    """What `run.json` says of the surroundings; values are strings, numbers, None and mappings."""
    return {
        "command": os.environ.get("METAMINE_COMMAND") or shlex.join(sys.argv),
        "git": _git(),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {
            "host": platform.node(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
        },
    }


def peak_memory(device: torch.device) -> dict[str, float]:
    """Most memory that was in use at once so far, in MB: of this process, and of its GPU."""
    # Linux counts in kB, macOS in bytes; Windows does not tell.
    most = {}
    if resource is not None:
        unit = 1e6 if sys.platform == "darwin" else 1e3
        most["host"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
    if device.type == "cuda":
        most["device"] = round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    return most


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _git() -> dict[str, Any] | None:
    """The checkout one is in: its commit, and whether files differ from it; None outside."""
    try:
        commit = _ask_git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_ask_git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _ask_git(*words: str) -> str:
    answer = subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10)
    return answer.stdout.strip()
