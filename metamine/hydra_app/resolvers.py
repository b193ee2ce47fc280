"""What configs may compute beyond Hydra's own resolvers: the names of a sweep's directories."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from omegaconf import OmegaConf

# Where and how fast a job runs, not what comes out.
_IMMATERIAL = ("device", "threads", "workers", "trust")


def register_resolvers() -> None:
    """Make `${either:VALUE,FALLBACK}` and `${digest:OVERRIDES}` known."""
    OmegaConf.register_new_resolver("either", lambda value, other: value or other, replace=True)
    OmegaConf.register_new_resolver("digest", digest, replace=True)


def digest(overrides: Sequence[str]) -> str:
    """Eight hex digits that name a job by what was asked for: same job, same directory."""
    material = sorted(word for word in overrides if word.partition("=")[0] not in _IMMATERIAL)
    return hashlib.sha256(json.dumps(material).encode()).hexdigest()[:8]
