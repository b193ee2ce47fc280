"""The scikit-learn estimators: the answers of the learner that they adapt, for rows of any kind."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from running import config, leave_run
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from metamine import FewShotClassifier, FewShotRegressor
from metamine.episode import Episodes, Support
from metamine.errors import UsageError
from metamine.preprocess import standardise
from metamine.trained import trained_method


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By method, a run of it; nothing was trained, which is no matter here."""
    folder = tmp_path_factory.mktemp("runs")
    more = {"dkt": ["source=synthetic_regression"], "in_context": ["encoder=mlp"]}
    return {
        name: leave_run(folder / name, config(f"method={name}", *more.get(name, ())))
        for name in ("protonet", "dkt", "in_context")
    }


def frame(n_rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "size": np.where(rng.random(n_rows) < 0.2, np.nan, 1e6 + rng.normal(size=n_rows)),
            "colour": rng.choice(["red", "green", "blue"], n_rows),
            "kept": rng.random(n_rows) < 0.5,
            "grade": pd.Categorical(rng.choice(["a", "b"], n_rows)),
            "count": rng.integers(0, 9, n_rows),
        }
    )


LABELS = np.array(["no", "yes", "maybe"] * 4)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(
    ("estimator", "method"),
    [
        (FewShotClassifier, "protonet"),
        (FewShotClassifier, "pretrained"),
        (FewShotRegressor, "dkt"),
    ],
)
def test_what_scikit_learn_expects(estimator: Any, method: str, runs: dict[str, Path]) -> None:
    excepted = {
        "check_do_not_raise_errors_in_init_or_set_params": "tests check annotations at run time",
        "check_methods_subset_invariance": "float32: the same to 1e-6, not to 1e-7",
        "check_methods_sample_order_invariance": "float32: the same to 1e-6, not to 1e-7",
    }
    model = runs.get(method, method)
    found = check_estimator(estimator(model), expected_failed_checks=excepted, on_fail=None)
    assert len(found) > 40
    told = {each["check_name"]: each["exception"] for each in found if each["status"] == "failed"}
    assert not told


def test_answers_do_not_depend_on_what_else_is_asked() -> None:
    rng = np.random.default_rng(0)
    x, queries = rng.normal(size=(12, 4)), rng.normal(size=(300, 4))
    fitted = FewShotClassifier().fit(x, LABELS)
    whole, order = fitted.predict_proba(queries), rng.permutation(300)
    assert np.allclose(fitted.predict_proba(queries[order]), whole[order], atol=1e-6, rtol=0)
    assert np.allclose(fitted.predict_proba(queries[:1]), whole[:1], atol=1e-6, rtol=0)


def test_answers_are_those_of_the_learner(runs: dict[str, Path]) -> None:
    rng = np.random.default_rng(0)
    x, queries = rng.normal(3, 2, size=(12, 4)), rng.normal(3, 2, size=(1500, 4))
    fitted = FewShotClassifier.load(runs["protonet"]).fit(x, LABELS)
    assert list(fitted.classes_) == ["maybe", "no", "yes"]
    ids = torch.tensor([["maybe", "no", "yes"].index(label) for label in LABELS])
    support = Support(
        x=torch.tensor(x)[None],
        y=ids[None],
        feature_mask=torch.ones(1, 4, dtype=torch.bool),
        categorical=torch.zeros(1, 4, dtype=torch.bool),
        n_classes=torch.tensor([3]),
        way=3,
    )
    unknown = torch.zeros(1, 1500, dtype=torch.int64)
    task = Episodes(support, torch.tensor(queries)[None], unknown, torch.ones(1))
    task = standardise(task, transductive=False)
    with torch.no_grad():
        method = trained_method(runs["protonet"]).double()
        expected = method.predict(task.support, task.query_x)[0].softmax(dim=-1).numpy()
    probability = fitted.predict_proba(queries)
    assert np.allclose(probability, expected, atol=1e-5)
    assert (fitted.predict(queries) == fitted.classes_[probability.argmax(axis=1)]).all()


