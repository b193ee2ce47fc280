"""Where the configs lie: within the package once installed, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
PLACES = (PACKAGE / "conf", PACKAGE.parent / "conf")


def conf_dir() -> Path:
    """The folder that holds train.yaml and the config groups, as an absolute path."""
    for place in PLACES:
        if (place / "train.yaml").is_file():
            return place
    raise FileNotFoundError(f"metamine is installed without its configs: no train.yaml in {PLACES}")
