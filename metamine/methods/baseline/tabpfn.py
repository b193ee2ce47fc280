"""TabPFN."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from metamine.episode import Kind
from metamine.methods.baseline.pretrained import Pretrained
from metamine.methods.baseline.worker import Estimator

# Read by the package: some versions report over the network that they are used; and the network,
# built anew for every task, would take longer than its answer.
os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TABPFN_MODEL_CACHE_SIZE", "1")


class TabPFN(Pretrained):
    """Hollmann et al., "Accurate predictions on small data with a tabular foundation model" (2025),
    with the weights that the installed package has by default.
    """

    package = "tabpfn"

    def weights(self, kind: Kind) -> Path | None:
        from tabpfn.model_loading import resolve_model_path, resolve_model_version

        which = "regressor" if kind == "regression" else "classifier"
        version = resolve_model_version(None).value
        (path,), *_ = resolve_model_path(None, which, version)
        return path if path.is_file() else None

    def estimator(self, kind: Kind, weights: Path, device: torch.device) -> Estimator:
        from tabpfn import TabPFNClassifier, TabPFNRegressor

        network = TabPFNRegressor if kind == "regression" else TabPFNClassifier
        return network(
            n_estimators=self.estimators,
            model_path=str(weights),
            device=str(device),
            ignore_pretraining_limits=True,
            random_state=self.random_state,
        )
