"""How many cores a command may use."""

from __future__ import annotations

import os


def cores() -> int:
    """Those that this process may run on; 1 where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
