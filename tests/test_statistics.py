from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from metamine.bootstrap import RESAMPLES, bootstrap, interval
from metamine.scores import BINS, calibration_error, mean_of_tables
from metamine.statistics import as_json, compare, summarise


def _results(
    value_MGE: np.ndarray, roles: tuple[str, ...] = (), metric: str = "accuracy", seed: int = 0
) -> pd.DataFrame:
    """One source, G tables of E episodes; methods are called m0, m1, ..."""
    m, g, e = (axis.ravel() for axis in np.indices(value_MGE.shape))
    roles = roles or ("meta",) + ("baseline",) * (len(value_MGE) - 1)
    return pd.DataFrame(
        {
            "method": [f"m{index}" for index in m],
            "role": [roles[index] for index in m],
            "source": "shipped",
            "table": [f"t{index}" for index in g],
            "protocol": "5-shot",
            "episode": e,
            "fallback": False,
            "seed": seed,
            metric: value_MGE.ravel(),
        }
    )


def _with_bins(results: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    count = generator.multinomial(30, np.full(10, 0.1), size=len(results)).astype(float)
    correct = generator.binomial(count.astype(int), np.linspace(0.1, 0.9, 10)).astype(float)
    bins = (count, count * np.linspace(0.05, 0.95, 10), correct)
    return results.assign(**dict(zip(BINS, map(list, bins), strict=True)))


def _row(frame: pd.DataFrame, **where: str) -> pd.Series:
    chosen = frame[(frame[list(where)] == pd.Series(where)).all(axis=1)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_the_mean_is_over_tables_not_over_episodes() -> None:
    results = _results(np.zeros((1, 2, 10)))
    results.loc[results["table"] == "t0", "accuracy"] = 1.0
    few = results[(results["table"] == "t0") | (results["episode"] < 2)]
    row = summarise(few).iloc[0]
    assert row["mean"] == pytest.approx(0.5)
    assert (row["n_tables"], row["n_episodes"], row["n_seeds"]) == (2, 12, 1)


def test_one_table_gives_the_ordinary_interval() -> None:
    value = np.random.default_rng(0).normal(size=(1, 1, 400))
    row = summarise(_results(value)).iloc[0]
    half = 1.96 * value.std() / 20
    assert row["low"] == pytest.approx(value.mean() - half, abs=0.06 * half)
    assert row["high"] == pytest.approx(value.mean() + half, abs=0.06 * half)


def test_one_episode_per_table_gives_the_ordinary_interval() -> None:
    value = np.random.default_rng(0).normal(size=(1, 400, 1))
    row = summarise(_results(value)).iloc[0]
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * value.std() / 20, rel=0.06)


@pytest.mark.parametrize("tables", [2, 25])
def test_tables_without_spread_within_are_resampled_whole(tables: int) -> None:
    level = np.random.default_rng(0).normal(size=(1, tables, 1))
    table = np.repeat(np.arange(tables), 8)
    value = np.repeat(level, 8, axis=2).reshape(-1, 1, 1, 1)
    draws = bootstrap(value, table, mean_of_tables)
    expected = level.std() / np.sqrt(tables)
    assert draws.shape == (1 + RESAMPLES, 1)
    assert draws[1:].std() == pytest.approx(expected, rel=0.06)


def test_tables_of_unequal_length_are_drawn_as_long_as_they_are() -> None:
    """Closed form of the two-stage variance: between (G - 1)/G s^2/G, within mean(s_g^2/E_g)/G."""
    generator = np.random.default_rng(0)
    lengths = [3, 10, 40, 7]
    parts = [generator.normal(loc, 1, size) for loc, size in enumerate(lengths)]
    table = np.repeat(np.arange(4), lengths)
    draws = bootstrap(np.concatenate(parts).reshape(-1, 1, 1, 1), table, mean_of_tables)
    between = np.var([part.mean() for part in parts]) / 4
    within = np.mean([part.var() / len(part) for part in parts]) / 4
    assert draws[0, 0] == pytest.approx(np.mean([part.mean() for part in parts]))
    assert draws[1:].var() == pytest.approx(between + within, rel=0.08)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """200 simulated studies at once, a column each: 30 tables of 10 episodes."""
    generator = np.random.default_rng(0)
    value = generator.normal(0, 0.1, (30, 1, 1, 200, 1)) + generator.normal(
        0, 0.1, (30, 10, 1, 200, 1)
    )
    draws = bootstrap(value.reshape(300, 1, 200, 1), np.repeat(np.arange(30), 10), mean_of_tables)
    low, mean, high = interval(draws)
    covered = ((low < 0) & (high > 0)).mean()
    assert np.all((low < mean) & (mean < high))
    assert 0.91 <= covered <= 0.98
    half_as_wide = np.abs(mean) < (high - low) / 4
    assert half_as_wide.mean() < 0.8


def test_seeds_widen_the_interval_by_their_spread() -> None:
    generator = np.random.default_rng(0)
    value = generator.normal(0, 0.01, (1, 50, 4))
    shifts = (-0.3, -0.1, 0.1, 0.3)
    sweep = pd.concat([_results(value + shift, seed=seed) for seed, shift in enumerate(shifts)])
    one, many = summarise(_results(value)).iloc[0], summarise(sweep).iloc[0]
    assert many["n_seeds"] == 4
    assert many["n_episodes"] == 200
    assert many["mean"] == pytest.approx(one["mean"])
    # the standard deviation of a mean of 4 draws from the shifts, and its 95% quantiles
    assert many["high"] - many["low"] == pytest.approx(2 * 1.96 * np.std(shifts) / 2, rel=0.1)
    assert one["high"] - one["low"] < 0.02


def test_a_method_without_some_seed_is_averaged_over_those_it_has() -> None:
    value = np.random.default_rng(0).normal(size=(2, 10, 3))
    sweep = pd.concat([_results(value + seed, seed=seed) for seed in range(2)])
    sweep = sweep[(sweep["method"] == "m0") | (sweep["seed"] == 0)]
    table = summarise(sweep).set_index("method")
    assert table.loc["m0", "mean"] == pytest.approx(value[0].mean() + 0.5)
    assert table.loc["m1", "mean"] == pytest.approx(value[1].mean())
    paired = compare(sweep).iloc[0]  # on the seed that both have
    assert paired["difference"] == pytest.approx(value[0].mean() - value[1].mean())


def test_undefined_episodes_are_no_part_of_a_metric() -> None:
    value = np.random.default_rng(0).normal(size=(2, 10, 6))
    value[:, 0] = np.nan
    value[:, 1, :3] = np.nan
    full, undefined = _results(np.abs(value) + 1, metric="full"), _results(value)
    results = full.assign(full=full["full"].fillna(1.0), accuracy=undefined["accuracy"])
    row = _row(summarise(results), method="m0", metric="accuracy")
    alone = summarise(undefined.dropna()).iloc[0]
    assert row["mean"] == pytest.approx(np.nanmean(value[0, 1:], axis=1).mean())
    assert (row["n_tables"], row["n_episodes"]) == (9, 51)
    assert (row["low"], row["high"]) == (pytest.approx(alone["low"]), pytest.approx(alone["high"]))


def test_methods_without_a_common_episode_cannot_be_compared() -> None:
    results = _results(np.ones((2, 8, 2)))
    results = results[(results["method"] == "m0") == (results["episode"] == 0)]
    row = compare(results).iloc[0]
    assert np.isnan([row["difference"], row["low"], row["high"], row["p_value"]]).all()
    assert row["n_episodes"] == row["wins"] == 0


def test_pairing_narrows_the_interval() -> None:
    generator = np.random.default_rng(0)
    hardness = generator.normal(0, 0.2, (1, 20, 5))
    value = hardness + generator.normal(0, 0.02, (2, 20, 5)) + np.array([0.03, 0]).reshape(2, 1, 1)
    table = summarise(_results(value)).set_index("method")
    row = compare(_results(value)).iloc[0]
    assert row["difference"] == pytest.approx(table.loc["m0", "mean"] - table.loc["m1", "mean"])
    assert row["low"] > 0
    assert row["high"] - row["low"] < 0.3 * (table.loc["m0", "high"] - table.loc["m0", "low"])


@pytest.mark.parametrize(("metric", "wins"), [("accuracy", 1), ("log_loss", 8)])
def test_wins_respect_the_direction_of_the_metric(metric: str, wins: int) -> None:
    value = np.zeros((2, 10, 3))
    value[0, :8] = -0.1
    value[0, 8] = 0.1
    row = compare(_results(value, metric=metric)).iloc[0]
    assert (row["wins"], row["ties"], row["losses"]) == (wins, 1, 9 - wins)
    assert row["difference"] == pytest.approx(-0.07)


def test_the_signed_rank_test_is_over_tables() -> None:
    value = np.random.default_rng(0).normal(size=(2, 12, 5))
    row = compare(_results(value)).iloc[0]
    expected = wilcoxon(value[0].mean(axis=1), value[1].mean(axis=1)).pvalue
    assert row["p_value"] == pytest.approx(expected)
    assert np.isnan(compare(_results(value[:, :5])).iloc[0]["p_value"])
    assert compare(_results(np.zeros((2, 6, 2)))).iloc[0]["p_value"] == 1.0


def test_calibration_error_is_of_the_pooled_episodes_of_a_table() -> None:
    results = _with_bins(_results(np.zeros((1, 3, 20))))
    pooled = results.groupby("table")[BINS].agg(lambda bins: np.sum(np.stack(list(bins)), axis=0))
    by_table = [
        np.abs(row.bin_confidence - row.bin_correct).sum() / row.bin_count.sum()
        for row in pooled.itertuples()
    ]
    row = _row(summarise(results), metric="ece")
    assert row["mean"] == pytest.approx(np.mean(by_table))
    assert row["low"] < row["mean"] < row["high"]
    alone = [
        np.abs(row.bin_confidence - row.bin_correct).sum() / 30 for row in results.itertuples()
    ]
    assert row["mean"] < 0.5 * np.mean(alone)  # what pooling is for


def test_calibration_error_is_pooled_over_the_source_if_each_table_has_one_episode() -> None:
    results = _with_bins(_results(np.zeros((1, 60, 1))))
    gap = np.stack(list(results["bin_confidence"])) - np.stack(list(results["bin_correct"]))
    expected = np.abs(gap.sum(axis=0)).sum() / (30 * 60)
    assert _row(summarise(results), metric="ece")["mean"] == pytest.approx(expected)


def test_calibration_errors_are_compared_by_table() -> None:
    results = _with_bins(_results(np.zeros((2, 7, 4))))
    table = summarise(results).query("metric == 'ece'").set_index("method")
    row = _row(compare(results), metric="ece")
    assert row["difference"] == pytest.approx(table.loc["m0", "mean"] - table.loc["m1", "mean"])
    assert row["wins"] + row["ties"] + row["losses"] == row["n_tables"] == 7


def test_calibration_error_equals_a_loop() -> None:
    generator = np.random.default_rng(0)
    gap, table = generator.normal(size=(9, 2, 10)), np.repeat([0, 1, 2], [2, 3, 4])
    weights = generator.random((5, 9))
    expected = sum(
        np.abs(sum(weights[:, e, None, None] * gap[e] for e in np.flatnonzero(table == t))).sum(-1)
        for t in range(3)
    )
    np.testing.assert_allclose(calibration_error(weights, gap, table), expected)


def test_fallbacks_are_counted() -> None:
    results = _results(np.zeros((2, 3, 4)))
    results["fallback"] = (results["method"] == "m1") & (results["episode"] == 0)
    assert summarise(results).set_index("method")["n_fallbacks"].to_dict() == {"m0": 0, "m1": 3}


def test_sources_and_protocols_are_apart() -> None:
    value = np.random.default_rng(0).normal(size=(2, 3, 4))
    both = pd.concat(
        [_results(value), _results(value + 1).assign(protocol="1-shot")], ignore_index=True
    )
    joint = summarise(both)
    assert joint["protocol"].tolist() == ["5-shot", "5-shot", "1-shot", "1-shot"]
    apart = summarise(_results(value + 1).assign(protocol="1-shot"))
    pd.testing.assert_frame_equal(
        joint[joint["protocol"] == "1-shot"].reset_index(drop=True), apart
    )


def test_the_same_results_give_the_same_numbers_in_any_order() -> None:
    results = _with_bins(_results(np.random.default_rng(0).normal(size=(3, 5, 4))))
    shuffled = results.sample(frac=1, random_state=0)
    columns = ["mean", "low", "high"]
    first, second = (
        summarise(frame).set_index(["method", "metric"])[columns] for frame in (results, shuffled)
    )
    pd.testing.assert_frame_equal(first, second.loc[first.index])


def test_a_repeated_row_is_refused() -> None:
    results = _results(np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="two results"):
        summarise(pd.concat([results, results]))


def test_json_has_no_nan() -> None:
    content = as_json(_with_bins(_results(np.random.default_rng(0).normal(size=(3, 4, 3)))))
    text = json.dumps(content, allow_nan=False)
    assert json.loads(text)["comparisons"][0]["p_value"] is None
    assert len(content["summary"]) == 6  # 3 methods: accuracy and ece
    assert len(content["comparisons"]) == 4


def test_a_default_run_is_summarised_in_a_moment() -> None:
    value = np.random.default_rng(0).normal(size=(12, 4, 100))
    results = _with_bins(_results(value))
    results = results.assign(**{f"metric {k}": value.ravel() for k in range(8)})
    start = time.process_time()
    summarise(results)
    compare(results)
    assert time.process_time() - start < 5  # a fifth of that on an idle core
