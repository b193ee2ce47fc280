from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare, rankdata, trim_mean, wilcoxon

from metamine.bootstrap import bootstrap, interval
from metamine.ranks import Ranking, holm, interquartile_mean, interquartile_means
from metamine.scores import mean_of_tables

# Demšar (2006), table 6: AUC of C4.5 as it is, with m, with cf, and with both tuned. On voting
# (next to last) the paper prints 0.975 twice but ranks cf above m+cf: 0.97501 stands for that.
DEMSAR = """
0.763 0.768 0.771 0.798
0.599 0.591 0.590 0.569
0.954 0.971 0.968 0.967
0.628 0.661 0.654 0.657
0.882 0.888 0.886 0.898
0.936 0.931 0.916 0.931
0.661 0.668 0.609 0.685
0.583 0.583 0.563 0.625
0.775 0.838 0.866 0.875
1.000 1.000 1.000 1.000
0.940 0.962 0.965 0.962
0.619 0.666 0.614 0.669
0.972 0.981 0.97501 0.975
0.957 0.978 0.946 0.970
"""
NAMES = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")


def _results(
    value_MGE: np.ndarray, names: tuple[str, ...] = (), metric: str = "accuracy"
) -> pd.DataFrame:
    m, g, e = (axis.ravel() for axis in np.indices(value_MGE.shape))
    names = names or tuple(f"m{index}" for index in range(len(value_MGE)))
    return pd.DataFrame(
        {
            "method": [names[index] for index in m],
            "role": "baseline",
            "source": "shipped",
            "table": [f"t{index:03}" for index in g],
            "protocol": "5-shot",
            "episode": e,
            "fallback": False,
            "seed": 0,
            metric: value_MGE.ravel(),
        }
    )


def _random(
    methods: int, tables: int, episodes: int = 1, ties: bool = False, seed: int = 0
) -> np.ndarray:
    generator = np.random.default_rng(seed)
    value = generator.normal(size=(methods, tables, episodes))
    value += 0.8 * np.arange(methods)[:, None, None] / methods
    return np.round(value) if ties else value


def _demsar() -> Ranking:
    auc = np.array([line.split() for line in DEMSAR.split("\n") if line], dtype=float)
    return Ranking.of(_results(auc.T[..., None], NAMES), "accuracy")


def test_the_example_of_demsar() -> None:
    ranking = _demsar()
    found = dict(zip(ranking.methods, ranking.mean_rank_M.round(3).tolist(), strict=True))
    assert found == {"C4.5": 3.143, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}
    assert ranking.methods == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    # as printed: q = 2.569 for four methods at 5%, CD = 1.25
    assert ranking.critical_difference / np.sqrt(4 * 5 / (6 * 14)) == pytest.approx(2.569, abs=5e-4)
    assert ranking.critical_difference == pytest.approx(1.25, abs=0.005)
    # The paper's 9.28 and 3.69 are without the correction for ties.
    squares = float((ranking.mean_rank_M**2).sum())
    plain = 12 * 14 / (4 * 5) * (squares - 4 * 5**2 / 4)
    assert plain == pytest.approx(9.28, abs=0.005)
    assert 13 * plain / (14 * 3 - plain) == pytest.approx(3.69, abs=0.005)
    found_f = ranking.friedman()
    assert plain < found_f.chi2 < 1.12 * plain
    assert found_f.df == (3, 39)
    assert found_f.p_f < 0.025


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("metric", ["accuracy", "mse"])
def test_friedman_is_that_of_scipy(ties: bool, metric: str) -> None:
    value = _random(5, 12, episodes=1, ties=ties)
    ranking = Ranking.of(_results(value, metric=metric), metric)
    expected = friedmanchisquare(*value[..., 0])
    found = ranking.friedman()
    assert found.chi2 == pytest.approx(expected.statistic)
    assert found.p_chi2 == pytest.approx(expected.pvalue)
    assert found.f == pytest.approx(11 * found.chi2 / (12 * 4 - found.chi2))
    sign = 1 if metric == "mse" else -1
    ranks = rankdata(sign * value[..., 0], axis=0).mean(axis=1)
    names = [int(name[1:]) for name in ranking.methods]
    np.testing.assert_allclose(ranking.mean_rank_M, ranks[names])
    assert np.all(np.diff(ranking.mean_rank_M) >= 0)


