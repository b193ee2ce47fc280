"""Pictures of how alike tables are: the matrix, and a map on which similar ones are close.

Needs matplotlib, the extra `plots`.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from metamine.report.style import SETTINGS, legend_below, save, style

SMALL = 7  # points, of names
# Where a name may stand: points to the right of and above its place, and what of it stands there.
CORNERS = (
    (4, 2, "left", "bottom"),
    (4, -2, "left", "top"),
    (-4, 2, "right", "bottom"),
    (-4, -2, "right", "top"),
    (0, 9, "center", "bottom"),
    (0, -9, "center", "top"),
)


def draw(similarity: pd.DataFrame, places: pd.DataFrame, folder: Path) -> None:
    """Write the matrix as similarity.png and .svg, the map as map.png and .svg.

    similarity: a row and a column for each table. places: its source, split, x and y.
    """
    with mpl.rc_context(SETTINGS):
        save(_matrix(similarity, places.sort_values("x")["table"].tolist()), folder, "similarity")
        save(_map(places), folder, "map")


def _matrix(similarity: pd.DataFrame, order: list[str]) -> Figure:
    """In the order of the map, so that neighbours stand together."""
    side = min(3 + 0.12 * len(order), 24.0)  # inches: names must not overlap
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(similarity.loc[order, order], vmin=0, vmax=1, cmap="viridis")
    axes.set_xticks(range(len(order)), order, rotation=90, fontsize=SMALL)
    axes.set_yticks(range(len(order)), order, fontsize=SMALL)
    figure.colorbar(image, ax=axes, shrink=0.6, label="similarity")
    return figure


def _map(places: pd.DataFrame) -> Figure:
    side = min(4 + 0.08 * len(places), 16.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    for index, ((source, split), here) in enumerate(places.groupby(["source", "split"])):
        look = style(index) | {"linestyle": "none", "markersize": 5}
        axes.plot(here["x"], here["y"], label=f"{source}, {split}", **look)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.15)
    axes.set_xlabel("distances -log(similarity), scaled to the plane")
    legend_below(figure, axes)
    figure.draw_without_rendering()  # only then is it known where places are
    _label(axes, places)
    return figure


def _label(axes: Axes, places: pd.DataFrame) -> None:
    """Names beside their places, where they overlap none before, if there is such a corner."""
    taken: list[Bbox] = []
    for name, x, y in places[["table", "x", "y"]].itertuples(index=False):
        for right, up, ha, va in CORNERS:
            text = axes.annotate(
                name, (x, y), (right, up), textcoords="offset points", ha=ha, va=va, fontsize=SMALL
            )
            box = text.get_window_extent()
            if (right, up, ha, va) == CORNERS[-1] or not any(map(box.overlaps, taken)):
                break
            text.remove()
        text.set_in_layout(False)
        taken.append(box)
