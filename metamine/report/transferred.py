"""The report of `metamine transfer`: gains by source and table, how often they are losses, and what
foretells them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from metamine.bootstrap import RESAMPLES
from metamine.metrics import HEADLINE
from metamine.report.drawing import drawing
from metamine.report.files import write
from metamine.report.headline import FEW_TABLES
from metamine.report.html import write_both
from metamine.report.results import records
from metamine.report.table import NOTHING, markdown
from metamine.transfer.correlation import correlations
from metamine.transfer.design import Design
from metamine.transfer.gains import matrix, negative
from metamine.transfer.predictors import PREDICTORS

KINDS = {"part": "parts", "prior": "priors", "all": "all"}  # of rows, as the report calls them
CAPTIONS = {
    "matrix": "Mean gain of each row on the tables of each part.",
    "scatter": "The gain of each row on each table, against what is known before training.",
}
READING = """\
## How to read this

- A gain is the score of the meta-trained learner less that of its from-scratch twin, on the same
  episodes of a table that it was not trained on. Checkpoints are those of the last step: there
  are no tables left to choose by.
- Rows of parts are tested on the other parts, rows of priors on all: their means are over
  different tables.
- Correlations are Spearman's, over all pairs of a row and a table; *within tables*, after the mean
  of each table is taken out of both: which row to train on for a table. Their intervals say how
  far they would move with other tables, the rows staying the same; pairs that share a row are not
  independent, so few rows mean less than the number of pairs suggests. They are not corrected for
  their number.
- similarity is what a run of method=nearest_task learned on other tasks; distances are in standard
  deviations of meta-features; see metamine/transfer/predictors.py."""


def write_report(
    design: Design,
    gains: pd.DataFrame,
    pairs: pd.DataFrame,
    output: Path,
    failures: Sequence[str],
    seconds: float,
) -> str:
    """Write report.md and .html, pictures, gains.csv, matrix.csv and correlations.csv.

    gains: of episodes, as `transfer.gains` has them. pairs: of tables, beside what foretells them.
    seconds: what all commands took together. Returns what the terminal shows.
    """
    cells = matrix(gains, design)
    wide = cells.pivot(index="row", columns="column", values="mean")
    wide = wide.reindex(index=cells["row"].unique(), columns=design.columns)
    found = correlations(pairs, list(PREDICTORS))
    top = "\n\n".join([_gains(design, cells), _rates(pairs), _correlations(found)])
    parts = [
        f"# Transfer between the tables of {design.source.name}",
        _how(design, gains, seconds),
        "\n".join(f"- missing: {failure}" for failure in failures),
        top,
        *_pictures(wide, pairs, output),
        _parts(design),
        READING,
    ]
    write(output / "gains.csv", _by_pair(design, pairs).to_csv(index=False))
    write(output / "correlations.csv", found.to_csv(index=False))
    write_both(output, parts)
    write(output / "matrix.csv", wide.to_csv())
    return top


def _how(design: Design, gains: pd.DataFrame, seconds: float) -> str:
    config = design.config
    method = str(config["method"]["_target_"]).rpartition(".")[2]
    seeds = ", ".join(str(seed) for seed in sorted(gains["seed"].unique()))
    told = [f"{method}, {config['steps']} steps, {design.protocol}", f"seeds {seeds}"]
    return "; ".join([*told, f"all commands together {seconds / 60:.0f} min"])


def _gains(design: Design, cells: pd.DataFrame) -> str:
    """The matrix: a row for each source, a column for each part."""
    metric, _ = HEADLINE[design.source.kind]
    columns = design.columns
    cell = {(each["row"], each["column"]): _with_interval(each) for each in records(cells)}
    rows = [
        [row, *(cell.get((row, column), NOTHING) for column in columns)]
        for row in cells["row"].unique()
    ]
    n_tables = cells.groupby("column", sort=False)["n_tables"].max()
    counts = ", ".join(f"{column} {n_tables[column]}" for column in columns)
    few = min(n_tables) < FEW_TABLES
    notes = [
        "Trained on the row, tested on the tables of the column.",
        "**bold**: the 95% interval is above 0; *slanted*: below 0.",
        f"±: 95% interval, bootstrap clustered by table ({RESAMPLES:,} resamples), the wider side.",
        f"Tables: {counts}" + " (few: intervals are too narrow for new tables)." * few,
    ]
    title = f"## Gains in {metric} over from scratch"
    return "\n\n".join([title, markdown(["trained on", *columns], rows), _list(notes)])


def _rates(pairs: pd.DataFrame) -> str:
    """How often training harms."""
    header = ["trained on", "pairs", "gain below 0", "surely below", "surely above"]
    rows = [
        [
            KINDS[row["kind"]],
            str(row["pairs"]),
            *(f"{row[key]:.1%}" for key in ("below", "surely_below", "surely_above")),
        ]
        for row in records(negative(pairs))
    ]
    note = (
        "Pairs of a row and a table. surely: the whole 95% interval over the table's episodes; "
        "2.5% would be so by chance where there is no gain."
    )
    return "\n\n".join(["## Negative transfer", markdown(header, rows), _list([note])])


def _correlations(found: pd.DataFrame) -> str:
    """Each predictor's rank correlation with the gain, for parts and for priors."""
    header = ["trained on", "predictor", "rank correlation", "95% interval"]
    header += ["within tables", "95% interval", "pairs", "tables"]
    rows = [
        [
            KINDS[row["kind"]],
            PREDICTORS[row["predictor"]],
            *_correlation(row, "rho", "low", "high"),
            *_correlation(row, "within", "within_low", "within_high"),
            str(row["pairs"]),
            str(row["tables"]),
        ]
        for row in records(found)
    ]
    if not rows:
        return "## What foretells the gain\n\nNothing can be said of less than three tables."
    return "\n\n".join(["## What foretells the gain", markdown(header, rows)])


def _pictures(wide: pd.DataFrame, pairs: pd.DataFrame, output: Path) -> Iterator[str]:
    pictures = drawing("transfer_pictures")
    if pictures:
        yield "## Pictures"
        for name in pictures.draw(wide, pairs, output / "pictures"):
            yield f"![{name}](pictures/{name}.png)\n\n{CAPTIONS[name]}"


def _parts(design: Design) -> str:
    lines = [f"{row.name}: {', '.join(row.tables)}" for row in design.rows if row.tables]
    return f"## Parts\n\n{_list(lines)}"


def _by_pair(design: Design, pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs as gains.csv has them."""
    told = pairs.rename(columns={"mean": "gain", "n_episodes": "episodes"})
    told = told.assign(part=told["table"].map(design.part_of))
    first = ["row", "kind", "table", "part", "episodes", "gain", "low", "high"]
    return told[[*first, *PREDICTORS]]


def _with_interval(cell: dict[str, Any]) -> str:
    mean, low, high = cell["mean"], cell["low"], cell["high"]
    text = f"{mean:+.3f} ± {max(high - mean, mean - low):.3f}"
    return f"**{text}**" if low > 0 else f"*{text}*" if high < 0 else text


def _correlation(row: dict[str, Any], key: str, low: str, high: str) -> list[str]:
    if row[key] != row[key]:
        return [NOTHING, NOTHING]
    return [f"{row[key]:+.2f}", f"{row[low]:+.2f} to {row[high]:+.2f}"]


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
