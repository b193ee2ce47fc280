"""How pictures look: told apart by marker, fill and dash as well as by colour."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from metamine.report.files import write

# Okabe and Ito's colours, safe for colour-blind readers; black first.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
SETTINGS: dict[Any, Any] = {
    "figure.dpi": 150,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "metamine",  # the same data give the same file
}


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG and SVG; the same figure gives the same files."""
    for kind, metadata in (("png", {}), ("svg", {"Date": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=metadata)
        write(folder / f"{name}.{kind}", buffer.getvalue())


def style(index: int) -> dict[str, Any]:
    """Of the line and the markers of the method with this number."""
    colour = COLOURS[index % len(COLOURS)]
    return {
        "color": colour,
        "marker": MARKERS[index % len(MARKERS)],
        "markerfacecolor": colour if index % 2 == 0 else "white",
        "linestyle": DASHES[index % len(DASHES)],
    }


def width_of(text: str) -> float:
    """Of a line of text in the font of pictures, in inches; at most, as hinting moves letters."""
    font = FontProperties(size=mpl.rcParams["font.size"])
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return 1.04 * float(width) / 72


def fixed_panels(
    n: int,
    across: int,
    plot: tuple[float, float],
    margins: tuple[float, float, float, float],
    below: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """Panels of one size, so that it is known where things are before they are drawn; in inches.

    across: at most so many in a row. plot: width and height of each. margins: on its left, on its
    right, above and under it. below: room at the bottom of the figure.
    """
    left, right, above, under = margins
    across = min(n, across)
    wide, tall = left + plot[0] + right, above + plot[1] + under
    width, height = across * wide, -(-n // across) * tall + below
    figure = Figure(figsize=(width, height))
    panels = []
    for row, column in (divmod(place, across) for place in range(n)):
        x, y = column * wide + left, height - (row + 1) * tall + under
        box = (x / width, y / height, plot[0] / width, plot[1] / height)
        panels.append(figure.add_axes(box))
    return figure, panels


def legend_below(figure: Figure, *panels: Axes) -> None:
    """One entry for each label of the panels, in as many columns as fit, on added height."""
    entries = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    entry_width = 0.5 + 0.08 * max(map(len, entries))  # inches
    across = max(1, int(figure.get_figwidth() / entry_width))
    figure.set_figheight(figure.get_figheight() + 0.2 * -(-len(entries) // across))
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=across)
