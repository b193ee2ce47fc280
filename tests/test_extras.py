"""Baselines of packages that metamine does not depend on: used if there, named if not."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from making import built, episodes, names_in
from running import config

from metamine.episode import Kind
from metamine.methods.baseline.base import Baseline, majority
from metamine.methods.baseline.installed import absence
from metamine.run import train_job

BOOSTING = ("xgboost", "lightgbm", "catboost")
PRETRAINED = ("tabpfn", "tabicl")
each_pretrained = pytest.mark.parametrize("name", PRETRAINED)
both_kinds = pytest.mark.parametrize("kind", ["classification", "regression"])


def extra(name: str, **changes: Any) -> Baseline:
    if name in BOOSTING:
        changes = {"stages": 5} | changes
    return built("baseline", name, "+workers=1", **changes)


class Nearest:
    """Stands in for a pretrained network: certain of the label of the nearest row."""

    asked: list[dict[str, Any]]

    def __init__(self, **settings: Any) -> None:
        self.asked.append(settings)
        assert Path(settings["model_path"]).is_file(), "it would be downloaded"

    def fit(self, x: np.ndarray, y: np.ndarray) -> Nearest:
        assert y.dtype.kind == "f" or set(y) == set(range(y.max() + 1))
        self.x, self.y = x, y
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.y[((x[:, None] - self.x) ** 2).sum(axis=2).argmin(axis=1)]

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.eye(self.y.max() + 1)[self.predict(x)]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of weights, not there yet."""
    return tmp_path / "weights"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, weights: Path) -> list[dict[str, Any]]:
    """Packages that answer by `Nearest`; the settings that they were asked with."""
    asked: list[dict[str, Any]] = []

    class Classifier(Nearest):
        def __init__(self, checkpoint_version: str = "the-classifier", **settings: Any) -> None:
            super().__init__(**settings)

    class Regressor(Nearest):
        def __init__(self, checkpoint_version: str = "the-regressor", **settings: Any) -> None:
            super().__init__(**settings)

    monkeypatch.setattr(Nearest, "asked", asked, raising=False)

    def in_cache(repository: str, filename: str) -> str | object:
        assert (repository, filename) in {
            ("jingang/TabICL", "the-classifier"),
            ("jingang/TabICL", "the-regressor"),
        }
        return str(weights) if weights.exists() else object()

    def resolved(path: None, which: str, version: str) -> tuple[list[Path], list[str]]:
        assert which in ("classifier", "regressor")
        assert version == "v9"
        return [weights], [weights.name]

    packages = {
        "tabicl": {"TabICLClassifier": Classifier, "TabICLRegressor": Regressor},
        "huggingface_hub": {"try_to_load_from_cache": in_cache},
        "tabpfn": {"TabPFNClassifier": Classifier, "TabPFNRegressor": Regressor},
        "tabpfn.model_loading": {
            "resolve_model_path": resolved,
            "resolve_model_version": lambda path: SimpleNamespace(value="v9"),
        },
    }
    for name, contents in packages.items():
        module = ModuleType(name)
        module.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    return asked


