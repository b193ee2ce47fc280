"""Performance against what it costs. Needs matplotlib, the extra `plots`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from matplotlib.transforms import Bbox

from metamine.report.files import Labelled
from metamine.report.results import at, column_name, columns_of, only
from metamine.report.style import fixed_panels
from metamine.statistics import LOWER_IS_BETTER, summarise

COSTS = {
    "train_seconds": "meta-training, seconds",
    "evaluate_seconds": "evaluation of the run, all learners, seconds",
}
SMALL = 7  # points, of names
FEW = 8  # methods; with more, panels are large
# How far from its point a name may stand, in points, nearest first; and in which directions.
DISTANCES = (4, 9, 15, 22, 30, 40, 52)
ANGLES = np.deg2rad([0, 45, -45, 180, 135, -135, 90, -90])


def cost(results: pd.DataFrame, metric: str, runs: Sequence[Labelled]) -> Figure | None:
    """A panel for each source and protocol; None without two methods whose runs tell their cost.

    A method that none beats at no more cost is on the front: its point is filled.
    """
    results = only(results, metric)
    key, seconds = costs(runs, set(results["method"]))
    if len(seconds) < 2:
        return None
    results = results[results["method"].isin(seconds)]
    summary = summarise(results)
    summary = summary[summary["metric"] == metric].dropna(subset="mean")
    summary = summary.assign(seconds=summary["method"].map(seconds)).sort_values("seconds")
    columns = columns_of(results)
    tall = min(2.3 + 0.08 * len(seconds), 5.0)  # inches: room for names
    across = 3 if len(seconds) <= FEW else 2
    figure, panels = fixed_panels(
        len(columns), across, (1.5 * tall, tall), (0.7, 0.1, 0.3, 0.45), below=0.25
    )
    for axes, (source, protocol) in zip(panels, columns, strict=True):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(LogFormatter())
        axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        axes.margins(0.15)
        axes.set_title(column_name(source, protocol, results))
        axes.set_xlabel(COSTS[key])
        axes.set_ylabel(metric)
        points = at(summary, source, protocol)
        best = front(points, metric)
        _points(axes, points, best)
        _name(axes, points, best)
    entries = panels[0].get_legend_handles_labels()
    figure.legend(*entries, loc="lower center", ncols=2)
    return figure


def costs(runs: Sequence[Labelled], methods: set[str]) -> tuple[str, dict[str, float]]:
    """The key of what was measured of two methods or more, and its mean over a method's runs."""
    for key in COSTS:
        told = pd.DataFrame(
            [
                (label, run.part("cost")[key])
                for label, run in runs
                if label in methods and run.part("cost").get(key, 0) > 0
            ],
            columns=["method", "seconds"],
        )
        means = told.groupby("method")["seconds"].mean()
        if len(means) > 1:
            return key, {str(method): float(mean) for method, mean in means.items()}
    return "", {}


def front(points: pd.DataFrame, metric: str) -> list[str]:
    """The methods that none beats at no more cost, the cheapest first (Pareto)."""
    kept: list[str] = []
    best = np.inf
    loss = points["mean"] * (1 if metric in LOWER_IS_BETTER else -1)
    order = points.assign(loss=loss).sort_values(["seconds", "loss"])
    for method, each in order[["method", "loss"]].to_numpy():
        if each < best:
            kept.append(str(method))
            best = each
    return kept


def _points(axes: Axes, points: pd.DataFrame, best: Sequence[str]) -> None:
    axes.vlines(points["seconds"], points["low"], points["high"], color="0.75", linewidth=0.8)
    on = points["method"].isin(best)
    look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5, "color": "black"}
    others = points[~on]
    if len(others):
        look_of_others = look | {"markerfacecolor": "white"}
        axes.plot(others["seconds"], others["mean"], label="others", **look_of_others)
    first = points[on]
    look |= {"linestyle": "-", "linewidth": 0.8}
    axes.plot(
        first["seconds"],
        first["mean"],
        drawstyle="steps-post",
        label="none is better at no more cost (Pareto)",
        **look,
    )


def _name(axes: Axes, points: pd.DataFrame, best: Sequence[str]) -> None:
    """Names beside their points, or tied to them from where they overlap nothing."""
    scale = 72 / axes.figure.dpi  # points a pixel
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # so that points stay where they are
    place = dict(
        zip(
            points["method"],
            axes.transData.transform(points[["seconds", "mean"]].to_numpy()) * scale,
            strict=True,
        )
    )
    frame = Bbox(axes.get_window_extent().get_points() * scale)
    taken = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in place.values()]
    for (x, y), (next_x, next_y) in pairwise(place[method] for method in best):
        taken += [
            Bbox([[x, y - 1], [next_x, y + 1]]),
            Bbox([[next_x - 1, y], [next_x + 1, next_y]]),
        ]
    for name, x, y in points[["method", "seconds", "mean"]].to_numpy():
        text = axes.annotate(
            name,
            (x, y),
            (0, 0),
            textcoords="offset points",
            fontsize=SMALL,
            va="bottom",
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "0.5", "shrinkB": 3},
        )
        size = text.get_window_extent()
        width, height = size.width * scale, size.height * scale
        for right, up in _offsets(width, height):
            left, bottom = place[name] + (right, up)
            box = Bbox.from_bounds(left, bottom, width, height)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0
            if inside and box.y1 <= frame.y1 and not any(map(box.overlaps, taken)):
                break
        text.set_position((right, up))
        taken.append(box)


def _offsets(width: float, height: float) -> Iterator[tuple[float, float]]:
    """From a point to the lower left corner of its name, the best first."""
    for distance in DISTANCES:
        for angle in ANGLES:
            right, up = distance * np.cos(angle), distance * np.sin(angle)
            yield (
                float(right + (0 if right > 1 else -width if right < -1 else -width / 2)),
                float(up + (0 if up > 1 else -height if up < -1 else -height / 2)),
            )
