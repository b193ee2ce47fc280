"""One prepared table, and many of them packed end to end for fast drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metamine.episode import Kind


@dataclass(frozen=True)
class Table:
    """One table, ready to be drawn from: numbers only, categories as codes, NaN = missing.

    Columns of numbers are in standard deviations of the column around its mean: no unit is then too
    large or too small for float32, and the episodes, standardised on their support, are the same.
    For regression `y` is in standard deviations of the table's target around its mean;
    `target_mean` and `target_sd` (units of the original) lead back.
    """

    name: str
    group: str  # tables of one group never stand on two sides of a split
    kind: Kind
    x: Float[np.ndarray, "M F"]  # float32
    y: Int64[np.ndarray, " M"] | Float[np.ndarray, " M"]  # class ids (int64) or float32
    categorical: Bool[np.ndarray, " F"]
    features: tuple[str, ...]
    classes: tuple[str, ...]  # class id -> label; empty for regression
    target_mean: float = 0.0
    target_sd: float = 1.0


def standardised(values: Float[np.ndarray, " M"]) -> tuple[Float[np.ndarray, " M"], float, float]:
    """`values` (float64, NaN = missing, at least one known) as float32 with mean 0 and standard
    deviation 1, and the mean and deviation they had. Constant values become 0, deviation 1."""
    low = np.nanmin(values)
    span = (np.nanmax(values) - low) or 1.0  # taken out first: squares of 1e-200 would be 0
    unit = (values - low) / span
    mean, sd = np.nanmean(unit), np.nanstd(unit) or 1.0
    return ((unit - mean) / sd).astype(np.float32), float(low + mean * span), float(sd * span)


@dataclass(frozen=True)
class Pack:
    """B tables laid end to end in flat buffers, each with its rows sorted by class.

    A table of regression counts as one class of rows, so K-shot means K rows there.
    """

    kind: Kind
    names: tuple[str, ...]  # B
    cells: Float[Tensor, " V"]  # all cells, row by row, table after table; see `of` for the end
    targets: Int64[Tensor, " R"] | Float[Tensor, " R"]
    first_cell: Int64[Tensor, " B"]
    first_row: Int64[Tensor, " B"]
    stride: Int64[Tensor, " B"]  # cells from one row of the table to the next
    n_features: Int64[Tensor, " B"]  # at most `stride`
    class_start: Int64[Tensor, "B C"]  # row of the table at which a class begins
    class_count: Int64[Tensor, "B C"]  # 0 where a table has no such class
    categorical: Bool[Tensor, "B F"]

    def __len__(self) -> int:
        return len(self.names)

    def only(self, table: int) -> Pack:
        """A pack of that one table, as if it had been packed alone."""
        one = slice(table, table + 1)
        n_rows, width = int(self.class_count[table].sum()), int(self.stride[table])
        n_classes = int(self.class_count[table].count_nonzero())
        return Pack(
            kind=self.kind,
            names=self.names[one],
            cells=self.cells.narrow(0, int(self.first_cell[table]), n_rows * width),
            targets=self.targets.narrow(0, int(self.first_row[table]), n_rows),
            first_cell=torch.zeros(1, dtype=torch.int64),
            first_row=torch.zeros(1, dtype=torch.int64),
            stride=self.stride[one],
            n_features=self.n_features[one],
            class_start=self.class_start[one, :n_classes],
            class_count=self.class_count[one, :n_classes],
            categorical=self.categorical[one, :width],
        )

    @staticmethod
    def of(tables: Sequence[Table]) -> Pack:
        """Pack tables of one kind. Raises ValueError if there are none or kinds are mixed.

        `cells` ends in a row of zeros as wide as the widest table, so that as many cells can be
        read from the start of any row.
        """
        if len({table.kind for table in tables}) != 1:
            raise ValueError("a pack needs at least one table, and all of one kind")
        kind = tables[0].kind
        orders = [np.argsort(table.y, kind="stable") for table in tables]
        if kind == "regression":
            counts = [np.array([len(table.y)]) for table in tables]
            orders = [np.arange(len(table.y)) for table in tables]
        else:
            counts = [np.bincount(table.y, minlength=len(table.classes)) for table in tables]
        rows = np.array([table.x.shape[0] for table in tables])
        widths = np.array([table.x.shape[1] for table in tables])
        class_count = np.zeros((len(tables), max(map(len, counts))), dtype=np.int64)
        categorical = np.zeros((len(tables), widths.max()), dtype=bool)
        for index, (table, count) in enumerate(zip(tables, counts, strict=True)):
            class_count[index, : len(count)] = count
            categorical[index, : len(table.categorical)] = table.categorical
        return Pack(
            kind=kind,
            names=tuple(table.name for table in tables),
            cells=torch.from_numpy(
                np.concatenate(
                    [table.x[order].ravel() for table, order in zip(tables, orders, strict=True)]
                    + [np.zeros(widths.max(), dtype=np.float32)]
                )
            ),
            targets=torch.from_numpy(
                np.concatenate(
                    [table.y[order] for table, order in zip(tables, orders, strict=True)]
                )
            ),
            first_cell=torch.from_numpy(np.cumsum(rows * widths) - rows * widths),
            first_row=torch.from_numpy(np.cumsum(rows) - rows),
            stride=torch.from_numpy(widths),
            n_features=torch.from_numpy(widths),
            class_start=torch.from_numpy(np.cumsum(class_count, axis=1) - class_count),
            class_count=torch.from_numpy(class_count),
            categorical=torch.from_numpy(categorical),
        )

    @staticmethod
    def of_batch(
        names: Sequence[str],
        x: Float[Tensor, "B M F"],
        y: Int64[Tensor, "B M"] | Float[Tensor, "B M"],
        n_features: Int64[Tensor, " B"],
        categorical: Bool[Tensor, "B F"],
        way: int,
    ) -> Pack:
        """Pack tables of equal size that a prior drew. Class ids lie in [0, way); 0: regression."""
        n_tables, n_rows, width = x.shape
        if way:
            y, order = y.sort(dim=1, stable=True)
            x = x.gather(1, order[..., None].expand_as(x))
            count = torch.zeros(n_tables, way, dtype=torch.int64)
            count.scatter_add_(1, y, torch.ones_like(y))
        else:
            count = torch.full((n_tables, 1), n_rows)
        table = torch.arange(n_tables)
        return Pack(
            kind="classification" if way else "regression",
            names=tuple(names),
            cells=x.flatten(),
            targets=y.flatten(),
            first_cell=table * (n_rows * width),
            first_row=table * n_rows,
            stride=torch.full((n_tables,), width),
            n_features=n_features,
            class_start=count.cumsum(dim=1) - count,
            class_count=count,
            categorical=categorical,
        )
