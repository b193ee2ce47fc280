"""Critical-difference diagrams: mean ranks on a line, bars over methods that are not told apart.

As in Janez Demšar: "Statistical Comparisons of Classifiers over Multiple Data Sets" (2006), fig. 1.
Needs matplotlib, the extra `plots`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metamine.ranks import Ranking
from metamine.report.results import at, column_name, columns_of, names, only
from metamine.report.style import width_of
from metamine.report.table import p_value

# Inches. Every name has a line of its own, so that none can overlap, however many there are.
LINE, BAR, ABOVE, BELOW, AXIS, GAP = 0.18, 0.08, 0.85, 0.15, 5.0, 0.12


def critical_difference(results: pd.DataFrame, metric: str) -> Figure | None:
    """A diagram for each source and protocol with enough tables; None if there is none."""
    results = only(results, metric)
    diagrams = [
        (column_name(source, protocol, results), ranking)
        for source, protocol in columns_of(results)
        if (ranking := Ranking.of(at(results, source, protocol), metric)).enough
    ]
    if not diagrams:
        return None
    called = names(results)
    labels = [
        [
            f"{called[method]}  {rank:.2f}"
            for method, rank in zip(ranking.methods, ranking.mean_rank_M, strict=True)
        ]
        for _, ranking in diagrams
    ]
    margin = max(width_of(label) for each in labels for label in each) + 3 * GAP
    heights = [ABOVE + _depth(ranking) + BELOW for _, ranking in diagrams]
    width, height = AXIS + 2 * margin, sum(heights)
    figure = Figure(figsize=(width, height))
    top = height
    for (title, ranking), named, tall in zip(diagrams, labels, heights, strict=True):
        top -= tall
        box = (margin / width, top / height, AXIS / width, tall / height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        _draw(axes, title, ranking, named, tall)
    return figure


def _draw(axes: Axes, title: str, ranking: Ranking, labels: list[str], height: float) -> None:
    """In inches from the left end of the axis, and up from it."""
    rank_M, distance = ranking.mean_rank_M, ranking.critical_difference
    first = np.floor(rank_M[0])
    last = max(np.ceil(rank_M[-1]), np.ceil(first + distance))
    axes.set_xlim(0, AXIS)
    axes.set_ylim(ABOVE - height, ABOVE)
    scale = AXIS / (last - first)
    x_M = (rank_M - first) * scale
    line: dict[str, Any] = {
        "color": "black",
        "linewidth": 0.8,
        "solid_capstyle": "butt",
        "clip_on": False,
    }

    axes.plot([0, AXIS], [0, 0], **line)
    numbered = MaxNLocator(12, integer=True).tick_values(first, last)
    for tick in np.arange(first, last + 1):
        x = (tick - first) * scale
        axes.plot([x, x], [0, 0.06 if tick in numbered else 0.03], **line)
        if tick in numbered:
            axes.text(x, 0.08, f"{tick:.0f}", ha="center", va="bottom")
    ruler = distance * scale
    axes.plot([0, 0, 0, ruler, ruler, ruler], [0.29, 0.37, 0.33, 0.33, 0.29, 0.37], **line)
    axes.text(ruler + 0.08, 0.33, f"CD = {distance:.2f}", ha="left", va="center_baseline")
    axes.text(AXIS / 2, 0.55, _told(title, ranking), ha="center", va="bottom")

    for (start, end), level in _levels(ranking):
        y = -BAR * (1 + level)
        ends = [x_M[start] - 0.03, x_M[end] + 0.03]
        axes.plot(ends, [y, y], **line | {"linewidth": 3, "zorder": 3})
    names_at = _names_at(ranking)
    n_left = -(-len(labels) // 2)
    for index, (x, label) in enumerate(zip(x_M, labels, strict=True)):
        left = index < n_left
        y = -names_at - LINE * (index if left else len(labels) - 1 - index)
        side = -GAP if left else AXIS + GAP
        axes.plot([x, x, side], [0, y, y], **line | {"color": "0.45"})
        axes.text(
            side + (-0.05 if left else 0.05),
            y,
            label,
            ha="right" if left else "left",
            va="center_baseline",
        )


def _told(title: str, ranking: Ranking) -> str:
    p = p_value(ranking.friedman().p_f)
    return (
        f"{title}: mean ranks over {len(ranking.loss_GM)} tables "
        f"(Friedman p {'' if p.startswith('<') else '= '}{p})"
    )


def _levels(ranking: Ranking) -> list[tuple[tuple[int, int], int]]:
    """Each group and how far down its bar goes: bars that would touch are put below each other."""
    free: list[float] = []  # where the bars of each level end
    levels = []
    for start, end in ranking.not_told_apart():
        level = next((n for n, taken in enumerate(free) if taken < start), len(free))
        free[level : level + 1] = [end]
        levels.append(((start, end), level))
    return levels


def _names_at(ranking: Ranking) -> float:
    levels = max((level for _, level in _levels(ranking)), default=-1)
    return BAR * (levels + 2) + LINE / 2


def _depth(ranking: Ranking) -> float:
    return _names_at(ranking) + LINE * -(-len(ranking.methods) // 2)
