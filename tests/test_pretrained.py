"""The model that is shipped: whole, small, of synthetic tables alone, and of use as it comes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from metamine import FewShotClassifier, FewShotRegressor
from metamine.hydra_app.composed import composed
from metamine.pretrained import NAME, run_of
from metamine.trained import trained_method

RUN = run_of(NAME)
EXPERIMENT = "experiment=pretrain_fewshot"


def test_a_name_or_a_path(tmp_path: Path) -> None:
    assert run_of(tmp_path) == tmp_path
    assert run_of("./pretrained") == Path("pretrained")


def test_the_run_is_whole_and_small() -> None:
    facts = json.loads((RUN / "run.json").read_text())
    assert facts["status"] == "done"
    assert facts["kind"] == "classification"
    assert facts["trained_on"] == {}
    assert (RUN / "report.md").stat().st_size
    paths = [path for path in RUN.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in paths) < 5e6
    assert sum(each.numel() for each in trained_method(RUN).parameters()) == facts["parameters"]


def test_it_is_what_the_experiment_makes() -> None:
    assert json.loads((RUN / "overrides.json").read_text()) == [EXPERIMENT]
    made, anew = yaml.safe_load((RUN / "config.yaml").read_text()), composed([EXPERIMENT])
    learned_by = ("source", "protocol", "method", "optimizer", "seed", "steps", "meta_batch")
    for key in (*learned_by, "chunk_size", "averaging"):
        assert made[key] == anew[key]


@pytest.mark.parametrize(
    ("load", "least"), [(load_iris, 0.88), (load_wine, 0.85), (load_breast_cancer, 0.85)]
)
def test_ten_labelled_rows_of_tables_it_never_saw(load: object, least: float) -> None:
    x, y = load(return_X_y=True)  # type: ignore[operator]
    right = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(y))
        known = np.concatenate([order[y[order] == label][:5] for label in np.unique(y)])
        rest = np.setdiff1d(order[:100], known)
        fitted = FewShotClassifier().fit(x[known], y[known])
        right.append(fitted.score(x[rest], y[rest]))
    assert np.mean(right) > least


def test_any_labels_and_columns() -> None:
    frame = pd.DataFrame({"size": [1.0, 9.0, None, 8.0], "colour": ["red", "blue", "red", "blue"]})
    fitted = FewShotClassifier().fit(frame, ["small", "large", "small", "large"])
    assert list(fitted.predict(frame)) == ["small", "large", "small", "large"]


def test_no_numbers() -> None:
    with pytest.raises(ValueError, match="pretrained was trained for classification, not for regr"):
        FewShotRegressor().fit(np.eye(4), np.arange(4.0))