def test_friedman_at_its_ends() -> None:
    alike = Ranking.of(_results(np.ones((3, 6, 2))), "accuracy").friedman()
    assert (alike.chi2, alike.p_chi2, alike.f, alike.p_f) == (0, 1, 0, 1)
    ordered = Ranking.of(_results(np.ones((3, 6, 2)) * np.arange(3)[:, None, None]), "accuracy")
    assert ordered.friedman().chi2 == pytest.approx(6 * 2)
    assert ordered.friedman().f == np.inf
    assert ordered.friedman().p_f == 0


def test_the_mean_over_episodes_is_ranked_and_noise_in_its_last_digit_is_a_tie() -> None:
    value = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.2, 0.21]])[:, None]
    assert value[0, 0].sum() != value[1, 0].sum()
    ranking = Ranking.of(_results(value), "accuracy")
    assert ranking.methods == ["m2", "m0", "m1"]
    np.testing.assert_array_equal(ranking.rank_GM, [[1, 2.5, 2.5]])
    np.testing.assert_array_equal(ranking.wins_MM(), [[0, 1, 1], [0, 0, 0], [0, 0, 0]])


def test_only_what_all_methods_have_is_ranked() -> None:
    results = _results(_random(3, 8, 4))
    lacking = (results["method"] == "m1") & (results["table"] == "t003")
    half = (results["method"] == "m2") & (results["table"] == "t005") & (results["episode"] < 2)
    ranking = Ranking.of(results[~lacking & ~half], "accuracy")
    assert (len(ranking.loss_GM), ranking.n_tables) == (7, 8)
    kept = (results["table"] != "t003") & ((results["table"] != "t005") | (results["episode"] > 1))
    expected = Ranking.of(results[kept], "accuracy")
    np.testing.assert_array_equal(ranking.loss_GM, expected.loss_GM)
    undefined = results.assign(accuracy=results["accuracy"].mask(lacking))
    assert len(Ranking.of(undefined, "accuracy").loss_GM) == 7
    none = results[(results["method"] == "m0") == (results["table"] == "t003")]
    assert not Ranking.of(none, "accuracy").enough
    assert not Ranking.of(results[results["method"] == "m0"], "accuracy").enough


def test_seeds_are_averaged() -> None:
    value = _random(3, 6, 2)
    seeds = [_results(value + seed).assign(seed=seed) for seed in (0, 1)]
    both = pd.concat([seeds[0], seeds[1][seeds[1]["method"] == "m0"]])
    ranking = Ranking.of(both, "accuracy")
    loss = dict(zip(ranking.methods, ranking.loss_GM.T, strict=True))
    np.testing.assert_allclose(loss["m0"], -value[0].mean(axis=1) - 0.5)
    np.testing.assert_allclose(loss["m1"], -value[1].mean(axis=1))


def _holm_by_hand(p_values: list[float]) -> list[float]:
    """Step down: a hypothesis is rejected at any level that rejects it and all before it."""
    adjusted, worst = dict[int, float](), 0.0
    for rejected, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, p_values[index] * (len(p_values) - rejected))
        adjusted[index] = min(worst, 1.0)
    return [adjusted[index] for index in range(len(p_values))]


def test_holm() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    p = np.random.default_rng(0).random(30) ** 3
    p[4] = p[9]
    np.testing.assert_allclose(holm(p), _holm_by_hand(p.tolist()))


