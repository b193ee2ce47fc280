"""Baselines: what each promises (found on disk), and scikit-learn's numbers, task by task."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from making import built, episodes, kinds_of, names_in, padded, permuted_classes, protocol
from sklearn.covariance import ledoit_wolf
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC
from torch.optim import SGD, Adam, RMSprop

from metamine.episode import Episodes, Kind
from metamine.methods.baseline.base import LEAST_PROBABILITY, Baseline
from metamine.sampler import sample

PACKAGES = {"xgboost", "lightgbm", "catboost"}  # which may be absent, and their baselines with them
TREES = PACKAGES | {"random_forest", "gradient_boosting"}
FITTED = TREES | {"svc"}  # task by task
PRETRAINED = {"tabpfn", "tabicl"}  # see test_extras


def baseline(name: str, workers: int = 1, **changes: Any) -> Baseline:
    if name in TREES:  # few are enough to see that the numbers are right
        changes = {"trees" if name == "random_forest" else "stages": 5} | changes
    return built("baseline", name, f"+workers={workers}", **changes)


def more_trees(name: str) -> dict[str, int]:
    return {"trees" if name == "random_forest" else "stages": 30} if name in TREES else {}


NAMES = [name for name in names_in("baseline") if name not in PRETRAINED]
NAMES = [name for name in NAMES if name not in PACKAGES or find_spec(name)]
BATCHED = [name for name in NAMES if name not in FITTED]
EVERY = [
    pytest.param(name, kind, id=f"{name}-{kind}")
    for name in NAMES
    for kind in ("classification", "regression")
    if kind in kinds_of("baseline", name)
]
every = pytest.mark.parametrize(("name", "kind"), EVERY)
in_classification = pytest.mark.parametrize(
    "name", [p.values[0] for p in EVERY if p.values[1] == "classification"]
)


def exact(kind: Kind = "classification", **sizes: Any) -> Episodes:
    return episodes(kind, dtype=torch.float64, **sizes)


def answers(method: Baseline, batch: Episodes) -> torch.Tensor:
    return method.predict(batch.support, batch.query_x)


# --- what all promise


@every
def test_shape_and_log_probabilities(name: str, kind: Kind) -> None:
    batch = episodes(kind)
    out = answers(baseline(name), batch)
    assert out.shape == (*batch.query_y.shape, batch.support.n_outputs)
    assert out.dtype == batch.query_x.dtype
    assert out.isfinite().all()
    if kind == "classification":
        assert torch.allclose(out.exp().sum(dim=2), torch.ones(1), atol=1e-5)


@every
def test_nothing_to_meta_train(name: str, kind: Kind) -> None:
    assert not baseline(name).state_dict()


@every
def test_padding_changes_nothing(name: str, kind: Kind) -> None:
    batch, method = exact(kind), baseline(name)
    alone, beside = answers(method, batch), answers(method, padded(batch, features=3, classes=2))
    n_outputs = batch.support.n_outputs
    assert torch.allclose(alone, beside[..., :n_outputs], atol=1e-9)
    assert (beside[..., n_outputs:] == -torch.inf).all()


@every
def test_a_query_row_does_not_see_the_others(name: str, kind: Kind) -> None:
    batch, method = exact(kind), baseline(name)
    alone = method.predict(batch.support, batch.query_x[:, 2:3])
    assert torch.allclose(answers(method, batch)[:, 2:3], alone, atol=1e-9)


@pytest.mark.parametrize(
    "name", [name for name in BATCHED if "classification" in kinds_of("baseline", name)]
)
def test_names_of_classes_do_not_matter(name: str) -> None:
    batch, method, order = exact(), baseline(name), torch.tensor([2, 0, 1])
    renamed = answers(method, permuted_classes(batch, order))[..., order]
    assert torch.allclose(answers(method, batch), renamed, atol=1e-9)


@in_classification
def test_better_than_the_majority(name: str) -> None:
    batch = episodes(n_tasks=10, shot=5)
    right = answers(baseline(name, **more_trees(name)), batch).argmax(dim=2) == batch.query_y
    assert right.double().mean() > 0.75 or name == "majority"


@every
def test_hard_supports(name: str, kind: Kind) -> None:
    """Holes, a missing column, a constant one; one row; one column; many columns; rows repeated."""
    batch, method = episodes(kind), baseline(name)
    holes = batch.support.x.clone()
    holes[:, ::3, 0] = torch.nan
    holes[..., 1] = torch.nan
    holes[..., 2] = 0.0
    query_holes = batch.query_x.clone()
    query_holes[:, 0] = torch.nan
    repeated = batch.support.x[:, :3].repeat(1, batch.support.x.shape[1], 1)
    for hard in (
        replace(batch, support=replace(batch.support, x=holes), query_x=query_holes),
        episodes(kind, way=2, shot=1),
        episodes(kind, way=2, shot=2),
        episodes(kind, n_features=1),
        episodes(kind, n_features=500, n_tasks=1),
        replace(batch, support=replace(batch.support, x=torch.zeros_like(holes))),
        replace(batch, support=replace(batch.support, x=repeated[:, : holes.shape[1]])),
    ):
        assert answers(method, hard).isfinite().all()


@in_classification
def test_many_classes(name: str) -> None:
    batch = episodes(n_tasks=2, way=40, shot=2, n_query=40)
    assert answers(baseline(name), batch).isfinite().all()


@in_classification
def test_absent_classes(name: str) -> None:
    """A class without support rows is impossible, and as if the task had never had it."""
    batch, method = exact(), baseline(name)
    support = replace(batch.support, y=batch.support.y.clamp(max=1))
    lacking = answers(method, replace(batch, support=support))
    narrow = answers(method, replace(batch, support=replace(support, way=2)))
    assert (lacking[..., 2] == -torch.inf).all()
    assert torch.allclose(lacking[..., :2], narrow, atol=1e-9)


@in_classification
@pytest.mark.parametrize("n_rows", [1, 12])
def test_one_class(name: str, n_rows: int) -> None:
    """Only the seen class is possible; tasks beside it are not touched by the fallback."""
    batch, method = exact(), baseline(name)
    y = batch.support.y[:, :n_rows].clone()
    y[0] = 1
    support = replace(batch.support, x=batch.support.x[:, :n_rows], y=y)
    out = method.predict(support, batch.query_x)
    assert (out[0].argmax(dim=1) == 1).all()
    assert torch.allclose(out[0, :, 1], torch.zeros(1, dtype=out.dtype))
    if n_rows > 1:
        assert torch.allclose(out[1:], answers(method, batch)[1:], atol=1e-9)


def test_fallbacks_are_the_majority_and_counted() -> None:
    batch = exact()
    y = batch.support.y.clone()
    y[0] = 1
    support = replace(batch.support, y=y)
    counted = {
        name
        for name in NAMES
        if "classification" in baseline(name).kinds
        and baseline(name).falls_back(support).tolist() == [True, False, False, False]
    }
    assert counted == FITTED.intersection(NAMES) | {"logistic_regression", "shrinkage_lda"}
    one_shot = exact(shot=1)
    lda = baseline("shrinkage_lda")
    assert lda.falls_back(one_shot.support).all()
    assert torch.equal(answers(lda, one_shot), answers(baseline("majority"), one_shot))


@pytest.mark.parametrize(("name", "kind"), [p.values for p in EVERY if p.values[0] in BATCHED])
def test_runs_on_the_meta_device(name: str, kind: Kind) -> None:
    """A tensor made on the wrong device, or a value read on the host, raises there."""
    batch = episodes(kind).to(torch.device("meta"))
    method = baseline(name).to("meta")
    assert answers(method, batch).device.type == "meta"
    assert method.falls_back(batch.support).device.type == "meta"


# --- their numbers


def loop(
    batch: Episodes, fit: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
) -> torch.Tensor:
    """`fit` for every task: (x, y, query) -> log-probabilities or numbers."""
    tensors = (batch.support.x, batch.support.y, batch.query_x)
    tasks = zip(*(each.numpy() for each in tensors), strict=True)
    return torch.from_numpy(np.stack([fit(*task) for task in tasks]))


def probabilities(make: Callable[[], Any]) -> Callable[..., np.ndarray]:
    def fit(x: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        return make().fit(x, y).predict_proba(query)

    return fit


def numbers(make: Callable[[], Any]) -> Callable[..., np.ndarray]:
    def fit(x: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        return make().fit(x, y).predict(query)[:, None]

    return fit


def clipped(probability: torch.Tensor) -> torch.Tensor:
    floored = probability.clamp(min=LEAST_PROBABILITY)
    return (floored / floored.sum(dim=2, keepdim=True)).log()


def unbalanced(**sizes: Any) -> Episodes:
    """Blobs that overlap, with 7, 3 and 2 rows a class."""
    batch = exact(shot=4, **sizes)
    y = torch.tensor([0, 1, 2, 0, 1, 0, 0, 1, 2, 0, 0, 0]).expand_as(batch.support.y)
    return replace(batch, support=replace(batch.support, y=y.contiguous()))


def gaussian(x: np.ndarray, y: np.ndarray, query: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """log p(class | query) of Gaussians that share a covariance, by the textbook."""
    precision = np.linalg.inv(covariance)
    scores = []
    for c in np.unique(y):
        off = query - x[y == c].mean(axis=0)
        scores.append(np.log((y == c).mean()) - np.einsum("qf,fg,qg->q", off, precision, off) / 2)
    return torch.from_numpy(np.stack(scores, axis=1)).log_softmax(dim=1).numpy()


def residuals(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x - np.stack([x[y == c].mean(axis=0) for c in y])


def test_majority() -> None:
    batch = unbalanced()
    expected = torch.tensor([7, 3, 2], dtype=torch.float64).div(12).log().expand(4, 7, 3)
    assert torch.allclose(answers(baseline("majority"), batch), expected)
    numeric = exact("regression")
    means = numeric.support.y.mean(dim=1)[:, None, None].expand(4, 7, 1)
    assert torch.allclose(answers(baseline("majority"), numeric), means)


def test_nearest_centroid() -> None:
    def fit(x: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        far = [((query - x[y == c].mean(axis=0)) ** 2).sum(axis=1) for c in range(3)]
        return torch.from_numpy(-np.stack(far, axis=1) / 5.0).log_softmax(dim=1).numpy()

    batch = unbalanced()
    out = answers(baseline("nearest_centroid", temperature=5.0), batch)
    assert torch.allclose(out, loop(batch, fit), atol=1e-10)


def test_diagonal_lda() -> None:
    def fit(x: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        variance = (residuals(x, y) ** 2).sum(axis=0) / (12 - 3)
        trust = 12 / (12 + 4)
        return gaussian(x, y, query, np.diag(trust * variance + 1 - trust))

    batch = unbalanced()
    out = answers(baseline("diagonal_lda", prior_rows=4.0), batch)
    assert torch.allclose(out, loop(batch, fit), atol=1e-10)


@pytest.mark.parametrize("n_features", [1, 2, 5, 40])
def test_shrinkage_lda(n_features: int) -> None:
    def fit(x: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        return gaussian(x, y, query, ledoit_wolf(residuals(x, y), assume_centered=True)[0])

    batch = unbalanced(n_features=n_features)
    out = answers(baseline("shrinkage_lda"), batch)
    assert torch.allclose(out, loop(batch, fit), atol=1e-8)


@pytest.mark.parametrize("var_smoothing", [1e-9, 0.3])
def test_naive_bayes(var_smoothing: float) -> None:
    def fit(x: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        return GaussianNB(var_smoothing=var_smoothing).fit(x, y).predict_log_proba(query)

    batch = unbalanced()
    out = answers(baseline("naive_bayes", var_smoothing=var_smoothing), batch)
    assert torch.allclose(out, loop(batch, fit), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("k", [1, 3, 12, 50])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_knn(k: int, weights: str, p: float) -> None:
    settings = {"n_neighbors": min(k, 12), "weights": weights, "p": p}
    batch = unbalanced(n_features=3)
    batch.query_x[:, 0] = batch.support.x[:, 5]  # at distance 0
    method = baseline("knn", k=k, weights=weights, p=p)
    expected = loop(batch, probabilities(lambda: KNeighborsClassifier(**settings)))
    assert torch.allclose(answers(method, batch), clipped(expected), atol=1e-9)
    numeric = exact("regression", shot=12)
    numeric.query_x[:, 0] = numeric.support.x[:, 5]
    expected = loop(numeric, numbers(lambda: KNeighborsRegressor(**settings)))
    assert torch.allclose(answers(method, numeric), expected, atol=1e-9)


def test_gaussian_process() -> None:
    batch = exact("regression", n_features=2)
    method = baseline("gaussian_process", lengthscale=1.3, scale=0.7, noise=0.2)
    means, spreads = answers(method, batch), method.spread(batch.support, batch.query_x)
    assert spreads is not None
    for task in range(batch.n_tasks):
        x, y = batch.support.x[task].numpy(), batch.support.y[task].numpy()
        kernel = ConstantKernel(0.7**2, "fixed") * RBF(1.3, "fixed")
        process = GaussianProcessRegressor(kernel, alpha=0.2**2, optimizer=None).fit(x, y)
        mean, sd = process.predict(batch.query_x[task].numpy(), return_std=True)
        assert np.allclose(means[task, :, 0], mean)
        assert np.allclose(spreads[task], np.hypot(sd, 0.2))


def test_sinusoid() -> None:
    def fit(x: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        waves = [np.concatenate([np.sin(each), np.cos(each)], axis=1) for each in (x, query)]
        return waves[1] @ np.linalg.lstsq(waves[0], y)[0][:, None]

    batch = exact("regression", shot=12, n_features=3)
    out = answers(baseline("sinusoid"), batch)
    assert torch.allclose(out, loop(batch, fit), rtol=0, atol=1e-4)


def test_sinusoid_knows_its_source() -> None:
    source, settings = built("source", "sinusoid"), protocol(shot=5, query=10)
    episodes = sample(source, "test", settings, 200, torch.Generator().manual_seed(0))
    answer_TQ1 = baseline("sinusoid").predict(episodes.support, episodes.query_x)
    assert float((answer_TQ1[..., 0] - episodes.query_y).square().mean()) < 1e-4


@pytest.mark.parametrize("alpha", [0.1, 10.0])
@pytest.mark.parametrize("n_features", [3, 40])
def test_ridge(alpha: float, n_features: int) -> None:
    batch = exact("regression", shot=10, n_features=n_features)
    batch.support.y.add_(5.0)
    expected = loop(batch, numbers(lambda: Ridge(alpha=alpha)))
    assert torch.allclose(answers(baseline("ridge", alpha=alpha), batch), expected, atol=1e-9)


@pytest.mark.parametrize("steps", [0, 1, 30])
@pytest.mark.parametrize(
    ("optimizer", "make"),
    [
        ("sgd", lambda w: SGD([w], lr=0.05)),
        ("momentum", lambda w: SGD([w], lr=0.05, momentum=0.9, nesterov=True)),
        ("rmsprop", lambda w: RMSprop([w], lr=0.05)),
        ("adam", lambda w: Adam([w], lr=0.05)),
    ],
)
def test_gradient_descent(
    optimizer: str, make: Callable[[torch.Tensor], torch.optim.Optimizer], steps: int
) -> None:
    """Each task by itself, along gradients that PyTorch finds."""
    batch = exact("regression", n_features=3)
    method = baseline("gradient_descent", optimizer=optimizer, lr=0.05, steps=steps)
    out = answers(method, batch)
    for task in range(batch.n_tasks):
        x, y = batch.support.x[task], batch.support.y[task]
        w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        stepping = make(w)
        for _ in range(steps):
            stepping.zero_grad()
            ((x @ w - y) ** 2).mean().backward()
            stepping.step()
        assert torch.allclose(out[task, :, 0], batch.query_x[task] @ w.detach(), atol=1e-12)
    assert not method.falls_back(batch.support).any()


def test_one_step_of_gradient_descent_in_closed_form() -> None:
    batch = exact("regression")
    x, y = batch.support.x.numpy(), batch.support.y.numpy()
    w = 0.1 * 2 * np.einsum("tsf,ts->tf", x, y) / x.shape[1]
    expected = np.einsum("tqf,tf->tq", batch.query_x.numpy(), w)
    method = baseline("gradient_descent", optimizer="sgd", lr=0.1, steps=1)
    assert np.allclose(answers(method, batch)[..., 0], expected)


def test_gradient_descent_that_diverges_says_so() -> None:
    """Rows a hundred times as long as others are too long for the rate, in their task alone."""
    batch = exact("regression")
    batch.support.x[1] *= 100
    method = baseline("gradient_descent", optimizer="sgd", lr=0.1, steps=100)
    assert method.falls_back(batch.support).tolist() == [False, True, False, False]
    assert torch.allclose(answers(method, batch)[1], batch.support.y[1].mean())
    early = baseline("gradient_descent", optimizer="sgd", lr=0.1, steps=3)
    assert not early.falls_back(batch.support).any()  # bad, but numbers
    assert answers(early, batch)[1].abs().max() > 1e3


# Asked for the last digits, scikit-learn's search finds nothing better and warns.
@pytest.mark.filterwarnings("ignore:.*[Ll]ine search")
@pytest.mark.parametrize("c", [0.1, 1.0, 100.0])
@pytest.mark.parametrize(
    ("way", "shot", "n_features"), [(2, 1, 5), (2, 10, 5), (3, 4, 40), (5, 5, 4), (12, 2, 20)]
)
def test_logistic_regression(way: int, shot: int, n_features: int, c: float) -> None:
    batch = exact(way=way, shot=shot, n_features=n_features)
    batch.support.x.add_(3.0)  # an intercept is needed
    batch.query_x.add_(3.0)
    expected = loop(
        batch,
        probabilities(lambda: LogisticRegression(C=c, solver="newton-cg", tol=1e-10, max_iter=500)),
    )
    out = answers(baseline("logistic_regression", c=c), batch)
    assert torch.allclose(out.exp(), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_trees_are_those_of_scikit_learn(kind: Kind) -> None:
    batch = unbalanced() if kind == "classification" else exact("regression", shot=12)
    forest, boosting = (
        (RandomForestClassifier, GradientBoostingClassifier)
        if kind == "classification"
        else (RandomForestRegressor, GradientBoostingRegressor)
    )
    of_library = {
        "random_forest": lambda: forest(7, max_features="log2", random_state=3),
        "gradient_boosting": lambda: boosting(
            n_estimators=7,
            learning_rate=0.3,
            max_depth=3,
            max_features="log2",
            random_state=3,
        ),
    }
    settings: dict[str, dict[str, Any]] = {
        "random_forest": {"trees": 7},
        "gradient_boosting": {"stages": 7, "learning_rate": 0.3, "max_depth": 3},
    }
    for name, make in of_library.items():
        out = answers(baseline(name, max_features="log2", random_state=3, **settings[name]), batch)
        if kind == "regression":
            assert torch.allclose(out, loop(batch, numbers(make)), atol=1e-12)
        else:
            assert torch.allclose(out, clipped(loop(batch, probabilities(make))), atol=1e-6)


@pytest.mark.parametrize("way", [2, 3])
def test_support_vectors_are_those_of_scikit_learn(way: int) -> None:
    """The likeliest class is the one predicted; of two, the margin is the log of their odds."""
    batch = exact(way=way, shot=3, n_query=30, n_tasks=6)
    settings: dict[str, Any] = {"kernel": "sigmoid", "gamma": 0.02}
    out = answers(baseline("svc", c=10.0, **settings), batch)
    for task in range(batch.n_tasks):
        machine = SVC(C=10.0, **settings)
        machine.fit(batch.support.x[task].numpy(), batch.support.y[task].numpy())
        query = batch.query_x[task].numpy()
        assert np.array_equal(out[task].argmax(dim=1).numpy(), machine.predict(query))
        if way == 2:
            odds = (out[task, :, 1] - out[task, :, 0]).numpy()
            assert np.allclose(odds, machine.decision_function(query), atol=1e-6)


def test_any_number_of_workers_answers_the_same() -> None:
    batch = exact()
    alone, together = (answers(baseline("random_forest", workers=n), batch) for n in (1, 2))
    assert torch.equal(alone, together)


def test_a_worker_starts_without_torch() -> None:
    for module in ("worker", "margins"):
        code = f"import metamine.methods.baseline.{module}, sys; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- categories


def categorical(kind: Kind, seed: int = 0) -> tuple[Episodes, np.ndarray]:
    """Tasks whose first two columns are categories, also as 0/1 columns: [support, query] rows."""
    batch = exact(kind, shot=4, way=3, seed=seed)
    g = torch.Generator().manual_seed(seed)
    x = torch.cat([batch.support.x, batch.query_x], dim=1)
    x[..., :2] = torch.randint(0, 4, (*x.shape[:2], 2), generator=g) * 0.7 - 1
    n_support = batch.support.y.shape[1]
    mask = torch.tensor([True, True, False, False, False]).expand(4, -1)
    expanded = []
    for task in x.numpy():
        # All levels, those of the query too: the distance to an unseen level is that to another.
        coder = OneHotEncoder(sparse_output=False).fit(task[:, :2])
        wide = np.zeros((len(task), 3 + 8))
        one_hot = coder.transform(task[:, :2])
        wide[:, :3], wide[:, 3 : 3 + one_hot.shape[1]] = task[:, 2:], one_hot
        expanded.append(wide)
    support = replace(batch.support, x=x[:, :n_support], categorical=mask)
    return replace(batch, support=support, query_x=x[:, n_support:]), np.stack(expanded)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nearest_centroid", "classification"),
        ("logistic_regression", "classification"),
        ("knn", "classification"),
        ("knn", "regression"),
        ("ridge", "regression"),
    ],
)
def test_categories_are_one_hot(name: str, kind: Kind) -> None:
    """The same answers as with the one-hot columns built; all-zero columns bear no weight."""
    batch, wide = categorical(kind)
    n_support, rows = batch.support.y.shape[1], torch.from_numpy(wide)
    support = replace(
        batch.support,
        x=rows[:, :n_support],
        feature_mask=torch.ones(4, 11, dtype=torch.bool),
        categorical=torch.zeros(4, 11, dtype=torch.bool),
    )
    built_columns = replace(batch, support=support, query_x=rows[:, n_support:])
    method = baseline(name)
    assert torch.allclose(answers(method, batch), answers(method, built_columns), atol=1e-7)
    as_numbers = replace(
        batch, support=replace(batch.support, categorical=support.categorical[:, :5])
    )
    assert not torch.allclose(answers(method, batch), answers(method, as_numbers), atol=1e-3)


def test_categories_in_the_discriminants() -> None:
    batch, wide = categorical("classification")
    x, query = wide[:, :12], wide[:, 12:]
    for name in ("shrinkage_lda", "diagonal_lda"):
        out = answers(baseline(name), batch)
        for task in range(4):
            y = batch.support.y[task].numpy()
            shown = x[task].any(axis=0)  # levels of the support
            off = residuals(x[task], y)
            if name == "shrinkage_lda":
                covariance = ledoit_wolf(off[:, shown], assume_centered=True)[0]
            else:
                trust = 12 / (12 + 10)
                variance = trust * (off**2).sum(axis=0) / (12 - 3) + 1 - trust
                variance[3:] = 1.0
                covariance = np.diag(variance[shown])
            expected = gaussian(x[task][:, shown], y, query[task][:, shown], covariance)
            assert np.allclose(out[task].numpy(), expected, atol=1e-7)


def test_missing_is_a_level() -> None:
    batch, _ = categorical("classification")
    holes, other = batch.support.x.clone(), batch.support.x.clone()
    query_holes, query_other = batch.query_x.clone(), batch.query_x.clone()
    for gap, level, rows in ((holes, other, 5), (query_holes, query_other, 3)):
        gap[:, :rows, 0], level[:, :rows, 0] = torch.nan, 9.0
    for name in ("nearest_centroid", "shrinkage_lda", "diagonal_lda", "knn", "logistic_regression"):
        gaps = replace(batch, support=replace(batch.support, x=holes), query_x=query_holes)
        levels = replace(batch, support=replace(batch.support, x=other), query_x=query_other)
        assert torch.allclose(answers(baseline(name), gaps), answers(baseline(name), levels))
