"""Synthetic tables: of the sizes asked for, as configured, and neither hopeless nor trivial."""

from __future__ import annotations

from copy import deepcopy
from functools import cache, reduce
from itertools import pairwise
from operator import getitem
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from making import protocol
from omegaconf import OmegaConf
from scipy import stats
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.tree import DecisionTreeRegressor

from metamine.confdir import conf_dir
from metamine.config import build
from metamine.errors import UsageError
from metamine.sampler import sample
from metamine.sources.base import Shape
from metamine.sources.synthetic.classes import (
    by_interval,
    by_largest,
    class_sizes,
    classes_in_order,
    last_in_parts,
)
from metamine.sources.synthetic.columns import Columns
from metamine.sources.synthetic.drawing import sparse_weights
from metamine.sources.synthetic.source import Synthetic
from metamine.sources.table import Pack

few_examples = settings(derandomize=True, max_examples=30, deadline=None)

SHAPES = [
    Shape(way=5, shot=5, rows=None, query=15),
    Shape(way=2, shot=1, rows=None, query=1),
    Shape(way=3, shot=None, rows=10, query=5),
    Shape(way=5, shot=None, rows=1, query=1),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def config_of(name: str) -> dict[str, Any]:
    """conf/source/NAME.yaml and the ones it builds on."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(overrides=[f"+source={name}"])
    return cast(dict[str, Any], OmegaConf.to_container(config))["source"]


def source_of(name: str, **changes: Any) -> Synthetic:
    """What a config constructs; `changes` are keys with __ for the dots."""
    config = deepcopy(config_of(name))
    for key, value in changes.items():
        *parents, last = key.split("__")
        reduce(getitem, parents, config)[last] = value
    return cast(Synthetic, build(config))


def synthetic_names(kind: str) -> list[str]:
    """The configs of this source on disk, among them those that build on another."""
    names = [path.stem for path in sorted((Path(conf_dir()) / "source").glob("*.yaml"))]
    found = [
        name
        for name in names
        if "Synthetic" in config_of(name)["_target_"] and config_of(name)["kind"] == kind
    ]
    assert found
    return found


CLASSIFICATION = synthetic_names("classification")
REGRESSION = synthetic_names("regression")


def tables_of(pack: Pack) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells (B, M, F) and targets (B, M) of a pack whose tables are of one size."""
    return pack.cells.reshape(len(pack), -1, int(pack.stride[0])), pack.targets.reshape(
        len(pack), -1
    )


# The source


@pytest.mark.parametrize("name", CLASSIFICATION)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_class_has_its_rows(name: str, shape: Shape) -> None:
    source = source_of(name)
    pack = source.pack("train", shape, 40, seeded())
    x_BMF, y_BM = tables_of(pack)
    assert len(pack) == len(pack.names) == 40
    assert pack.class_count.shape == (40, shape.way)
    assert (pack.class_count >= shape.rows_of_class).all()
    assert (pack.class_count.sum(dim=1) >= shape.rows_of_table).all()
    assert torch.equal(
        pack.class_count, torch.stack([y.bincount(minlength=shape.way) for y in y_BM])
    )
    low, high = source.features
    assert low <= pack.n_features.min()
    assert pack.n_features.max() <= high
    assert len(pack.n_features.unique()) > 5
    assert not x_BMF.isinf().any()
    assert set(pack.names) <= {prior for prior, weight in source.weights.items() if weight}


@pytest.mark.parametrize("name", REGRESSION)
@pytest.mark.parametrize(
    "shape",
    [Shape(0, shot=10, rows=None, query=15), Shape(0, shot=None, rows=10, query=5)],
    ids=str,
)
def test_regression_targets_are_in_their_standard_deviations(name: str, shape: Shape) -> None:
    pack = source_of(name).pack("train", shape, 40, seeded())
    x_BMF, y_BM = tables_of(pack)
    assert (pack.class_count >= max(shape.rows_of_class, shape.rows_of_table)).all()
    torch.testing.assert_close(y_BM.mean(dim=1), torch.zeros(40), atol=1e-5, rtol=0)
    torch.testing.assert_close(y_BM.std(dim=1, correction=0), torch.ones(40), atol=1e-4, rtol=0)
    assert not x_BMF.isinf().any()
    assert len(set(pack.names)) == 3


@pytest.mark.parametrize("name", CLASSIFICATION + REGRESSION)
def test_the_generator_decides(name: str) -> None:
    source = source_of(name)
    shape = SHAPES[0] if source.kind == "classification" else Shape(0, 10, None, 15)
    generator = seeded()
    first, second = (source.pack("train", shape, 20, generator) for _ in range(2))
    again = source.pack("test", shape, 20, seeded())
    torch.testing.assert_close(first.cells, again.cells, equal_nan=True, atol=0, rtol=0)
    assert first.targets.equal(again.targets)
    assert first.names == again.names
    assert not first.cells[:50].equal(second.cells[:50])


def test_priors_come_as_often_as_they_weigh() -> None:
    source = source_of("synthetic")
    pack = source.pack("train", SHAPES[1], 3000, seeded())
    counts = [pack.names.count(name) for name in source.weights]
    share = np.array(list(source.weights.values()))
    assert stats.chisquare(counts, 3000 * share / share.sum()).pvalue > 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"shot": (1, 5)},
        {"shot": None, "rows": 5},
        {"shot": None, "rows": (3, 15), "draw": "natural", "one_class": "keep"},
        {"columns": (2, 5)},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["synthetic", "synthetic_regression"])
