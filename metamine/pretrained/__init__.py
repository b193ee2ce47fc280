"""The model that metamine ships: a run of `metamine train experiment=pretrain_fewshot`.

`few_shot` is its run directory, without what only going on with the training would need.
"""

from __future__ import annotations

from pathlib import Path

NAME = "pretrained"
_RUN = Path(__file__).parent / "few_shot"


def run_of(model: str | Path) -> Path:
    """The run directory that `model` stands for: that of the shipped model, or itself."""
    return _RUN if str(model) == NAME else Path(model)
