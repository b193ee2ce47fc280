"""Pictures of results: learning curves, the scores of tables, calibration, and all others by name.

Needs matplotlib, the extra `plots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from metamine.report.cost import cost
from metamine.report.critical_difference import critical_difference
from metamine.report.files import Labelled
from metamine.report.results import (
    ROLES,
    at,
    column_name,
    columns_of,
    in_order,
    names,
    only,
    tables_recur,
)
from metamine.report.sections import summarise_tables
from metamine.report.shots import shots
from metamine.report.style import SETTINGS, legend_below, save, style
from metamine.scores import BINS
from metamine.statistics import summarise

RARE = 0.01  # share of the rows below which a calibration bin is noise


def draw(
    results: pd.DataFrame, metric: str, runs: Sequence[Labelled], folder: Path
) -> dict[str, str]:
    """Draw all that the data allow, each as PNG and SVG in `folder`.

    metric: the headline's. runs: for their learning curves, protocols and costs.
    Returns the PNG's file name for each of: learning, tables, calibration, critical_difference,
    shots, cost.
    """
    main = _main_methods(results, metric)
    with mpl.rc_context(SETTINGS):
        figures = {
            "learning": learning_curves(runs, metric),
            "tables": scores_of_tables(results, metric, main),
            "calibration": calibration(results, main),
            "critical_difference": critical_difference(results, metric),
            "shots": shots(results, metric, runs),
            "cost": cost(results, metric, runs),
        }
        drawn = {name: figure for name, figure in figures.items() if figure is not None}
        for name, figure in drawn.items():
            save(figure, folder, f"{name}-{metric}")
    return {name: f"{name}-{metric}.png" for name in drawn}


def learning_curves(runs: Sequence[Labelled], metric: str) -> Figure | None:
    """Training loss and validation metric by step; None without runs validated by `metric`."""
    curves = [(label, run.events("train"), run.events("validate")) for label, run in runs]
    curves = [curve for curve in curves if metric in curve[2]]
    if not curves:
        return None
    labels = list(dict.fromkeys(label for label, *_ in curves))
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for label, training, validation in curves:
        line = style(labels.index(label)) | {"markersize": 4, "linewidth": 1.2, "label": label}
        left.plot(training["step"], training["loss"], markevery=0.1, **line)
        right.plot(validation["step"], validation[metric], **line)
    left.set_ylabel("training loss")
    right.set_ylabel(f"validation {metric}")
    for axes in (left, right):
        axes.set_xlabel("meta-training step")
    if len(labels) > 1:
        legend_below(figure, right)
    return figure


def scores_of_tables(results: pd.DataFrame, metric: str, main: Sequence[str]) -> Figure:
    """A row for each table (for each endless source), a panel for each protocol.

    main: the methods to draw with a marker of their own; the others are grey ticks.
    """
    summary = _by_table(only(results, metric))
    rows = summary[["source", "table"]].drop_duplicates(ignore_index=True)
    summary = summary.merge(rows.assign(y=-rows.index), on=["source", "table"])
    protocols = summary["protocol"].unique()
    figure = Figure(
        figsize=(2.5 + 3.5 * len(protocols), 1.6 + 0.36 * len(rows)), layout="constrained"
    )
    panels = figure.subplots(1, len(protocols), sharex=True, sharey=True, squeeze=False)[0]
    called = names(results)
    for axes, protocol in zip(panels, protocols, strict=True):
        column = summary[summary["protocol"] == protocol]
        for index, method in enumerate(main):
            points = column[column["method"] == method]
            sides = [points["mean"] - points["low"], points["high"] - points["mean"]]
            axes.errorbar(
                points["mean"],
                points["y"] + 0.5 * (0.5 - (index + 0.5) / len(main)),
                xerr=np.clip(sides, 0, None),
                label=called[method],
                elinewidth=1,
                **style(index) | {"linestyle": "none", "markersize": 5},
            )
        others = column[~column["method"].isin(main)]
        if len(others):
            axes.plot(others["mean"], others["y"], "|", color="0.55", label="others")
        axes.set_title(protocol)
        axes.set_xlabel(metric)
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
    twice = rows["table"].duplicated(keep=False)
    labels = rows["table"].where(~twice, rows["table"] + ", " + rows["source"])
    panels[0].set_yticks(-rows.index, labels)
    legend_below(figure, *panels)
    return figure


def calibration(results: pd.DataFrame, main: Sequence[str]) -> Figure | None:
    """How often the answers of the methods in `main` were right against how sure they were.

    A panel for each source and protocol; None for regression.
    """
    if "bin_count" not in results or results["bin_count"].isna().all():
        return None
    columns, called = columns_of(results), names(results)
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
                axes.plot(
                    sure[kept] / count[kept],
                    right[kept] / count[kept],
                    label=called[method],
                    linewidth=1,
                    **style(index) | {"markersize": 4},
                )
        axes.set_title(column_name(source, protocol, results))
        axes.set_aspect("equal")
        axes.set_xlabel("probability given to the answer")
    for axes in panels[len(columns) :]:
        axes.set_axis_off()
    panels[0].set_ylabel("share of right answers")
    legend_below(figure, *panels)
    return figure


def _main_methods(results: pd.DataFrame, metric: str) -> list[str]:
    """The meta-trained ones, their twin from scratch if there is but one, the best baseline."""
    methods = in_order(summarise(only(results, metric)), metric)
    meta, scratch, baselines = (
        [method for method in methods if method in set(results["method"][results["role"] == role])]
        for role in ROLES
    )
    return [*meta, *(scratch if len(scratch) == 1 else []), *baselines[:1]]


def _by_table(results: pd.DataFrame) -> pd.DataFrame:
    """A summary for each table; one for all tables of an endless source."""
    parts = []
    for source, protocol in columns_of(results):
        here = at(results, source, protocol)
        if tables_recur(here):
            parts.append(summarise_tables(here))
        else:
            parts.append(summarise(here).assign(table=f"all of {source}"))
    return pd.concat(parts)
