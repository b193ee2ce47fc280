"""What training on one source gives on the tables of others, over no training at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from metamine.errors import MetamineError
from metamine.metrics import HEADLINE
from metamine.report.files import Run
from metamine.statistics import summarise
from metamine.transfer.design import ALL, Design, Row

SAME = ["table", "episode", "seed"]
TINY = 1e-12  # a gain of less is none: sums of the same scores differ in the last digits


def gains(design: Design, found: Sequence[tuple[Row, Path]]) -> pd.DataFrame:
    """The gain of each episode, as `statistics.summarise` takes it; `method` is the row.

    The gain is the score of the meta-trained learner less that of its from-scratch twin on the
    same episode: accuracy, or, for regression, the error saved (of the mean squared error).
    found: the runs of rows; one that is not done is passed over.
    Raises MetamineError if none is.
    """
    metric, sign = HEADLINE[design.source.kind]
    frames = []
    for row, path in found:
        try:
            results = Run.read(path).results()
        except MetamineError:  # it is not done, as the caller has said
            continue
        mine = results["source"].eq(design.source.name) & results["protocol"].eq(design.protocol)
        meta, scratch = (
            results[mine & results["role"].eq(role)].set_index(SAME)[metric]
            for role in ("meta", "from scratch")
        )
        gain = (sign * (meta - scratch)).rename("gain").reset_index()
        frames.append(gain.assign(method=row.name, role=row.kind))
    if not frames:
        raise MetamineError("nothing is finished; see the failures above")
    return pd.concat(frames, ignore_index=True).assign(
        source=design.source.name, protocol=design.protocol, fallback=False
    )


def by_column(gains: pd.DataFrame, column: Mapping[str, str]) -> pd.DataFrame:
    """Mean gain and 95% interval of each row in each column, as `statistics.summarise` has them.

    column: table -> the column that it counts to. Columns are called `column` and rows `row`.
    """
    summary = summarise(gains.assign(source=gains["table"].map(column)))
    return summary.rename(columns={"source": "column", "method": "row", "role": "kind"})


def matrix(gains: pd.DataFrame, design: Design) -> pd.DataFrame:
    """The rows against each part and against all their tables, as `by_column` has them.

    The interval of a part is clustered by table. No row has a cell for the part that it was
    trained on.
    """
    every = dict.fromkeys(design.part_of, ALL)
    cells = pd.concat([by_column(gains, design.part_of), by_column(gains, every)])
    return _in_order(cells, "column", design.columns, design)


def by_table(gains: pd.DataFrame, design: Design) -> pd.DataFrame:
    """The rows against each table, as `by_column` has them: intervals over a table's episodes."""
    pairs = by_column(gains, {name: name for name in design.part_of})
    pairs = pairs.rename(columns={"column": "table"})
    return _in_order(pairs, "table", sorted(design.part_of), design)


def negative(pairs: pd.DataFrame) -> pd.DataFrame:
    """How often training harms: a row for the parts, the priors and all.

    pairs: as `by_table` gives them.
    Returns `kind`, the number of `pairs`, and which shares of them are `below` 0, `surely_below`
    (the whole 95% interval over a table's episodes) and `surely_above`.
    """
    kinds = {**{str(kind): frame for kind, frame in pairs.groupby("kind", sort=False)}, ALL: pairs}
    return pd.DataFrame(
        [
            {
                "kind": kind,
                "pairs": len(frame),
                "below": (frame["mean"] < -TINY).mean(),
                "surely_below": (frame["high"] < -TINY).mean(),
                "surely_above": (frame["low"] > TINY).mean(),
            }
            for kind, frame in kinds.items()
        ]
    )


def _in_order(
    frame: pd.DataFrame, column: str, values: Sequence[str], design: Design
) -> pd.DataFrame:
    """By row, in the design's order; within a row, by the place of `column` among `values`."""
    row = frame["row"].map([row.name for row in design.rows].index)
    order = row * len(values) + frame[column].map(values.index)
    return frame.iloc[order.argsort(kind="stable")].reset_index(drop=True)