def test_numbers_come_in_units_of_the_target(runs: dict[str, Path]) -> None:
    x, queries = frame(12)[["size", "count"]], frame(5, seed=1)[["size", "count"]]
    y = np.random.default_rng(2).normal(size=12)
    plain = FewShotRegressor(runs["dkt"]).fit(x, y).predict(queries)
    moved = FewShotRegressor(runs["dkt"]).fit(x, 1e4 + 20 * y).predict(queries)
    assert np.allclose(moved, 1e4 + 20 * plain)
    assert plain.std() > 0


def test_columns_of_all_kinds(runs: dict[str, Path]) -> None:
    labelled, queries = frame(12), frame(6, seed=1)
    fitted = FewShotClassifier(runs["protonet"]).fit(labelled, LABELS)
    probability = fitted.predict_proba(queries)
    assert np.allclose(probability.sum(axis=1), 1)
    assert list(fitted.categorical_) == [False, True, True, True, False]
    again = queries.assign(
        colour=queries["colour"].astype("category"), count=queries["count"].astype(float)
    )
    assert np.allclose(fitted.predict_proba(again), probability)
    assert not np.allclose(fitted.predict_proba(queries.assign(colour="red")), probability)
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.predict_proba(queries), probability)


def test_unseen_categories_count_as_missing_or_are_refused(runs: dict[str, Path]) -> None:
    labelled, queries = frame(12), frame(6, seed=1)
    strange, missing = queries.assign(colour="mauve"), queries.assign(colour=None)
    fitted = FewShotClassifier(runs["protonet"]).fit(labelled, LABELS)
    assert np.array_equal(fitted.predict_proba(strange), fitted.predict_proba(missing))
    fitted.set_params(unseen="refuse")
    with pytest.raises(ValueError, match=r"'colour' holds 'mauve', which no labelled row shows"):
        fitted.predict(strange)
    fitted.predict(missing)


def test_members_average_over_orders_of_columns_and_classes(runs: dict[str, Path]) -> None:
    labelled, queries = frame(12), frame(6, seed=1)
    one, two, many = (
        FewShotClassifier(runs["in_context"], members=members).fit(labelled, LABELS)
        for members in (1, 2, 400)
    )
    assert not np.allclose(one.predict_proba(queries), two.predict_proba(queries))
    order = ["count", "kept", "size", "grade", "colour"]
    renamed = {"no": "a", "yes": "c", "maybe": "b"}
    other = FewShotClassifier(runs["in_context"], members=400, seed=1)
    other.fit(labelled[order], [renamed[label] for label in LABELS])
    columns = [list(other.classes_).index(renamed[label]) for label in many.classes_]
    difference = other.predict_proba(queries[order])[:, columns] - many.predict_proba(queries)
    alone = one.predict_proba(queries) - many.predict_proba(queries)
    assert np.abs(difference).max() < np.abs(alone).max() / 3


def test_one_class_is_always_answered(runs: dict[str, Path]) -> None:
    fitted = FewShotClassifier(runs["protonet"]).fit(frame(3), ["same"] * 3)
    assert np.array_equal(fitted.predict_proba(frame(4, seed=1)), np.ones((4, 1)))


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (frame(12).assign(day=pd.Timestamp("2020-01-01")), LABELS, "'day' holds dates"),
        (frame(12), [*LABELS[:11], None], "y holds missing values"),
        (frame(12), LABELS[:5], "X has 12 rows and y 5"),
        (frame(12)[[]], LABELS, "12 rows and 0 columns"),
        (frame(0), [], "0 rows"),
    ],
)
def test_what_cannot_be_learned_from(x: Any, y: Any, match: str, runs: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=match):
        FewShotClassifier(runs["protonet"]).fit(x, y)


def test_queries_must_have_the_columns_of_the_labelled_rows(runs: dict[str, Path]) -> None:
    fitted = FewShotClassifier(runs["protonet"])
    with pytest.raises(NotFittedError):
        fitted.predict(frame(3))
    fitted.fit(frame(12), LABELS)
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame(3).drop(columns="size"))
    with pytest.raises(ValueError, match="'size' holds numbers in the labelled rows"):
        fitted.predict(frame(3).assign(size="large"))


def test_a_model_must_be_a_run_that_does_the_kind(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run directory"):
        FewShotClassifier(tmp_path).fit(frame(12), LABELS)
    with pytest.raises(ValueError, match="a method that does no regression"):
        FewShotRegressor(runs["protonet"]).fit(frame(12), np.arange(12.0))
