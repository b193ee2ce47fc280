"""What configs may compute beyond Hydra's own resolvers: the names of a sweep's directories."""

from __future__ import annotations

from omegaconf import OmegaConf

from metamine.overrides import digest


def register_resolvers() -> None:
    """Make `${either:VALUE,FALLBACK}` and `${digest:OVERRIDES}` known."""
    OmegaConf.register_new_resolver("either", lambda value, other: value or other, replace=True)
    OmegaConf.register_new_resolver("digest", digest, replace=True)
