"""The section of a report that ranks methods, and the pictures of several tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from metamine.ranks import Ranking, interquartile_means
from metamine.report.files import Run
from metamine.report.ranking import ranks
from metamine.report.results import at
from metamine.report.run_report import CAPTIONS
from metamine.report.table import number

NAMES = ("MAML", "ProtoNet", "kNN", "LDA")
ROLES = ("meta", "meta", "baseline", "baseline")


def _results(
    *,
    tables: int = 8,
    names: tuple[str, ...] = NAMES,
    protocols: tuple[str, ...] = ("5-shot",),
    metric: str = "accuracy",
    sources: tuple[str, ...] = ("shipped",),
) -> pd.DataFrame:
    """Methods of rising accuracy and falling error, each with its own noise; the last two alike."""
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for source in sources:
        for protocol in protocols:
            for table in range(tables):
                for episode in range(3):
                    for index, name in enumerate(names):
                        skill = 0.15 * min(index, len(names) - 2) / len(names)
                        value = 0.5 + skill + generator.normal(0, 0.03)
                        row = {"method": name, "role": ROLES[index % 4], "source": source}
                        row |= {"protocol": protocol, "table": f"{source} {table}", "seed": 0}
                        row |= {"episode": episode, "fallback": False}
                        rows.append(row | {metric: value if metric == "accuracy" else 1 - value})
    return pd.DataFrame(rows)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


@pytest.mark.parametrize("metric", ["accuracy", "mse"])
def test_the_section_says_what_the_statistics_say(metric: str) -> None:
    results = _results(metric=metric)
    ranking, p_MM = Ranking.of(results, metric), Ranking.of(results, metric).holm_p_MM()
    iqm = interquartile_means(results, metric).set_index("method")["mean"]
    text = ranks(results, metric)
    lines = text.splitlines()
    assert lines[0] == "## Ranks over tables"
    assert "### shipped" in lines
    start = lines.index("### shipped") + 2
    assert _cells(lines[start]) == [
        "",
        "method",
        "mean rank",
        "IQM",
        "different from the best (Holm p)",
    ]
    for place, method in enumerate(ranking.methods):
        cells = _cells(lines[start + 2 + place])
        assert cells[0] == str(place + 1)
        assert cells[1] == method + (", meta-trained" if method in NAMES[:2] else "")
        assert cells[2] == f"{ranking.mean_rank_M[place]:.2f}"
        assert cells[3].startswith(number(iqm[method]) + " ± ")
        p = p_MM[0, place]
        assert cells[4] == ("best" if place == 0 else f"{'yes' if p < 0.05 else 'no'} ({p:.3f})")
    assert "yes (" in text
    assert "no (" in text
    found = ranking.friedman()
    sentence = next(line for line in lines if line.startswith("Over the 8 tables that all 4"))
    assert f"the ranks differ: Friedman chi2(3) = {found.chi2:.1f}, p <0.001" in sentence
    assert f"F(3, 21) = {found.f:.1f}, p " in sentence
    assert f"CD = {ranking.critical_difference:.2f} apart are not told apart" in sentence
    matrix = [_cells(line) for line in lines[-4:]]
    wins = ranking.wins_MM()
    assert [row[2 + place] for place, row in enumerate(matrix)] == ["—"] * 4
    assert matrix[0][3] == f"{wins[0, 1]}/{8 - wins[0, 1] - wins[1, 0]}/{wins[1, 0]}"
    assert matrix[1][2] == f"{wins[1, 0]}/{8 - wins[0, 1] - wins[1, 0]}/{wins[0, 1]}"


def test_what_cannot_be_ranked_is_left_out_in_a_line() -> None:
    results = _results(sources=("shipped", "few"))
    results = results[(results["source"] == "shipped") | (results["table"] < "few 4")]
    line = "- few is left out: 4 methods with 4 tables in common; ranks take at least 2 and 5."
    assert ranks(results, "accuracy").endswith(f"\n\n{line}")
    assert ranks(at(results, "few", "5-shot"), "accuracy") == f"## Ranks over tables\n\n{line}"
    one = results[results["method"] == "kNN"]
    assert "- shipped is left out: 1 method with 8 tables in common;" in ranks(one, "accuracy")


def test_with_five_tables_ranks_are_shown_but_no_pair_is_tested() -> None:
    text = ranks(_results(tables=5), "accuracy")
    rows = [_cells(line) for line in text.splitlines() if line.startswith(("| 2 ", "| 3 "))]
    assert [row[4] for row in rows[:2]] == ["—", "—"]
    assert "Over the 5 tables" in text


def test_tables_that_some_method_lacks_are_counted() -> None:
    results = _results()
    lacking = (results["method"] == "kNN") & (results["table"] == "shipped 3")
    assert "Over the 7 of 8 tables that all 4 methods have" in ranks(results[~lacking], "accuracy")


def test_methods_that_are_alike_are_not_said_to_differ() -> None:
    text = ranks(_results().assign(accuracy=0.5), "accuracy")
    assert "the ranks are not shown to differ: Friedman chi2(3) = 0.0, p = 1.000" in text
    assert text.splitlines()[-1].count("0/8/0") == 3


def _run(path: Path, config: str = "", **cost: float) -> Run:
    path.mkdir()
    if config:
        (path / "config.yaml").write_text(config)
    return Run(path, {"cost": cost})


SHOTS = """
evaluation:
  protocols:
    few: {shot: 2, rows: null}
    5-shot: {shot: 4, rows: null}
    range: {shot: [1, 5], rows: null}
    7-shot: {shot: null, rows: 12}