def test_episodes_of_any_protocol(name: str, settings: dict[str, Any]) -> None:
    source = source_of(name)
    for seed in range(3):
        episodes = sample(source, "train", protocol(**settings), 16, seeded(seed))
        support = episodes.support
        assert episodes.n_tasks == 16
        assert support.kind == source.kind
        assert episodes.query_x.nan_to_num(0.0).abs().max() <= 10
        assert not support.x.masked_select(~support.feature_mask[:, None]).any()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weights", {"linear": 1}, "weights name"),
        ("weights", {"random_network": 0, "gaussian_clusters": 0, "linear": 0}, "all weights are"),
        ("features", [20, 2], "features runs from 20 to 2: put the smaller first"),
        ("columns__tails", [1.0, 0.5], "tails runs from 1.0 to 0.5"),
        ("priors__linear__relevant", [0.0, 1.5], "relevant=.*: 1.5 must be"),
        ("priors__random_network__width", 0, "width=0 must be"),
    ],
)
def test_settings_that_make_no_sense(key: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        source_of("synthetic", **{key: value})


# What can be learnt


@pytest.mark.parametrize("prior", ["random_network", "gaussian_clusters", "linear"])
def test_tasks_are_neither_hopeless_nor_trivial(prior: str) -> None:
    """Logistic regression at 5-way 5-shot: far from chance and from certainty, and of all sorts."""
    settings = protocol(way=5, shot=5, query=15)
    episodes = sample(source_of(prior), "train", settings, 60, seeded())
    model = LogisticRegression(max_iter=300)
    accuracies = [
        (model.fit(support_x, support_y).predict(query_x) == query_y).mean()
        for support_x, support_y, query_x, query_y in zip(
            episodes.support.x.nan_to_num(0.0).numpy(),
            episodes.support.y.numpy(),
            episodes.query_x.nan_to_num(0.0).numpy(),
            episodes.query_y.numpy(),
            strict=True,
        )
    ]
    assert 0.35 < np.mean(accuracies) < 0.7
    assert np.std(accuracies) > 0.08


CLEAN = {
    "columns__irrelevant": 0.0,
    "columns__tails": [0.001, 0.001],
    "columns__discrete": 0.0,
    "columns__gappy": 0.0,
}


def test_linear_targets_are_linear_in_the_real_columns() -> None:
    source = source_of("linear", **CLEAN, kind="regression", priors__linear__noise=[0.001, 0.001])
    pack = source.pack("train", Shape(0, shot=60, rows=None, query=60), 20, seeded())
    for x_MF, y_M, n_features in zip(*tables_of(pack), pack.n_features.tolist(), strict=True):
        x_MF = x_MF[:, :n_features]
        assert LinearRegression().fit(x_MF, y_M).score(x_MF, y_M) > 0.99


def test_trees_are_trees_of_the_first_columns() -> None:
    one = {f"priors__trees__{key}": [1, 1] for key in ("columns", "trees", "depth")}
    source = source_of(
        "pretraining",
        **CLEAN,
        **one,
        kind="regression",
        weights={"trees": 1, "linear": 0, "random_network": 0, "gaussian_clusters": 0},
        priors__trees__noise=[0.001, 0.001],
    )
    pack = source.pack("train", Shape(0, shot=60, rows=None, query=60), 20, seeded())
    for x_MF, y_M in zip(*tables_of(pack), strict=True):
        stump = DecisionTreeRegressor(max_depth=1).fit(x_MF[:, :1], y_M)
        assert stump.score(x_MF[:, :1], y_M) > 0.99


def test_trees_of_more_columns_are_none_of_one() -> None:
    source = source_of(
        "pretraining",
        **CLEAN,
        kind="regression",
        weights={"trees": 1, "linear": 0, "random_network": 0, "gaussian_clusters": 0},
        priors__trees__columns=[6, 6],
        priors__trees__depth=[3, 3],
    )
    pack = source.pack("train", Shape(0, shot=60, rows=None, query=60), 20, seeded())
    scores = [
        DecisionTreeRegressor(max_leaf_nodes=8).fit(x_MF[:, :1], y_M).score(x_MF[:, :1], y_M)
        for x_MF, y_M in zip(*tables_of(pack), strict=True)
    ]
    assert np.mean(scores) < 0.7


@pytest.mark.parametrize(
    ("separation", "lowest", "highest"), [(100.0, 0.9, 1.0), (0.01, 0.45, 0.55)]
)
def test_clusters_are_as_separate_as_asked(
    separation: float, lowest: float, highest: float
) -> None:
    """Rows' nearest neighbours are of their class, or of any."""
    prior = {"separation": [separation] * 2, "noise": [0.01, 0.01], "stretch": [1.0, 1.0]}
    source = source_of(
        "gaussian_clusters",
        **CLEAN,
        **{f"priors__gaussian_clusters__{key}": value for key, value in prior.items()},
        features=[10, 10],
        imbalance=0.0,
    )
    pack = source.pack("train", Shape(2, shot=20, rows=None, query=20), 40, seeded())
    x_BMF, y_BM = tables_of(pack)
    distance_BMM = torch.cdist(x_BMF, x_BMF).diagonal_scatter(
        torch.full(y_BM.shape, torch.inf), dim1=1, dim2=2
    )
    agree = y_BM.gather(1, distance_BMM.argmin(dim=2)) == y_BM
    assert lowest <= agree.float().mean() <= highest


def test_classes_that_are_compact_are_one_cluster_each() -> None:
    """Then a row far from all centres but its own is nearest to its class's mean."""
    clean = {**CLEAN, "features": [8, 8], "imbalance": 0.0}
    far = {"clusters": [4, 4], "separation": [30.0, 30.0], "stretch": [1.0, 1.0]}
    prior = {f"priors__gaussian_clusters__{key}": value for key, value in far.items()}
    for way, compact, least, most in ((5, 1.0, 0.9, 1.0), (5, 0.0, 0.0, 0.8), (2, 1.0, 0.0, 0.9)):
        changes = {**clean, **prior, "priors__gaussian_clusters__compact": compact}
        source = source_of("gaussian_clusters", **changes)
        pack = source.pack("train", Shape(way, shot=20, rows=None, query=20), 40, seeded())
        right = [
            NearestCentroid().fit(x, y).score(x, y)
            for x, y in zip(*(each.numpy() for each in tables_of(pack)), strict=True)
        ]
        assert least <= np.mean(right) <= most


def test_network_columns_hang_together() -> None:
    """With one cause and no noise, every column is a function of one number."""
    prior = {"causes": [1, 1], "noise": [0.001, 0.001], "activations": 0.0}
    source = source_of(
        "random_network",
        **CLEAN,
        **{f"priors__random_network__{key}": value for key, value in prior.items()},
        features=[6, 6],
    )
    pack = source.pack("train", Shape(2, shot=100, rows=None, query=100), 20, seeded())
    x_BMF, _ = tables_of(pack)
    # Rows next to each other in one column are near in the others, if few columns are folded:
    # the distance of nearest neighbours is that of points on a curve, not in six dimensions.
    nearest = torch.cdist(x_BMF, x_BMF).kthvalue(2, dim=2).values.median(dim=1).values
    scattered = torch.randn(x_BMF.shape, generator=seeded())
    apart = torch.cdist(scattered, scattered).kthvalue(2, dim=2).values.median()
    spread = x_BMF.std(dim=1).norm(dim=1) / 6**0.5
    assert (nearest / spread < apart / 5).all()


# Classes


@few_examples
@given(
    way=st.integers(2, 6),
    least=st.integers(1, 5),
    spare=st.integers(0, 30),
    imbalance=st.floats(0, 4),
)
def test_class_sizes_add_up(way: int, least: int, spare: int, imbalance: float) -> None:
    n_rows = way * least + spare
    sizes = class_sizes(20, way, n_rows, least, imbalance, seeded())
    assert (sizes >= least).all()
    assert (sizes.sum(dim=1) == n_rows).all()
    if imbalance == 0:
        assert (sizes.max(dim=1).values - sizes.min(dim=1).values <= 1).all()


def test_imbalance_makes_classes_differ() -> None:
    ratio = [
        class_sizes(500, 2, 1000, 1, imbalance, seeded()).max(dim=1).values.float().mean()
        for imbalance in (0.0, 1.0, 3.0)
    ]
    assert all(low + 30 < high for low, high in pairwise(ratio))


def test_the_last_class_in_parts() -> None:
    whole = class_sizes(300, 3, 60, 5, 1.0, seeded())
    parts = last_in_parts(whole, 0.5, (3, 4), seeded())
    assert parts.shape == (300, 2 + 4)
    assert parts[:, :2].equal(whole[:, :2])
    assert parts[:, 2:].sum(dim=1).equal(whole[:, 2])
    assert (parts >= 0).all()
    merged = parts[:, 3:].any(dim=1)
    assert 0.4 < merged.float().mean() < 0.6
    assert (parts[merged][:, 4].count_nonzero() > 0.9 * merged.sum()).all()


def test_a_merged_class_lies_in_several_places() -> None:
    """One cluster each: a straight line tells two classes, but not one from a rest on all sides."""
    settings = {
        "weights": {"trees": 0, "linear": 0, "random_network": 0, "gaussian_clusters": 1},
        "features": [2, 2],
        "imbalance": 0.0,
        "priors__gaussian_clusters__latents": 2,
        "priors__gaussian_clusters__clusters": [1, 1],
        "priors__gaussian_clusters__separation": [30.0, 30.0],
        "priors__gaussian_clusters__mixing": [1.0, 1.0],
        "parts_of_last": [5, 5],
        **CLEAN,
    }
    scores = []
    for merged in (0.0, 1.0):
        source = source_of("pretraining", **settings, merged=merged)
        pack = source.pack("train", Shape(2, shot=60, rows=None, query=60), 30, seeded())
        assert pack.targets.max() == 1
        tables = zip(*(each.numpy() for each in tables_of(pack)), strict=True)
        scores.append(np.mean([LogisticRegression().fit(x, y).score(x, y) for x, y in tables]))
    assert scores[0] > 0.95
    assert scores[1] < 0.9


def test_classes_in_order() -> None:
    assert classes_in_order(torch.tensor([[2, 0, 1], [1, 1, 1]])).tolist() == [[0, 0, 2], [0, 1, 2]]


@few_examples
@given(most=st.integers(1, 4), way=st.integers(2, 5), seed=st.integers(0, 1000))
def test_intervals_have_their_sizes_and_no_more_pieces(most: int, way: int, seed: int) -> None:
    generator = seeded(seed)
    sizes = class_sizes(8, way, 60, 3, 1.0, generator)
    score = torch.randn(8, 60, generator=generator)
    y = by_interval(score, sizes, (1, most), generator)
    assert torch.stack([each.bincount(minlength=way) for each in y]).equal(sizes)
    in_order = y.gather(1, score.argsort(dim=1))
    n_intervals = (in_order.diff(dim=1) != 0).sum(dim=1) + 1
    assert (n_intervals <= most * way).all()
    if most == 1:
        assert (n_intervals == way).all()


def test_interval_classes_come_in_any_order() -> None:
    sizes = torch.full((3000, 3), 4)
    score = torch.arange(12.0).repeat(3000, 1)
    y = by_interval(score, sizes, (1, 1), seeded())
    orders = (y[:, 0] * 3 + y[:, 4]).unique(return_counts=True)[1]
    assert len(orders) == 6
    assert stats.chisquare(orders).pvalue > 1e-3


def test_largest_score_decides_where_sizes_allow() -> None:
    score = torch.randn(50, 4, 80, generator=seeded())
    wanted = score.argmax(dim=1)
    sizes = torch.stack([each.bincount(minlength=4) for each in wanted])
    assert by_largest(score, sizes).equal(wanted)


def test_largest_score_gives_way_to_sizes() -> None:
    score = torch.randn(50, 4, 80, generator=seeded())
    sizes = class_sizes(50, 4, 80, 5, 2.0, seeded())
    y = by_largest(score, sizes)
    assert torch.stack([each.bincount(minlength=4) for each in y]).equal(sizes)
    assert (y == score.argmax(dim=1)).float().mean() > 0.5


# Weights and columns


def test_sparse_weights() -> None:
    allowed = torch.rand(400, 1, 12, generator=seeded()) < 0.7
    allowed[:, :, 0] = True
    probability = torch.full((400, 1, 1), 0.3)
    weight = sparse_weights(probability, allowed, 5, seeded())
    assert not weight.masked_select(~allowed).any()
    torch.testing.assert_close(weight.norm(dim=2), torch.ones(400, 5))
    # Where 12 inputs are allowed, all are absent 0.7^12 = 1.4% of the time, and one is put back.
    full = allowed.all(dim=2).expand(-1, 5)
    n_kept = (weight != 0).sum(dim=2)[full]
    assert n_kept.float().mean().item() == pytest.approx(12 * 0.3, abs=0.4)
    never = sparse_weights(torch.zeros(400, 1, 1), allowed, 5, seeded())
    assert ((never != 0).sum(dim=2) == 1).all()


def columns(**changes: Any) -> Columns:
    plain = {
        "irrelevant": 0.0,
        "tails": (0.5, 0.5),
        "skew": (0.0, 0.0),
        "discrete": 0.0,
        "levels": (2, 6),
        "alike": 0.0,
        "bend": (1 / 3, 3.0),
        "categorical": 0.0,
        "told": 1.0,
        "gappy": 0.0,
        "missing": 0.0,
    }
    return Columns(**plain | changes)  # type: ignore[arg-type]


def latent() -> torch.Tensor:
    return 3 + 2 * torch.randn(30, 6, 200, generator=seeded(5))


def test_scales_are_bent_but_keep_their_order() -> None:
    x, categorical = columns(tails=(0.2, 1.0), skew=(-1.0, 1.0)).measure(latent(), seeded())
    assert x.argsort(dim=2).equal(latent().argsort(dim=2))
    assert not categorical.any()
    z = (latent() - latent().mean(2, keepdim=True)) / latent().std(2, correction=0, keepdim=True)
    straight, _ = columns().measure(latent(), seeded())
    torch.testing.assert_close(straight, torch.sinh(0.5 * z), atol=1e-4, rtol=1e-4)


def test_skew_makes_long_tails_on_one_side() -> None:
    for skew, sign in ((2.0, 1), (-2.0, -1)):
        x, _ = columns(tails=(1.0, 1.0), skew=(skew, skew)).measure(latent(), seeded())
        assert (sign * stats.skew(x.numpy(), axis=2)).mean() > 1


def test_irrelevant_columns_are_noise() -> None:
    x, _ = columns(irrelevant=0.9, tails=(0.01, 0.01)).measure(latent(), seeded())
    same = [
        abs(np.corrcoef(ours, theirs)[0, 1])
        for ours, theirs in zip(x.reshape(-1, 200), latent().reshape(-1, 200), strict=True)
    ]
    assert all(each > 0.999 or each < 0.35 for each in same)
    assert np.mean([each < 0.35 for each in same]) == pytest.approx(0.45, abs=0.12)


@pytest.mark.parametrize("categorical", [0.0, 1.0])
def test_levels_and_codes(categorical: float) -> None:
    source = latent()
    x, flagged = columns(discrete=1.0, categorical=categorical).measure(latent(), seeded())
    whole = (x == x.round()).all(dim=2)
    assert 0.3 < whole.float().mean() < 0.7
    assert flagged.equal(whole if categorical else torch.zeros_like(whole))
    levels = x[whole]
    assert levels.min() == 0
    assert levels.max() == 5
    orders = [
        code.gather(0, value.argsort()).diff().sign()
        for code, value in zip(levels, source[whole], strict=True)
    ]
    rising = [bool((order >= 0).all()) for order in orders]
    assert all(rising) if not categorical else 0.1 < np.mean(rising) < 0.6
    # A code stands for one interval, whatever its number.
    assert all((order != 0).sum() <= 5 for order in orders)


def test_levels_of_a_table_are_alike() -> None:
    """Of tables of [2, 6] levels, log 1.5 / log 3.5 have but two, and each number is met."""
    settings = {"discrete": 1.0, "levels": (2, 6), "bend": (1.0, 1.0)}
    source = torch.randn(2000, 8, 400, generator=seeded(5))
    alike, apart = (
        most_levels(columns(**settings, alike=share).measure(source.clone(), seeded())[0])
        for share in (1.0, 0.0)
    )
    assert set(alike.tolist()) == {2.0, 3.0, 4.0, 5.0, 6.0}
    assert (alike == 2).float().mean() == pytest.approx(np.log(1.5) / np.log(3.5), abs=0.1)
    assert (apart == 6).float().mean() == pytest.approx(1 - 0.8**8, abs=0.1)


def most_levels(x_TFM: torch.Tensor) -> torch.Tensor:
    """The most levels of a column, of each table all of whose columns are levels."""
    leveled_T = (x_TFM == x_TFM.round()).flatten(1).all(dim=1)
    return x_TFM[leveled_T].amax(dim=(1, 2)) + 1


def test_bend_fills_levels_unevenly() -> None:
    settings = {"discrete": 1.0, "levels": (2, 2)}
    for bend, share in ((1.0, 0.5), (10.0, 1 - 0.5**0.1), (0.1, 1 - 0.5**10)):
        x, _ = columns(**settings, bend=(bend, bend)).measure(latent(), seeded())
        whole = (x == x.round()).all(dim=2)
        assert x[whole].mean() == pytest.approx(share, abs=0.02)


def test_codes_that_pass_for_numbers() -> None:
    settings = {"discrete": 1.0, "categorical": 1.0}
    told, flagged = columns(**settings).measure(latent(), seeded())
    untold, unflagged = columns(**settings, told=0.0).measure(latent(), seeded())
    assert told.equal(untold)
    assert flagged.any()
    assert not unflagged.any()


def test_gaps() -> None:
    x, _ = columns(gappy=0.5, missing=0.4).measure(latent(), seeded())
    missing_TF = x.isnan().float().mean(dim=2)
    assert missing_TF.max() < 0.5
    assert 0.2 < (missing_TF > 0).any(dim=1).float().mean() < 0.7
    assert not columns(missing=0.4).measure(latent(), seeded())[0].isnan().any()
