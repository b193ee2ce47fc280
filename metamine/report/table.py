"""Tables of text, as Markdown (which is also what the terminal shows) and as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Sequence[str]]
NOTHING = "—"  # an empty cell

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "—": "---",
}


def markdown(header: Sequence[str], rows: Rows) -> str:
    """Padded, so that it reads well unrendered too. A `|` in a cell is escaped."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def latex(header: Sequence[str], rows: Rows, caption: str) -> str:
    r"""A table for \usepackage{booktabs}; **bold** becomes \textbf."""
    body = [" & ".join(map(_latex_cell, row)) + r" \\" for row in (header, *rows)]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_latex_cell(caption)}}}",
            rf"\begin{{tabular}}{{{'l' * len(header)}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def number(value: float) -> str:
    """Three decimals; a dash if undefined, three digits if huge."""
    if value != value:
        return NOTHING
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"


def p_value(p: float) -> str:
    """Three decimals, or `<0.001`; a dash if undefined."""
    return "<0.001" if p < 0.001 else number(p)


def with_interval(row: Mapping[str, Any]) -> str:
    """`0.812 ± 0.012` of `mean`, `low` and `high`: the wider side, so that none is understated."""
    mean, low, high = row["mean"], row["low"], row["high"]
    if mean != mean:
        return NOTHING
    return f"{number(mean)} ± {number(max(high - mean, mean - low))}"


def _latex_cell(cell: str) -> str:
    text = "".join(_LATEX.get(letter, letter) for letter in cell.strip())
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text)
