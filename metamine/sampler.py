"""Episodes from tables: N-way K-shot, or n labelled rows, for a whole batch of tasks at once."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Int64
from torch import Generator, Tensor

from metamine.episode import Episodes, Support
from metamine.errors import MetamineError
from metamine.preprocess import standardise
from metamine.protocol import Protocol, ProtocolMix, Sizes
from metamine.rows import altogether, per_class
from metamine.sources.base import Shape, Source, Split
from metamine.sources.table import Pack


class NoEligibleTable(MetamineError):
    """No table of the split is large enough for the episodes asked for."""


def sample(
    source: Source,
    split: Split,
    protocol: Protocol | ProtocolMix,
    n_tasks: int,
    generator: Generator,
) -> Episodes:
    """Draw a batch of episodes from a split: its shape, its tables, its rows.

    Raises NoEligibleTable if no table is large enough.
    """
    protocol = protocol.of_batch(generator)
    shape = protocol.shape(source.kind, generator)
    pack = source.pack(split, shape, n_tasks, generator)
    shape = fitting(pack, shape)
    tables_T = choose_tables(pack, shape, n_tasks, generator)
    return draw(pack, tables_T, shape, protocol, source.standardise, generator)


def fitting(pack: Pack, shape: Shape) -> Shape:
    """`shape` with no more classes than the best table of `pack` can give."""
    if pack.kind == "regression" or shape.rows is not None:
        return shape
    most = int(_usable_BC(pack, shape).sum(dim=1).max())
    return replace(shape, way=max(2, min(shape.way, most)))


def eligible(pack: Pack, shape: Shape) -> Int64[Tensor, " B"]:
    """The tables of `pack` that are large enough for `shape`, as indices.

    With `rows`, whichever classes are drawn must have rows enough, so the smallest must.
    """
    usable_BC = _usable_BC(pack, shape)
    n_usable_B = usable_BC.sum(dim=1)
    if shape.rows is None:
        return (n_usable_B >= max(shape.way, 1)).nonzero()[:, 0]
    way = max(shape.way, 1)
    enough_B = n_usable_B >= min(way, 2)
    for count_BC, needed in _parts(pack, shape.rows, shape.query):
        enough_B = enough_B & (_rows_of_smallest(count_BC, usable_BC, way) >= needed)
    return enough_B.nonzero()[:, 0]


def choose_tables(
    pack: Pack, shape: Shape, n_tasks: int, generator: Generator
) -> Int64[Tensor, " T"]:
    """Which table each episode is about: every eligible one before any comes twice.

    Raises NoEligibleTable if there is none.
    """
    tables = eligible(pack, shape)
    if not len(tables):
        if shape.rows is None:
            needed = f"{shape.rows_of_class} rows in each of {shape.way or 1} classes"
        else:
            needed = f"{shape.rows_of_table} rows" + (" and two classes" if shape.way else "")
        raise NoEligibleTable(
            f"none of the {len(pack)} tables has {needed}; "
            "lower the protocol's shot, rows, query or way"
        )
    rounds = -(-n_tasks // len(tables))
    order = [torch.randperm(len(tables), generator=generator) for _ in range(rounds)]
    return tables[torch.cat(order)[:n_tasks]]


def draw(
    pack: Pack,
    tables_T: Int64[Tensor, " T"],
    shape: Shape,
    protocol: Protocol,
    scale: bool,
    generator: Generator,
) -> Episodes:
    """One episode from each of `tables_T`: random classes in random order, distinct random rows.

    Tables of different width share the batch: columns beyond a table's own are 0 and masked.
    `scale`: standardise the episodes (see `preprocess.standardise`).
    """
    classes_TW, n_classes = _choose_classes(pack, tables_T, shape, generator)
    start_TW = pack.class_start[tables_T].gather(1, classes_TW)
    count_TW = pack.class_count[tables_T].gather(1, classes_TW)
    chosen_TW = torch.arange(count_TW.shape[1]) < n_classes[:, None].clamp(min=1)
    count_TW = count_TW * chosen_TW
    training_TW = None
    if pack.training_count is not None:
        training_TW = pack.training_count[tables_T].gather(1, classes_TW) * chosen_TW
        if not shape.query:  # the other part gives no row
            count_TW, training_TW = training_TW, None
    if shape.rows is None:
        label_TN, row_TN = per_class(start_TW, count_TW, training_TW, shape, generator)
        n_query = start_TW.shape[1] * shape.query
    else:
        label_TN, row_TN = altogether(start_TW, count_TW, training_TW, shape, protocol, generator)
        n_query = shape.query
    n_support = row_TN.shape[1] - n_query
    query = slice(n_support, None) if shape.query else slice(None)
    width_T = pack.n_features[tables_T]
    categorical_TF = pack.categorical[tables_T, : int(width_T.max())]
    if protocol.columns is None:
        x_TNF = pack.rows(tables_T, row_TN, int(width_T.max()))
        mask_TF = torch.arange(x_TNF.shape[2]) < width_T[:, None]
    else:
        column_TF, mask_TF = _choose_columns(width_T, protocol.columns, generator)
        x_TNF = pack.columns(tables_T, row_TN, column_TF)
        categorical_TF = categorical_TF.gather(1, column_TF)
    if not mask_TF.all():
        x_TNF.masked_fill_(~mask_TF[:, None], 0.0)
    if pack.kind == "regression":
        label_TN = pack.targets[pack.first_row[tables_T, None] + row_TN]
    episodes = Episodes(
        support=Support(
            x=x_TNF[:, :n_support],
            y=label_TN[:, :n_support],
            feature_mask=mask_TF,
            categorical=categorical_TF & mask_TF,
            n_classes=n_classes,
            way=shape.way,
        ),
        query_x=x_TNF[:, query],
        query_y=label_TN[:, query],
        target_scale=torch.ones(len(tables_T)),
    )
    return standardise(episodes, protocol.transductive) if scale else episodes


def _usable_BC(pack: Pack, shape: Shape) -> Bool[Tensor, "B C"]:
    """Which classes have rows enough to take part."""
    if shape.rows is None:
        assert shape.shot is not None
        parts = _parts(pack, shape.shot, shape.query)
    else:
        parts = _parts(pack, 1, 0 if pack.training_count is None else min(shape.query, 1))
    return torch.stack([count_BC >= needed for count_BC, needed in parts]).all(dim=0)


def _parts(pack: Pack, n_support: int, n_query: int) -> list[tuple[Int64[Tensor, "B C"], int]]:
    """The rows that there are to draw from, and how many are to be drawn from them."""
    if pack.training_count is None:
        return [(pack.class_count, n_support + n_query)]
    return [
        (pack.training_count, n_support),
        (pack.class_count - pack.training_count, n_query),
    ]


def _rows_of_smallest(
    count_BC: Int64[Tensor, "B C"], usable_BC: Bool[Tensor, "B C"], way: int
) -> Int64[Tensor, " B"]:
    """The rows of the `way` smallest usable classes together."""
    smallest_BC = count_BC.where(usable_BC, torch.iinfo(torch.int64).max)
    smallest_BC = smallest_BC.sort(dim=1).values[:, :way]
    is_class_BC = torch.arange(smallest_BC.shape[1]) < usable_BC.sum(dim=1)[:, None]
    return smallest_BC.where(is_class_BC, 0).sum(dim=1)


def _choose_classes(
    pack: Pack, tables_T: Tensor, shape: Shape, generator: Generator
) -> tuple[Int64[Tensor, "T W"], Int64[Tensor, " T"]]:
    """Up to `way` random usable classes of each table, and how many each task has."""
    if pack.kind == "regression":
        nothing = torch.zeros(len(tables_T), dtype=torch.int64)
        return nothing[:, None], nothing
    usable_TC = _usable_BC(pack, shape)[tables_T]
    key_TC = torch.rand(usable_TC.shape, generator=generator).masked_fill(~usable_TC, -1.0)
    way = min(shape.way, usable_TC.shape[1])
    return key_TC.topk(way, dim=1).indices, usable_TC.sum(dim=1).clamp(max=way)


def _choose_columns(
    width_T: Tensor, wanted: Sizes, generator: Generator
) -> tuple[Int64[Tensor, "T F"], Bool[Tensor, "T F"]]:
    """A random subset of each task's columns and which of them are real; padding is column 0."""
    low, high = (wanted, wanted) if isinstance(wanted, int) else wanted
    wanted_T = torch.randint(low, high + 1, width_T.shape, generator=generator).minimum(width_T)
    widest = int(width_T.max())
    key_TF = torch.rand(len(width_T), widest, generator=generator)
    key_TF = key_TF.masked_fill(torch.arange(widest) >= width_T[:, None], -1.0)
    column_TF = key_TF.topk(int(wanted_T.max()), dim=1).indices
    mask_TF = torch.arange(column_TF.shape[1]) < wanted_T[:, None]
    return column_TF * mask_TF, mask_TF