"""


@pytest.mark.pictures
def test_a_protocol_labels_what_the_config_says_or_else_its_name(tmp_path: Path) -> None:
    from metamine.report.shots import numbers

    protocols = ("few", "5-shot", "range", "7-shot", "3-shot", "10-rows", "1-row", "2-shots-long")
    results = pd.DataFrame({"protocol": protocols})
    bare = _run(tmp_path / "bare")
    found = numbers(results, [bare, _run(tmp_path / "run", SHOTS)])
    assert found == {
        "few": ("shot", 2),
        "5-shot": ("shot", 4),
        "7-shot": ("rows", 12),
        "3-shot": ("shot", 3),
        "10-rows": ("rows", 10),
        "1-row": ("rows", 1),
    }
    assert numbers(results, [])["5-shot"] == ("shot", 5)


@pytest.mark.pictures
def test_there_are_shots_only_between_numbers_of_one_unit(tmp_path: Path) -> None:
    from metamine.report.shots import shots

    results = _results(protocols=("1-shot", "5-shot", "as_trained"), sources=("a", "b"))
    figure = shots(results, "accuracy", [])
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    line = figure.axes[0].lines[0]
    means = results[results["method"] == "MAML"].groupby(["source", "protocol"])["accuracy"].mean()
    np.testing.assert_allclose(line.get_ydata(), [means["a", "1-shot"], means["a", "5-shot"]])
    np.testing.assert_allclose(line.get_xdata(), np.array([1, 5]), rtol=0.06)
    assert shots(results[results["protocol"] != "5-shot"], "accuracy", []) is None
    other = results.replace({"protocol": {"5-shot": "5-rows"}})
    assert shots(other, "accuracy", []) is None


@pytest.mark.pictures
def test_names_are_spread_as_little_as_needed() -> None:
    from metamine.report.shots import spread

    np.testing.assert_allclose(spread([0.1, 0.5, 0.9], 0.1), [0.1, 0.5, 0.9])
    np.testing.assert_allclose(spread([0.5, 0.5, 0.5], 0.1), [0.4, 0.5, 0.6])
    np.testing.assert_allclose(spread([0.1, 0.5, 0.52], 0.1), [0.1, 0.46, 0.56])
    np.testing.assert_allclose(spread([0.0, 0.02], 0.1), [0.0, 0.1])
    np.testing.assert_allclose(spread([1.0, 1.0], 0.1), [0.9, 1.0])
    places = np.sort(np.random.default_rng(0).random(30))
    assert np.all(np.diff(spread(places.tolist(), 0.03)) > 0.03 - 1e-9)


@pytest.mark.pictures
def test_the_front_has_whom_none_beats_at_no_more_cost(tmp_path: Path) -> None:
    from metamine.report.cost import costs, front

    generator = np.random.default_rng(0)
    points = pd.DataFrame(
        {
            "method": [f"m{index}" for index in range(40)],
            "seconds": generator.integers(1, 10, 40).astype(float),
            "mean": generator.normal(size=40).round(1),
        }
    )
    for metric, sign in (("accuracy", 1), ("mse", -1)):
        expected = {
            mine.method
            for mine in points.itertuples()
            if not any(
                sign * other.mean >= sign * mine.mean
                and other.seconds <= mine.seconds
                and (other.mean, other.seconds) != (mine.mean, mine.seconds)
                for other in points.itertuples()
            )
        }
        found = front(points, metric)
        at = points.set_index("method").loc[found]
        assert set(found) <= expected
        assert len(at) == len(
            points[points["method"].isin(expected)].value_counts(["seconds", "mean"])
        )
        assert at["seconds"].is_monotonic_increasing
    runs = [
        ("a", _run(tmp_path / "0", train_seconds=2.0, evaluate_seconds=9.0)),
        ("a", _run(tmp_path / "1", train_seconds=4.0)),
        ("b", _run(tmp_path / "2", evaluate_seconds=5.0)),
        ("c", _run(tmp_path / "3", train_seconds=7.0)),
    ]
    assert costs(runs, {"a", "b", "c"}) == ("train_seconds", {"a": 3.0, "c": 7.0})
    assert costs(runs, {"a", "b"}) == ("evaluate_seconds", {"a": 9.0, "b": 5.0})
    assert costs(runs, {"a"}) == costs([], {"a"}) == ("", {})


@pytest.mark.pictures
def test_no_names_overlap_in_a_critical_difference_diagram() -> None:
    import matplotlib as mpl

    from metamine.report.critical_difference import critical_difference
    from metamine.report.style import SETTINGS

    many = tuple(f"method {index} (encoder=Transformer)" for index in range(40))
    with mpl.rc_context(SETTINGS):
        figure = critical_difference(_results(names=many, tables=20), "accuracy")
        assert figure is not None
        figure.draw_without_rendering()
        named = [text for text in figure.axes[0].texts if "method" in text.get_text()]
        boxes = [text.get_window_extent() for text in named]
    assert len(boxes) == 40
    for index, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert not any(map(box.overlaps, boxes[:index]))
    assert critical_difference(_results(tables=4), "accuracy") is None


@pytest.mark.pictures
def test_pictures_of_several_tables_are_whole_and_always_the_same(tmp_path: Path) -> None:
    from metamine.report import pictures

    results = _results(protocols=("1-shot", "5-shot"))
    runs = [
        (name, _run(tmp_path / name, train_seconds=10.0 * (index + 1)))
        for index, name in enumerate(NAMES[:2])
    ]
    drawn = pictures.draw(results, "accuracy", runs, tmp_path / "a")
    assert {"critical_difference", "shots", "cost"} < drawn.keys() <= CAPTIONS.keys()
    for name in drawn:
        picture = tmp_path / "a" / f"{name}-accuracy.svg"
        assert ElementTree.parse(picture).getroot().tag.endswith("svg")
        assert picture.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert pictures.draw(results, "accuracy", runs, tmp_path / "b") == drawn
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