@pytest.mark.parametrize("ties", [False, True])
def test_all_pairs_are_tested_and_corrected(ties: bool) -> None:
    value = _random(4, 9, ties=ties)
    ranking = Ranking.of(_results(value), "accuracy")
    table = [value[int(name[1:]), :, 0] for name in ranking.methods]
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    p_values = [
        float(wilcoxon(table[a], table[b], method="approx" if ties else "exact").pvalue)
        for a, b in pairs
    ]
    p_MM = ranking.holm_p_MM()
    assert np.isnan(np.diag(p_MM)).all()
    for (a, b), expected in zip(pairs, _holm_by_hand(p_values), strict=True):
        assert p_MM[a, b] == p_MM[b, a] == pytest.approx(expected)
    wins = ranking.wins_MM()
    for a, b in pairs:
        assert wins[a, b] == sum(table[a] > table[b])
        assert wins[b, a] == sum(table[b] > table[a])
    few = Ranking.of(_results(value[:, :5]), "accuracy")
    assert few.enough
    assert np.isnan(few.holm_p_MM()).all()


def test_groups_are_the_longest_that_the_critical_difference_does_not_divide() -> None:
    value = np.arange(6.0)[:, None, None] + np.zeros((6, 40, 1))
    value[2, :20], value[3, :20] = value[3, :20].copy(), value[2, :20].copy()
    ranking = Ranking.of(_results(value), "accuracy")
    np.testing.assert_allclose(ranking.mean_rank_M, [1, 2, 3.5, 3.5, 5, 6])
    assert 1 < ranking.critical_difference < 1.5
    assert ranking.not_told_apart() == [(0, 1), (2, 3), (4, 5)]
    few = Ranking.of(_results(value[:, 17:23]), "accuracy")
    assert 3 < few.critical_difference < 3.5
    assert few.not_told_apart() == [(0, 3), (1, 4), (2, 5)]
    loss = np.random.default_rng(8).normal(size=(10, 4)).T[..., None]
    chance = Ranking.of(_results(loss, metric="mse"), "mse")
    assert chance.friedman().p_f > 0.05
    assert np.ptp(chance.mean_rank_M) > chance.critical_difference
    assert chance.not_told_apart() == [(0, 3)]


def test_the_interquartile_mean_is_a_trimmed_mean() -> None:
    value = np.random.default_rng(0).standard_cauchy(size=(2, 5, 8))
    means = interquartile_means(_results(value), "accuracy").set_index("method")
    for index in range(2):
        row = means.loc[f"m{index}"]
        assert row["mean"] == pytest.approx(trim_mean(value[index].ravel(), 0.25))
        assert row["low"] < row["mean"] < row["high"]


def test_the_interquartile_mean_counts_shares_and_weighs_tables_alike() -> None:
    # Two tables of 2 and 3 episodes: their values count 3 and 2 twelfths, and so often here.
    value, table = np.array([5.0, 1.0, 2.0, 9.0, 4.0]), np.array([0, 0, 1, 1, 1])
    counted = np.sort(np.repeat(value, [3, 3, 2, 2, 2]))
    draws = bootstrap(value.reshape(-1, 1, 1, 1), table, interquartile_mean)
    assert draws[0, 0] == pytest.approx(counted[3:9].mean())
    weights = np.array([[0.3, 0.3, 0.3, 0.1]])
    # of the sorted 0.1, 0.3, 0.3, 0.3 the part from 0.25 to 0.75 is 0.15, 0.3, 0.05
    found = interquartile_mean(weights, np.array([2.0, 3, 4, 1]).reshape(4, 1, 1), np.arange(4))
    assert found[0, 0] == pytest.approx((0.15 * 2 + 0.3 * 3 + 0.05 * 4) / 0.5)


def test_the_interval_of_the_interquartile_mean_is_that_of_whole_tables() -> None:
    """Where tables differ and episodes do not, as resampling tables by hand gives it."""
    level = np.random.default_rng(0).normal(size=24)
    value = np.repeat(level, 4).reshape(-1, 1, 1, 1)
    draws = bootstrap(value, np.repeat(np.arange(24), 4), interquartile_mean)
    generator = np.random.default_rng(1)
    by_hand = trim_mean(generator.choice(level, size=(4000, 24)), 0.25, axis=1)
    assert draws[1:].std() == pytest.approx(by_hand.std(), rel=0.06)
    low, _, high = interval(draws)
    mean_low, _, mean_high = interval(bootstrap(value, np.repeat(np.arange(24), 4), mean_of_tables))
    assert high - low != pytest.approx(mean_high - mean_low)
