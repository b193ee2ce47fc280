"""How pictures look: told apart by marker, fill and dash as well as by colour."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