@pytest.mark.parametrize("name", [*BOOSTING, *PRETRAINED])
@both_kinds
def test_what_is_not_installed_is_said_with_the_command(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: Kind
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert extra(name).missing(kind) == f"{name} is not installed; pip install {name}"


def test_other_baselines_lack_nothing() -> None:
    others = set(names_in("baseline")) - {*BOOSTING, *PRETRAINED}
    assert others
    for name in others:
        baseline: Baseline = built("baseline", name, "+workers=1")
        assert baseline.missing("classification") is None


def test_a_broken_package_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_a.py").write_text("raise OSError('libgomp.so.1:\\n cannot open')")
    (tmp_path / "broken_b.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    assert absence("broken_a") == "broken_a cannot be imported: libgomp.so.1: cannot open"
    assert absence("broken_b") == (
        "broken_b is installed without not_there_at_all; pip install not_there_at_all"
    )


@each_pretrained
@both_kinds
def test_without_weights_it_is_absent_and_fetches_none(
    asked: list[dict[str, Any]], name: str, kind: Kind
) -> None:
    reason = f"{name} has no weights for {kind} on this machine; fetch them with it"
    baseline, batch = extra(name), episodes(kind)
    assert baseline.missing(kind) == reason
    with pytest.raises(FileNotFoundError, match="on this machine"):
        baseline.predict(batch.support, batch.query_x)
    assert not asked


@each_pretrained
def test_another_version_of_the_package_is_no_error(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    other = "tabpfn.model_loading" if name == "tabpfn" else "huggingface_hub"
    monkeypatch.setitem(sys.modules, other, ModuleType(other))
    reason = extra(name).missing("classification")
    assert reason is not None
    assert reason.startswith(f"where {name} keeps its weights cannot be told: cannot import name")


@each_pretrained
@both_kinds
def test_with_weights_it_answers_each_task(
    asked: list[dict[str, Any]], weights: Path, name: str, kind: Kind
) -> None:
    weights.touch()
    batch, baseline = episodes(kind), extra(name, estimators=3, random_state=7)
    assert baseline.missing(kind) is None
    out = baseline.predict(batch.support, batch.query_x)
    nearest = torch.cdist(batch.query_x, batch.support.x).argmin(dim=2)
    expected = batch.support.y.gather(1, nearest)
    assert torch.allclose(out[..., 0] if kind == "regression" else out.argmax(dim=2), expected)
    (settings,) = asked
    settings.pop("ignore_pretraining_limits", None)
    assert settings.pop("allow_auto_download", False) is False
    assert settings == {
        "n_estimators": 3,
        "model_path": str(weights),
        "device": "cpu",
        "random_state": 7,
    }


@each_pretrained
def test_too_many_classes_fall_back(asked: list[dict[str, Any]], weights: Path, name: str) -> None:
    weights.touch()
    batch, baseline = episodes(way=4), extra(name, max_classes=3)
    y = batch.support.y.clone()
    y[1:] = y[1:].clamp(max=2)
    batch.support.y.copy_(y)
    assert baseline.falls_back(batch.support).tolist() == [True, False, False, False]
    out = baseline.predict(batch.support, batch.query_x)
    assert torch.allclose(out[0], majority(batch.support)[0].float())
    assert (out[1:, :, 3] == -torch.inf).all()


def test_tabpfn_is_told_not_to_report_over_the_network() -> None:
    import metamine.methods.baseline.tabpfn  # noqa: F401

    assert os.environ["TABPFN_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize("name", BOOSTING)
@both_kinds
def test_boosting_gives_the_library_s_numbers_task_by_task(name: str, kind: Kind) -> None:
    """The rest of what baselines promise is tested in test_baselines, for those installed too."""
    pytest.importorskip(name, reason="an extra: pip install 'metamine[boosting]'")
    batch, baseline = episodes(kind, way=3, dtype=torch.float64), extra(name, columns=1.0)
    out = baseline.predict(batch.support, batch.query_x)
    for task in range(batch.n_tasks):
        fitted = baseline.estimator(kind).fit(  # type: ignore[attr-defined]
            batch.support.x[task].numpy(), batch.support.y[task].numpy()
        )
        x = batch.query_x[task].numpy()
        if kind == "regression":
            assert np.allclose(out[task, :, 0].numpy(), fitted.predict(x))
        else:
            assert np.allclose(out[task].exp().numpy(), fitted.predict_proba(x), atol=1e-6)


def test_a_run_names_what_is_absent_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    extras = config("evaluation=extras", small=False)["evaluation"]["baselines"]
    assert {*BOOSTING, *PRETRAINED} < set(extras)
    settings = config()
    settings["evaluation"]["baselines"]["xgboost"] = extras["xgboost"]
    settings["evaluation"]["also"] = {}
    with caplog.at_level("INFO"):
        train_job(settings, tmp_path / "run", [], resuming=False)
    reason = "xgboost is not installed; pip install xgboost"
    assert f"the baseline xgboost is left out: {reason}" in caplog.text
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["absent"] == {"xgboost": reason}
    assert record["choices"]["family"] == "metric"
    assert f"\n- xgboost is left out: {reason}.\n" in (tmp_path / "run/report.md").read_text()
    results = pd.read_parquet(tmp_path / "run/results.parquet")
    assert "xgboost" not in set(results["method"])
    assert "knn" in set(results["method"])
