"""Meta-features against NumPy, SciPy and scikit-learn, a task and a column at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import episodes, padded, permuted_classes, permuted_columns
from scipy import stats
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import mutual_info_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid

from metamine.episode import Episodes, Kind, Support
from metamine.methods.data.meta_features import NAMES, meta_features

KINDS = pytest.mark.parametrize("kind", ["classification", "regression"])


def tasks(kind: Kind) -> Episodes:
    """Tables with gaps, a column of categories, and one as good as a copy of another."""
    batch = episodes(kind, n_tasks=5, way=3, shot=6, n_features=6, dtype=torch.float64)
    support = batch.support
    g = torch.Generator().manual_seed(1)
    y = support.y.clone()
    if kind == "regression":  # as many rows as the classification tasks
        batch = episodes(kind, n_tasks=5, shot=18, n_features=6, dtype=torch.float64)
        support, y = batch.support, batch.support.y
    else:
        y[:, ::5] = 0  # classes of different size
    x = support.x.clone()
    x[..., 1] = x[..., 0] + 0.1 * x[..., 1]
    x[..., 5] = torch.randint(4, x.shape[:2], generator=g).double()
    x[..., 2:4][torch.rand(*x.shape[:2], 2, generator=g) < 0.2] = torch.nan
    categorical = support.categorical.clone()
    categorical[:, 5] = True
    return replace(batch, support=replace(support, x=x, y=y, categorical=categorical))


def told(support: Support) -> dict[str, np.ndarray]:
    values = meta_features(support)
    assert values.shape == (support.n_tasks, len(NAMES))
    return dict(zip(NAMES, values.numpy().T, strict=True))


def each_task(support: Support) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(support.x[t].numpy(), support.y[t].numpy()) for t in range(support.n_tasks)]


def by_column(x: np.ndarray, function: object) -> list[float]:
    return [function(column[~np.isnan(column)]) for column in x.T]  # type: ignore[operator]


def test_every_name_is_told_of_some_kind() -> None:
    both = [told(tasks(kind).support) for kind in ("classification", "regression")]
    assert len(both[0]) == len(NAMES)  # none twice
    assert all(any(ours[name].any() for ours in both) for name in NAMES)


def test_simple() -> None:
    batch = padded(tasks("classification"), features=2, classes=3)
    ours = told(batch.support)
    for t, (x, y) in enumerate(each_task(batch.support)):
        sizes = np.unique(y, return_counts=True)[1]
        assert ours["log_rows"][t] == pytest.approx(np.log(18))
        assert ours["log_columns"][t] == pytest.approx(np.log(6))
        assert ours["log_classes"][t] == pytest.approx(np.log(len(sizes)))
        assert ours["log_rows_per_column"][t] == pytest.approx(np.log(18 / 6))
        assert ours["log_rows_per_class"][t] == pytest.approx(np.log(18 / len(sizes)))
        assert ours["smallest_class"][t] == pytest.approx(sizes.min() / 18)
        assert ours["largest_class"][t] == pytest.approx(sizes.max() / 18)
        assert ours["share_categorical"][t] == pytest.approx(1 / 6)
        assert ours["share_missing"][t] == pytest.approx(np.isnan(x[:, :6]).mean())


@KINDS
def test_moments_are_those_of_scipy(kind: Kind) -> None:
    support = tasks(kind).support
    ours = told(support)
    theirs = {"means": np.mean, "sds": np.std, "skewness": stats.skew, "kurtosis": stats.kurtosis}
    for t, (x, y) in enumerate(each_task(support)):
        for name, function in theirs.items():
            values = by_column(x[:, :5], function)
            assert ours[f"mean_of_{name}"][t] == pytest.approx(np.mean(values), abs=1e-10)
            assert ours[f"sd_of_{name}"][t] == pytest.approx(np.std(values), abs=1e-10)
        if kind == "regression":
            assert ours["target_skewness"][t] == pytest.approx(stats.skew(y))
            assert ours["target_kurtosis"][t] == pytest.approx(stats.kurtosis(y))


@KINDS
def test_correlations_are_those_of_numpy(kind: Kind) -> None:
    support = tasks(kind).support
    ours = told(support)
    for t, (x, y) in enumerate(each_task(support)):
        filled = np.where(np.isnan(x), np.nanmean(x, axis=0), x)[:, :5]
        r = np.corrcoef(filled.T)[np.triu_indices(5, 1)]
        assert ours["rms_correlation"][t] == pytest.approx(np.sqrt(np.mean(r**2)))
        if kind == "regression":
            explained = [np.corrcoef(column, y)[0, 1] ** 2 for column in filled.T]
        else:
            explained = []
            for column in filled.T:
                groups = [column[y == c] for c in np.unique(y)]
                between = sum(len(g) * (g.mean() - column.mean()) ** 2 for g in groups)
                explained.append(between / ((column - column.mean()) ** 2).sum())
        assert ours["mean_explained"][t] == pytest.approx(np.mean(explained))
        assert ours["max_explained"][t] == pytest.approx(np.max(explained))


def cut(column: np.ndarray) -> np.ndarray:
    """Into quarters, by the share of smaller cells; missing is a level of its own."""
    seen = column[~np.isnan(column)]
    return np.array([-1 if np.isnan(v) else int(4 * np.mean(seen < v)) for v in column])


@KINDS
def test_information_is_that_of_scikit_learn(kind: Kind) -> None:
    support = tasks(kind).support
    ours = told(support)
    for t, (x, y) in enumerate(each_task(support)):
        columns = [cut(column) for column in x[:, :5].T] + [x[:, 5]]
        target = y if kind == "classification" else cut(y)
        entropies = [mutual_info_score(column, column) for column in columns]
        mutual = [mutual_info_score(column, target) for column in columns]
        of_target = stats.entropy(np.unique(target, return_counts=True)[1])
        assert ours["target_entropy"][t] == pytest.approx(of_target)
        assert ours["mean_column_entropy"][t] == pytest.approx(np.mean(entropies))
        assert ours["mean_mutual_information"][t] == pytest.approx(np.mean(mutual))
        assert ours["max_mutual_information"][t] == pytest.approx(np.max(mutual))
        coefficient = np.mean(mutual) / of_target
        assert ours["mean_uncertainty_coefficient"][t] == pytest.approx(coefficient)


def diagonal_lda(x: np.ndarray, y: np.ndarray, row: np.ndarray) -> int:
    classes, sizes = np.unique(y, return_counts=True)
    means = np.stack([x[y == c].mean(axis=0) for c in classes])
    residuals = x - means[np.searchsorted(classes, y)]
    variance = (residuals**2).sum(axis=0) / (len(y) - len(classes))
    trust = len(y) / (len(y) + 10)
    variance = trust * variance + 1 - trust
    score = np.log(sizes / len(y)) - ((row - means) ** 2 / variance).sum(axis=1) / 2
    return int(classes[score.argmax()])


def test_landmarks_of_classification_are_those_of_scikit_learn() -> None:
    support = tasks("classification").support
    support.x[..., 5] += 0.1 * support.x[..., 0]  # of a tie, scikit-learn takes the first class
    ours = told(support)
    for t, (x, y) in enumerate(each_task(support)):
        x = np.nan_to_num(x)

        def accuracy(estimator: object, x: np.ndarray, y: np.ndarray = y) -> float:
            answers = cross_val_predict(estimator, x, y, cv=LeaveOneOut())
            return float((answers == y).mean())

        assert ours["one_nearest_neighbour"][t] == accuracy(KNeighborsClassifier(1), x)
        assert ours["nearest_centroid"][t] == accuracy(NearestCentroid(), x)
        single = [accuracy(NearestCentroid(), x[:, [f]]) for f in range(6)]
        assert ours["best_column"][t] == pytest.approx(max(single))
        assert ours["mean_column"][t] == pytest.approx(np.mean(single))
        answers = [
            diagonal_lda(np.delete(x, i, axis=0), np.delete(y, i), x[i]) for i in range(len(y))
        ]
        assert ours["diagonal_lda"][t] == pytest.approx(np.mean(answers == y))
        assert 0 < ours["diagonal_lda"][t] < 1


def test_landmarks_of_regression_are_those_of_scikit_learn() -> None:
    support = tasks("regression").support
    ours = told(support)
    for t, (x, y) in enumerate(each_task(support)):
        x = np.nan_to_num(x)
        of_mean = sum((y[i] - np.delete(y, i).mean()) ** 2 for i in range(len(y)))

        def skill(estimator: object, x: np.ndarray, y: np.ndarray = y, m: float = of_mean) -> float:
            answers = cross_val_predict(estimator, x, y, cv=LeaveOneOut())
            return max(-1.0, 1 - ((answers - y) ** 2).sum() / m)

        assert ours["one_nearest_neighbour"][t] == pytest.approx(skill(KNeighborsRegressor(1), x))
        assert ours["ridge"][t] == pytest.approx(skill(Ridge(alpha=10.0), x))
        single = [skill(LinearRegression(), x[:, [f]]) for f in range(6)]
        assert ours["best_column"][t] == pytest.approx(max(single))
        assert ours["mean_column"][t] == pytest.approx(np.mean(single))


@KINDS
def test_what_should_not_matter_does_not(kind: Kind) -> None:
    batch = tasks(kind)
    ours = meta_features(batch.support)
    order = torch.randperm(batch.support.y.shape[1], generator=torch.Generator().manual_seed(0))
    support = batch.support
    shuffled = replace(support, x=support.x[:, order], y=support.y[:, order])
    others = [
        shuffled,
        padded(batch, features=4, classes=2).support,
        permuted_columns(batch, torch.tensor([3, 1, 4, 0, 2, 5])).support,
    ]
    if kind == "classification":
        others.append(permuted_classes(batch, torch.tensor([2, 0, 1])).support)
    for other in others:
        assert torch.allclose(meta_features(other), ours, atol=1e-10)


@KINDS
def test_always_numbers(kind: Kind) -> None:
    batch = episodes(kind)
    support = batch.support
    missing, constant = support.x.clone(), support.x.clone()
    missing[..., 1], constant[..., 2] = torch.nan, 0.3
    for hard in (
        replace(support, x=missing),
        replace(support, x=constant),
        replace(support, x=torch.full_like(support.x, torch.nan)),
        replace(support, x=torch.full_like(support.x, 0.3)),
        replace(support, x=1e6 * support.x),
        replace(support, y=torch.zeros_like(support.y)),
        replace(support, categorical=torch.ones_like(support.categorical)),
        replace(support, x=support.x[:, :1], y=support.y[:, :1]),
        episodes(kind, n_features=1).support,
    ):
        values = meta_features(hard)
        assert values.isfinite().all()
        assert values.dtype == support.x.dtype


@KINDS
def test_a_constant_column_has_no_shape_and_tells_nothing(kind: Kind) -> None:
    support = episodes(kind, n_features=1).support
    ours = told(replace(support, x=torch.full_like(support.x, 0.3)))
    for name in ("sds", "skewness", "kurtosis"):
        assert (ours[f"mean_of_{name}"] == 0).all()
    for name in ("rms_correlation", "max_explained", "mean_column_entropy"):
        assert (ours[name] == 0).all()
    assert np.allclose(ours["best_column"], 0)
    assert np.allclose(ours["max_mutual_information"], 0)


def test_a_column_that_is_the_target_tells_all() -> None:
    support = episodes(way=3, shot=5).support
    x = support.x.clone()
    x[..., 3] = support.y.to(x)
    categorical = support.categorical.clone()
    ours = told(replace(support, x=x, categorical=categorical))
    assert np.allclose(ours["max_explained"], 1)
    assert np.allclose(ours["best_column"], 1)
    categorical[:, 3] = True
    ours = told(replace(support, x=x, categorical=categorical))
    assert np.allclose(ours["max_mutual_information"], np.log(3))
