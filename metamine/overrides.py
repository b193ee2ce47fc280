"""What the overrides of a command ask for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

# Where and how fast a job runs, not what comes out.
_IMMATERIAL = ("device", "threads", "parallel_chunks", "workers", "trust")


def digest(overrides: Sequence[str]) -> str:
    """Eight hex digits that name a job by what was asked for: same job, same directory."""
    keys = {word: word.partition("=")[0] for word in overrides if not word.startswith("hydra")}
    material = sorted(word for word, key in keys.items() if key not in _IMMATERIAL)
    return hashlib.sha256(json.dumps(material).encode()).hexdigest()[:8]
