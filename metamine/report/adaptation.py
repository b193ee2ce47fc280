"""How learners get better with inner steps: one curve for each, a panel for each training.

Needs matplotlib, the extra `plots`.
"""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from metamine.report.results import in_order, only
from metamine.report.style import SETTINGS, legend_below, save, style
from metamine.statistics import LOWER_IS_BETTER, summarise

COLUMN = re.compile(r"(?:(?P<panel>.*), )?(?P<steps>\d+) steps?")


def draw(results: pd.DataFrame, metric: str, folder: Path) -> str | None:
    """Draw `metric` against the number of steps, as PNG and SVG; the PNG's file name.

    results: as `statistics.summarise` takes them; `protocol` says the steps, as in "K = 5, 1 step".
    An error is cut off at twice the worst start. None where a protocol does not say the steps, or
    where there is but one number of steps.
    """
    summary = summarise(only(results, metric))
    found = summary["protocol"].str.fullmatch(COLUMN)
    if not found.all():
        return None
    told = summary["protocol"].str.extract(COLUMN)
    summary = summary.assign(panel=told["panel"].fillna(""), steps=told["steps"].astype(int))
    if summary["steps"].nunique() < 2:
        return None
    panels = summary["panel"].unique()
    methods = in_order(summary, metric)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(1 + 3 * len(panels), 3.2), layout="constrained")
        axes_of = dict(
            zip(panels, figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], strict=True)
        )
        for panel, axes in axes_of.items():
            for index, method in enumerate(methods):
                points = summary[(summary["panel"] == panel) & (summary["method"] == method)]
                points = points.sort_values("steps")
                sides = [points["mean"] - points["low"], points["high"] - points["mean"]]
                look = style(index) | {"markersize": 5, "linewidth": 1.2}
                axes.errorbar(
                    points["steps"],
                    points["mean"],
                    yerr=np.clip(sides, 0, None),
                    label=method,
                    elinewidth=1,
                    **look,
                )
            axes.set_title(panel)
            axes.set_xlabel("inner steps")
            axes.set_xticks(sorted(summary["steps"].unique()))
        first = axes_of[panels[0]]
        first.set_ylabel(metric)
        if metric in LOWER_IS_BETTER:  # errors differ by factors, and some learners diverge
            first.set_yscale("log")
            starts = summary.loc[summary["steps"] == summary["steps"].min(), "mean"]
            first.set_ylim(top=2 * starts.max())
        legend_below(figure, *axes_of.values())
        save(figure, folder, f"adaptation-{metric}")
    return f"adaptation-{metric}.png"
