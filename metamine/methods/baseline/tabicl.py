"""TabICL."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch

from metamine.episode import Kind
from metamine.methods.baseline.pretrained import Pretrained
from metamine.methods.baseline.worker import Estimator

REPOSITORY = "jingang/TabICL"  # on the Hugging Face hub, whose cache the package reads


class TabICL(Pretrained):
    """Qu, Holzmueller, Varoquaux & Le Morvan, "TabICL: A Tabular Foundation Model for In-Context
    Learning on Large Data" (2025), with the weights that the installed package has by default.
    """

    package = "tabicl"

    def weights(self, kind: Kind) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        settings = inspect.signature(_class(kind)).parameters
        path = try_to_load_from_cache(REPOSITORY, settings["checkpoint_version"].default)
        return Path(path) if isinstance(path, str) else None

    def estimator(self, kind: Kind, weights: Path, device: torch.device) -> Estimator:
        return _class(kind)(
            n_estimators=self.estimators,
            model_path=str(weights),
            allow_auto_download=False,
            device=str(device),
            random_state=self.random_state,
        )


def _class(kind: Kind) -> Any:
    from tabicl import TabICLClassifier, TabICLRegressor

    return TabICLRegressor if kind == "regression" else TabICLClassifier
