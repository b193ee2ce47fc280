"""What a source makes of the classes of its tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from metamine.errors import UsageError
from metamine.sources.table import Table

Classes = Literal["all", "commonest_or_not"]


def with_classes(table: Table, classes: Classes) -> Table:
    """The table as it is ("all"), or with the commonest class of all its rows against the others.

    Of several that are equally common, the first in order counts as the commonest.
    Raises UsageError for a table of regression.
    """
    if classes == "all":
        return table
    if table.kind == "regression":
        raise UsageError(
            f"{table.name} is for regression: source.classes={classes} needs "
            "source.kind=classification"
        )
    commonest = int(np.bincount(table.y).argmax())
    name = table.classes[commonest]
    y = (table.y != commonest).astype(np.int64)
    return replace(table, y=y, classes=(name, f"not {name}"))
