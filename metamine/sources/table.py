"""One prepared table, and many of them packed end to end for fast drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metamine.episode import Kind

LARGE = 1 << 24  # bytes of a memory-mapped table that is not copied into memory


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
    x: Float[np.ndarray, "R F"]  # float32; may be memory mapped
    y: Int64[np.ndarray, " M"] | Float[np.ndarray, " M"]  # class ids (int64) or float32
    categorical: Bool[np.ndarray, " F"]
    features: tuple[str, ...]
    classes: tuple[str, ...]  # class id -> label; empty for regression
    rows: Int64[np.ndarray, " M"] | None = None  # of `x`, those that y is about; None: M = R
    training: Bool[np.ndarray, " M"] | None = None  # of a given split: True = part to learn from
    target_mean: float = 0.0
    target_sd: float = 1.0

    @property
    def stays_on_disk(self) -> bool:
        """True for a large memory-mapped table; smaller ones are drawn from faster in memory."""
        return isinstance(self.x, np.memmap) and self.x.nbytes > LARGE


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

    A table of regression counts as one class of rows, so K-shot means K rows there. Large tables
    that are memory mapped stay where they are: only the rows that are drawn are read.
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
    # Rows of the class at its start that supports are drawn from, queries from the others; None:
    # either from all.
    training_count: Int64[Tensor, "B C"] | None = None
    mapped: tuple[Float[Tensor, " _"] | None, ...] = ()  # a table's own cells, not in `cells`
    row_of: Int64[Tensor, " R"] | None = None  # where in its cells a row lies; None: in order

    def __len__(self) -> int:
        return len(self.names)

    def only(self, table: int) -> Pack:
        """A pack of that one table, as if it had been packed alone."""
        one = slice(table, table + 1)
        n_rows, width = int(self.class_count[table].sum()), int(self.stride[table])
        n_classes = int(self.class_count[table].count_nonzero())
        training, row_of = self.training_count, self.row_of
        own = self.mapped[table] if self.mapped else None
        n_cells = n_rows * width if own is None else 0
        return Pack(
            kind=self.kind,
            names=self.names[one],
            cells=self.cells.narrow(0, int(self.first_cell[table]), n_cells),
            targets=self.targets.narrow(0, int(self.first_row[table]), n_rows),
            first_cell=torch.zeros(1, dtype=torch.int64),
            first_row=torch.zeros(1, dtype=torch.int64),
            stride=self.stride[one],
            n_features=self.n_features[one],
            class_start=self.class_start[one, :n_classes],
            class_count=self.class_count[one, :n_classes],
            categorical=self.categorical[one, :width],
            training_count=None if training is None else training[one, :n_classes],
            mapped=() if own is None else (own,),
            row_of=None if row_of is None else row_of.narrow(0, int(self.first_row[table]), n_rows),
        )

    def rows(
        self, tables_T: Int64[Tensor, " T"], row_TN: Int64[Tensor, "T N"], width: int
    ) -> Float[Tensor, "T N F"]:
        """The first `width` cells of rows of tables; what a narrow table lacks is meaningless."""
        start_TN = self._start(tables_T, row_TN)
        if not self.mapped:
            return _pieces(self.cells, start_TN, width)
        x_TNF = torch.zeros(*row_TN.shape, width)
        for table, cells, at_T in self._one_by_one(tables_T):
            own = min(width, int(self.n_features[table]))
            x_TNF[at_T, :, :own] = _pieces(cells, start_TN[at_T], own)
        return x_TNF

    def columns(
        self,
        tables_T: Int64[Tensor, " T"],
        row_TN: Int64[Tensor, "T N"],
        column_TF: Int64[Tensor, "T F"],
    ) -> Float[Tensor, "T N F"]:
        """Some cells of rows of tables."""
        place_TNF = self._start(tables_T, row_TN)[..., None] + column_TF[:, None]
        if not self.mapped:
            return self.cells.take(place_TNF)
        x_TNF = torch.zeros(place_TNF.shape)
        for _, cells, at_T in self._one_by_one(tables_T):
            x_TNF[at_T] = cells.take(place_TNF[at_T])
        return x_TNF

    def _start(self, tables_T: Tensor, row_TN: Tensor) -> Tensor:
        if self.row_of is not None:
            row_TN = self.row_of[self.first_row[tables_T, None] + row_TN]
        return self.first_cell[tables_T, None] + row_TN * self.stride[tables_T, None]

    def _one_by_one(self, tables_T: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        for table in tables_T.unique().tolist():
            own = self.mapped[table]
            yield table, self.cells if own is None else own, tables_T == table

    @staticmethod
    def of(tables: Sequence[Table]) -> Pack:
        """Pack tables of one kind. Raises ValueError if there are none or kinds are mixed.

        `cells` ends in a row of zeros as wide as the widest table, so that as many cells can be
        read from the start of any row.
        """
        if len({table.kind for table in tables}) != 1:
            raise ValueError("a pack needs at least one table, and all of one kind")
        kind = tables[0].kind
        # Regression: one class.
        classes = [
            table.y if kind == "classification" else np.zeros(len(table.y), dtype=np.int64)
            for table in tables
        ]
        parts = [
            np.zeros(len(table.y), dtype=bool) if table.training is None else ~table.training
            for table in tables
        ]
        orders = [np.lexsort(keys) for keys in zip(parts, classes, strict=True)]
        n_classes = max(max(1, len(table.classes)) for table in tables)
        class_count = np.stack([np.bincount(each, minlength=n_classes) for each in classes])
        training_count = np.stack(
            [
                np.bincount(each[~part], minlength=n_classes)
                for each, part in zip(classes, parts, strict=True)
            ]
        )
        rows = np.array([len(table.y) for table in tables])
        widths = np.array([table.x.shape[1] for table in tables])
        categorical = np.zeros((len(tables), widths.max()), dtype=bool)
        for index, table in enumerate(tables):
            categorical[index, : len(table.categorical)] = table.categorical
        places = [
            order if table.rows is None else table.rows[order]
            for table, order in zip(tables, orders, strict=True)
        ]
        stays = [table.stays_on_disk for table in tables]
        n_cells = np.where(stays, 0, rows * widths)
        return Pack(
            kind=kind,
            names=tuple(table.name for table in tables),
            cells=torch.from_numpy(
                np.concatenate(
                    [
                        table.x[place].ravel()
                        for table, place, stay in zip(tables, places, stays, strict=True)
                        if not stay
                    ]
                    + [np.zeros(widths.max(), dtype=np.float32)]
                )
            ),
            targets=torch.from_numpy(
                np.concatenate(
                    [table.y[order] for table, order in zip(tables, orders, strict=True)]
                )
            ),
            first_cell=torch.from_numpy(np.where(stays, 0, np.cumsum(n_cells) - n_cells)),
            first_row=torch.from_numpy(np.cumsum(rows) - rows),
            stride=torch.from_numpy(widths),
            n_features=torch.from_numpy(widths),
            class_start=torch.from_numpy(np.cumsum(class_count, axis=1) - class_count),
            class_count=torch.from_numpy(class_count),
            categorical=torch.from_numpy(categorical),
            training_count=torch.from_numpy(training_count)
            if any(table.training is not None for table in tables)
            else None,
            mapped=tuple(
                torch.from_numpy(table.x.reshape(-1)) if stay else None
                for table, stay in zip(tables, stays, strict=True)
            )
            if any(stays)
            else (),
            row_of=torch.from_numpy(
                np.concatenate(
                    [
                        place if stay else np.arange(len(place))
                        for place, stay in zip(places, stays, strict=True)
                    ]
                )
            )
            if any(stays)
            else None,
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


def _pieces(
    cells: Float[Tensor, " V"], start_TN: Int64[Tensor, "T N"], width: int
) -> Float[Tensor, "T N F"]:
    """`width` cells from each start on, each row copied in one piece: there is no index per cell.

    A row of a narrow table brings along cells of the next rows, which the caller masks.
    """
    x_NF = cells.unfold(0, width, 1).index_select(0, start_TN.flatten())
    return x_NF.reshape(*start_TN.shape, width)
