"""Performance against the number of labelled rows. Needs matplotlib, the extra `plots`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from omegaconf import OmegaConf

from metamine.report.files import Labelled, Run
from metamine.report.results import names, only
from metamine.report.style import fixed_panels, style, width_of
from metamine.statistics import LOWER_IS_BETTER, summarise

UNITS = {"shot": "labelled rows of each class (shots)", "rows": "labelled rows altogether"}
NAMED = re.compile(r"(\d+)[- ](shot|row)s?")  # 5-shot, 10-rows
LINE = 0.17  # inches between names
MANY = 8  # lines; with more, intervals would hide them

Number = tuple[str, int]  # one of UNITS, and how many


def shots(results: pd.DataFrame, metric: str, runs: Sequence[Labelled]) -> Figure | None:
    """A panel for each source with protocols of two numbers or more; None if there is none.

    A line for each method, named at its right end; of many, only the best has its interval.
    """
    found = numbers(results, [run for _, run in runs])
    results = only(results, metric)
    results = results[results["protocol"].isin(found)]
    unit_of = {protocol: unit for protocol, (unit, _) in found.items()}
    number_of = {protocol: number for protocol, (_, number) in found.items()}
    number, unit = (results["protocol"].map(each) for each in (number_of, unit_of))
    results = results[number.groupby([results["source"], unit]).transform("nunique") > 1]
    if results.empty:
        return None
    summary = summarise(results)
    summary = summary[summary["metric"] == metric].dropna(subset="mean")
    summary = summary.assign(
        unit=summary["protocol"].map(unit_of), number=summary["protocol"].map(number_of)
    )
    panels = [
        (source, unit, panel)
        for (source, unit), panel in summary.groupby(["source", "unit"], sort=False)
    ]
    called = names(results)
    looks = {method: style(index) for index, method in enumerate(summary["method"].unique())}
    n_methods = max(panel["method"].nunique() for *_, panel in panels)
    beside = 0.5 + max(width_of(called[method]) for method in looks)
    plot = (3.4, max(1.9, LINE * n_methods))
    figure, places = fixed_panels(len(panels), 2, plot, (0.65, beside, 0.3, 0.45))
    for axes, (source, labelled, panel) in zip(places, panels, strict=True):
        axes.set_title(str(source))
        axes.set_xlabel(UNITS[str(labelled)])
        axes.set_ylabel(metric)
        ends = _lines(axes, panel, metric, looks)
        _name(axes, ends, called, looks, LINE / plot[1])
    return figure


def numbers(results: pd.DataFrame, runs: Sequence[Run]) -> dict[str, Number]:
    """How many rows each protocol labels: as some run's config says, or else as its name does.

    Protocols that draw the number from a range have none.
    """
    configured = {name: node for run in runs for name, node in _protocols(run).items()}
    found = {}
    for protocol in results["protocol"].unique():
        node = configured.get(protocol)
        named = NAMED.fullmatch(protocol)
        if node is not None:
            for unit in UNITS:
                if isinstance(node.get(unit), int):
                    found[protocol] = (unit, node[unit])
        elif named is not None:
            found[protocol] = ("shot" if named[2] == "shot" else "rows", int(named[1]))
    return found


def _protocols(run: Run) -> dict[str, Mapping[str, Any]]:
    """The protocols that a run was evaluated by, as its config has them."""
    file = run.path / "config.yaml"
    config = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else {}
    evaluation = config.get("evaluation") if isinstance(config, dict) else None
    nodes = evaluation.get("protocols") if isinstance(evaluation, dict) else None
    nodes = nodes if isinstance(nodes, dict) else {}
    return {str(name): node for name, node in nodes.items() if isinstance(node, dict)}


def _lines(
    axes: Axes, panel: pd.DataFrame, metric: str, looks: Mapping[str, dict[str, Any]]
) -> dict[str, tuple[float, float]]:
    """Draw them; where the line of each method ends."""
    ends = {}
    mean = panel.groupby("method")["mean"].mean()
    best = mean.idxmin() if metric in LOWER_IS_BETTER else mean.idxmax()
    few = len(mean) <= MANY
    for index, (method, line) in enumerate(panel.groupby("method", sort=False)):
        line = line.sort_values("number")
        # Points at the same number are moved apart, by up to a twentieth of it.
        x = line["number"] * 1.05 ** (2 * index / max(len(mean) - 1, 1) - 1 if few else 0)
        look = looks[str(method)]
        axes.plot(x, line["mean"], linewidth=1.1, markersize=4, **look)
        ends[str(method)] = (float(x.iloc[-1]), float(line["mean"].iloc[-1]))
        if few:
            axes.vlines(x, line["low"], line["high"], color=look["color"], linewidth=0.8)
        elif method == best:
            axes.fill_between(x, line["low"], line["high"], color="0.88", linewidth=0, zorder=0)
    axes.set_xscale("log")
    ticks = sorted(panel["number"].unique().tolist())
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    if metric in LOWER_IS_BETTER and panel["low"].min() > 0 < 20 * mean.min() < mean.max():
        axes.set_yscale("log")
    axes.set_xlim(ticks[0] / 1.12, ticks[-1] * 1.12)
    axes.set_ylim(axes.get_ylim())  # as it is now, whatever is drawn beside the axes
    return ends


def _name(
    axes: Axes,
    ends: Mapping[str, tuple[float, float]],
    called: Mapping[str, str],
    looks: Mapping[str, dict[str, Any]],
    gap: float,
) -> None:
    """Names right of the lines, in the order of their ends, each as near as the others let it.

    gap: between names, as a share of the height of the axes.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    at = {method: to_axes.transform(end).tolist() for method, end in ends.items()}
    order = sorted(at, key=lambda method: float(at[method][1]))
    places = spread([at[method][1] for method in order], gap)
    for method, y in zip(order, places, strict=True):
        look = looks[method]
        axes.plot(
            [at[method][0] + 0.015, 1.05, 1.07],
            [at[method][1], y, y],
            transform=axes.transAxes,
            clip_on=False,
            color=look["color"],
            linewidth=0.5,
        )
        axes.plot(
            1.09,
            y,
            transform=axes.transAxes,
            clip_on=False,
            markersize=4,
            **look | {"linestyle": "none"},
        )
        axes.text(1.115, y, called[method], transform=axes.transAxes, va="center_baseline")


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places moved as little as leaves `gap` between neighbours (least squares), in 0..1.

    Neighbours that are too close move as a block, which stands at the mean of where they want to.
    Where they do not all fit, they overflow at the top.
    """
    blocks: list[tuple[float, int]] = []  # mean of (place - gap * index within all), length
    for index, place in enumerate(places):
        mean, n = place - gap * index, 1
        while blocks and blocks[-1][0] >= mean:
            before, m = blocks.pop()
            mean, n = (before * m + mean * n) / (m + n), m + n
        blocks.append((mean, n))
    shifts = np.repeat([mean for mean, _ in blocks], [n for _, n in blocks])
    most = max(0.0, 1 - gap * (len(places) - 1))
    return [float(shift) + gap * index for index, shift in enumerate(np.clip(shifts, 0, most))]
