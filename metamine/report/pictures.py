"""Pictures of results, told apart by marker, fill and dash as well as by colour.

Needs matplotlib, the extra `plots`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metamine.report.files import Run, write
from metamine.report.headline import (
    TITLES,
    at,
    column_name,
    columns_of,
    in_order,
    names,
    only,
    tables_named,
)
from metamine.report.sections import summarise_tables
from metamine.statistics import BINS, summarise

# Okabe and Ito's colours, safe for colour-blind readers; black first.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
RARE = 0.01  # share of the rows below which a calibration bin is noise
SETTINGS = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
SETTINGS |= {"legend.frameon": False, "svg.hashsalt": "metamine", "figure.dpi": 150}


def draw(
    results: pd.DataFrame, metric: str, runs: Mapping[str, Run], folder: Path
) -> dict[str, str]:
    """Draw all that the data allow, each as PNG and SVG in `folder`.

    metric: the headline's. runs: by the label their learning curve is to have.
    Returns the file name of each picture: learning, tables, calibration.
    """
    with mpl.rc_context(SETTINGS):
        figures = {
            "learning": learning_curves(runs),
            "tables": scores_of_tables(results, metric),
            "calibration": calibration(results, metric),
        }
        drawn = {name: figure for name, figure in figures.items() if figure is not None}
        for name, figure in drawn.items():
            for kind, metadata in (("png", {}), ("svg", {"Date": None})):
                buffer = io.BytesIO()
                figure.savefig(buffer, format=kind, metadata=metadata)
                write(folder / f"{name}-{metric}.{kind}", buffer.getvalue())
    return {name: f"{name}-{metric}.png" for name in drawn}


def learning_curves(runs: Mapping[str, Run]) -> Figure | None:
    """Training loss and the validation metric by step; None if no run kept any."""
    training = {label: run.events("train") for label, run in runs.items()}
    validation = {label: run.events("validate") for label, run in runs.items()}
    if not any(len(events) for events in training.values()):
        return None
    metric = next((name for name in TITLES if any(name in e for e in validation.values())), None)
    figure = Figure(figsize=(8, 3), layout="constrained")
    panels = figure.subplots(1, 2 if metric else 1, squeeze=False)[0]
    for axes, key, curves in zip(panels, ("loss", metric), (training, validation), strict=False):
        for index, (label, events) in enumerate(curves.items()):
            if key in events:
                style = _style(index) | {"markersize": 4, "linewidth": 1.2}
                style |= {"markevery": 0.1} if key == "loss" else {}
                axes.plot(events["step"], events[key], label=label, **style)
        axes.set_xlabel("meta-training step")
        axes.set_ylabel("training loss" if key == "loss" else f"validation {key}")
    if len(runs) > 1:
        _legend_below(figure, panels[0])
    return figure


def scores_of_tables(results: pd.DataFrame, metric: str) -> Figure:
    """A row for each table (for each endless source), a panel for each protocol."""
    results = only(results, metric)
    here = [at(results, *column) for column in columns_of(results)]
    summary = pd.concat(
        [
            summarise_tables(each)
            if tables_named(each)
            else summarise(each).assign(table=f"{each['source'].iloc[0]} (all)")
            for each in here
        ]
    )
    rows = list(dict.fromkeys(zip(summary["source"], summary["table"], strict=True)))
    place = {row: -index for index, row in enumerate(rows)}
    protocols = results["protocol"].unique()
    size = (2.5 + 3.5 * len(protocols), 1.6 + 0.36 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(protocols), sharex=True, sharey=True, squeeze=False)[0]
    main, called = _main_methods(results, metric), names(results)
    for axes, protocol in zip(panels, protocols, strict=True):
        column = summary[summary["protocol"] == protocol]
        column = column.assign(
            y=[place[key] for key in zip(column["source"], column["table"], strict=True)]
        )
        for index, method in enumerate(main):
            points = column[column["method"] == method]
            shift = 0.5 * ((index + 0.5) / len(main) - 0.5)
            sides = [points["mean"] - points["low"], points["high"] - points["mean"]]
            style = _style(index) | {"linestyle": "none", "markersize": 5}
            axes.errorbar(
                points["mean"],
                points["y"] - shift,
                xerr=np.clip(sides, 0, None),
                label=called[method],
                linewidth=0,
                elinewidth=1,
                **style,
            )
        others = column[~column["method"].isin(main)]
        axes.plot(others["mean"], others["y"], "|", color="0.55", label="other baselines", zorder=1)
        axes.set_title(protocol, fontsize=9)
        axes.set_xlabel(metric)
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
    panels[0].set_yticks(list(place.values()), [table for _, table in rows])
    _legend_below(figure, panels[0])
    return figure


def calibration(results: pd.DataFrame, metric: str) -> Figure | None:
    """How often the answer was right against how sure the method was; None for regression."""
    if "bin_count" not in results or results["bin_count"].isna().all():
        return None
    results = results[results["bin_count"].notna()]
    columns, main = columns_of(results), _main_methods(results, metric)
    called = names(results)
    across = min(len(columns), 4)
    down = -(-len(columns) // across)
    figure = Figure(figsize=(0.6 + 2.8 * across, 0.8 + 2.8 * down), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (source, protocol) in zip(panels, columns, strict=False):
        here = at(results, source, protocol)
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
        for index, method in enumerate(main):
            rows = here[here["method"] == method]
            if len(rows):
                count, sure, right = (np.stack(rows[name].to_list()).sum(axis=0) for name in BINS)
                kept = count >= RARE * count.sum()
                style = _style(index) | {"markersize": 4}
                axes.plot(
                    sure[kept] / count[kept],
                    right[kept] / count[kept],
                    label=called[method],
                    linewidth=1,
                    **style,
                )
        axes.set_title(column_name(source, protocol, results), fontsize=9)
        axes.set_aspect("equal")
        axes.set_xlabel("probability given to the answer")
    for axes in panels[len(columns) :]:
        axes.set_axis_off()
    panels[0].set_ylabel("share of right answers")
    _legend_below(figure, panels[0])
    return figure


def _main_methods(results: pd.DataFrame, metric: str) -> list[str]:
    """Those worth a marker of their own: all but the baselines, and the best of the baselines."""
    methods = in_order(summarise(only(results, metric)), metric)
    baselines = set(results.loc[results["role"] == "baseline", "method"])
    best = next((method for method in methods if method in baselines), None)
    return [method for method in methods if method not in baselines or method == best]


def _style(index: int) -> dict[str, Any]:
    colour = COLOURS[index % len(COLOURS)]
    return {
        "color": colour,
        "marker": MARKERS[index % len(MARKERS)],
        "markerfacecolor": colour if index % 2 == 0 else "white",
        "linestyle": DASHES[index % len(DASHES)],
    }


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    across = max(1, int(figure.get_figwidth() / 2.3))
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), across))
