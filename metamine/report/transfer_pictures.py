"""Pictures of transfer: the matrix of gains, and gains against what might foretell them.

Needs matplotlib, the extra `plots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from metamine.report.style import SETTINGS, fixed_panels, legend_below, save, style, width_of
from metamine.transfer.predictors import PREDICTORS

ACROSS = 3  # panels in a row


def draw(gain: pd.DataFrame, pairs: pd.DataFrame, folder: Path) -> list[str]:
    """Write matrix.png and .svg, and, if a predictor varies, scatter.png and .svg; their names.

    gain: mean of each row in each column, `ALL` the last; NaN where there is none.
    pairs: row, mean gain and the columns of `PREDICTORS`.
    """
    with mpl.rc_context(SETTINGS):
        save(_matrix(gain), folder, "matrix")
        shown = [name for name in PREDICTORS if pairs[name].nunique() > 1]
        if shown:
            save(_scatter(pairs, shown), folder, "scatter")
    return ["matrix", *["scatter"] * bool(shown)]


def _matrix(gain: pd.DataFrame) -> Figure:
    """Numbers in the cells, so that it can be read without its colours."""
    rows, columns = list(gain.index), list(gain.columns)
    texts = gain.map(lambda value: "" if value != value else f"{value:+.3f}")
    wide = max(map(width_of, [*columns, *texts.to_numpy().ravel()])) + 0.15  # inches
    size = (wide * len(columns), 0.3 * len(rows))
    figure, (axes,) = fixed_panels(1, 1, size, (max(map(width_of, rows)) + 0.35, 0.1, 0.1, 0.45))
    most = float(np.nanmax(np.abs(gain.to_numpy()))) or 1.0
    # Ends of a colour map are dark: with twice the span, black numbers stay readable.
    axes.imshow(gain, cmap="PuOr", vmin=-2 * most, vmax=2 * most, aspect="auto")
    for row, line in enumerate(texts.to_numpy()):
        for column, text in enumerate(line):
            axes.text(column, row, text, ha="center", va="center")
            if not text:  # trained on, and so not tested
                box = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="///")
                axes.add_patch(box).set(edgecolor="0.8", linewidth=0)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("tested on")
    axes.set_ylabel("trained on")
    axes.axvline(len(columns) - 1.5, color="black", linewidth=0.8)  # the last is no part
    return figure


def _scatter(pairs: pd.DataFrame, shown: Sequence[str]) -> Figure:
    """A panel for each predictor; a marker for each row."""
    deep = -(-len(shown) // ACROSS)
    figure = Figure(figsize=(2.5 * ACROSS, 2.3 * deep), layout="constrained")
    panels = figure.subplots(deep, ACROSS, sharey=True, squeeze=False)
    for axes in panels.ravel()[len(shown) :]:
        axes.set_axis_off()
    for name, axes in zip(shown, panels.ravel(), strict=False):
        axes.axhline(0, color="0.6", linewidth=0.8)
        for index, row in enumerate(pairs["row"].unique()):
            here = pairs[pairs["row"].eq(row) & pairs[name].notna()]
            look = style(index) | {"linestyle": "none", "markersize": 3, "markeredgewidth": 0.6}
            axes.plot(here[name], here["mean"], label=row, **look)
        axes.set_xlabel(PREDICTORS[name])
    for axes in panels[:, 0]:
        axes.set_ylabel("gain")
    legend_below(figure, *panels.ravel()[: len(shown)])
    return figure
