"""Episodes from tables: N-way K-shot, or n labelled rows, for a whole batch of tasks at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from pydantic import Field, PositiveInt
from torch import Generator, Tensor

from metamine.episode import Episodes, Kind, Support
from metamine.errors import MetamineError
from metamine.preprocess import standardise
from metamine.sources.base import Shape, Source, Split
from metamine.sources.table import Pack

# A fixed number, or [lowest, highest] to draw from (both ends count).
Sizes = PositiveInt | tuple[PositiveInt, PositiveInt]


class NoEligibleTable(MetamineError):
    """No table of the split is large enough for the episodes asked for."""


@dataclass(frozen=True)
class Protocol:
    """How episodes are cut from tables; every published protocol is a choice of these.

    way: classes of an episode; a table with fewer usable classes gives what it has (two at least).
    shot: labelled rows of each class (regression: of the task). Exactly one of `shot` and `rows`.
    rows: labelled rows altogether, whatever their classes.
    query: query rows of each class with `shot`, altogether with `rows`.
    draw: with `rows`: "balanced" makes every class equally likely for each row, "natural" takes
        rows as they come.
    one_class: with `rows`: what becomes of a support of one class: "redraw" draws it again, until
        it holds two, "keep" keeps it.
    transductive: standardise on support and query rows together, instead of the support alone.
    columns: keep a random subset of that many columns in each episode (augmentation); null: all.
    """

    way: Annotated[int, Field(ge=2)] | tuple[Annotated[int, Field(ge=2)], PositiveInt]
    shot: Sizes | None
    rows: Sizes | None
    query: PositiveInt
    draw: Literal["balanced", "natural"]
    one_class: Literal["redraw", "keep"]
    transductive: bool
    columns: Sizes | None

    def __post_init__(self) -> None:
        if (self.shot is None) == (self.rows is None):
            raise ValueError(
                f"exactly one of shot ({self.shot}) and rows ({self.rows}) must be a number; "
                "set the other to null"
            )
        for name in ("way", "shot", "rows", "columns"):
            sizes = getattr(self, name)
            if isinstance(sizes, (tuple, list)) and sizes[0] > sizes[1]:
                raise ValueError(
                    f"{name} runs from {sizes[0]} to {sizes[1]}: put the smaller first"
                )

    def shape(self, kind: Kind, generator: Generator) -> Shape:
        """The sizes of one batch, drawn from the ranges."""
        way = _pick(self.way, generator)
        return Shape(
            way=way if kind == "classification" else 0,
            shot=None if self.shot is None else _pick(self.shot, generator),
            rows=None if self.rows is None else _pick(self.rows, generator),
            query=self.query,
        )


def sample(
    source: Source, split: Split, protocol: Protocol, n_tasks: int, generator: Generator
) -> Episodes:
    """Draw a batch of episodes from a split: its shape, its tables, its rows.

    Raises NoEligibleTable if no table is large enough.
    """
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
    if pack.kind == "regression":
        needed = shape.rows_of_class if shape.rows is None else shape.rows_of_table
        return (pack.class_count[:, 0] >= needed).nonzero()[:, 0]
    n_usable_B = _usable_BC(pack, shape).sum(dim=1)
    if shape.rows is None:
        return (n_usable_B >= shape.way).nonzero()[:, 0]
    smallest_BC = pack.class_count.where(pack.class_count > 0, torch.iinfo(torch.int64).max)
    smallest_BC = smallest_BC.sort(dim=1).values[:, : shape.way]
    is_class_BC = torch.arange(smallest_BC.shape[1]) < n_usable_B[:, None]
    rows_B = smallest_BC.where(is_class_BC, 0).sum(dim=1)
    return ((n_usable_B >= 2) & (rows_B >= shape.rows_of_table)).nonzero()[:, 0]


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
    count_TW = count_TW * (torch.arange(count_TW.shape[1]) < n_classes[:, None].clamp(min=1))
    if shape.rows is None:
        label_TN, row_TN = _per_class(start_TW, count_TW, shape, generator)
        n_query = start_TW.shape[1] * shape.query
    else:
        label_TN, row_TN = _altogether(start_TW, count_TW, shape, protocol, generator)
        n_query = shape.query
    n_support = row_TN.shape[1] - n_query
    width_T = pack.n_features[tables_T]
    start_TN = pack.first_cell[tables_T, None] + row_TN * pack.stride[tables_T, None]
    x_TNF = _rows(pack.cells, start_TN, int(width_T.max()))
    mask_TF = torch.arange(x_TNF.shape[2]) < width_T[:, None]
    categorical_TF = pack.categorical[tables_T, : x_TNF.shape[2]]
    if protocol.columns is not None:
        column_TF, mask_TF = _choose_columns(width_T, protocol.columns, generator)
        x_TNF = x_TNF.gather(2, column_TF[:, None].expand(-1, x_TNF.shape[1], -1))
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
        query_x=x_TNF[:, n_support:],
        query_y=label_TN[:, n_support:],
        target_scale=torch.ones(len(tables_T)),
    )
    return standardise(episodes, protocol.transductive) if scale else episodes


def ordered_sample(
    count_L: Int64[Tensor, " L"], size: int, generator: Generator
) -> Int64[Tensor, "L K"]:
    """For each lane, `size` distinct numbers below its count, in uniformly random order.

    The first `size` steps of a Fisher-Yates shuffle, all at once: step s picks what lies at place
    swap[s] >= s, and moves there what lay at place s. Sorting these moves by place shows which
    places had been moved to before they were picked from. A lane with fewer than `size` numbers has
    all of them first; what follows is meaningless.
    """
    bits = size.bit_length()
    step_K = torch.arange(size)
    left_LK = (count_L[:, None] - step_K).clamp_(min=1)
    random_LK = torch.rand(left_LK.shape, generator=generator, dtype=torch.float64)
    swap_LK = step_K + (random_LK * left_LK).long()
    # Place and step in one number, for NumPy's sort, which takes a quarter of torch's time.
    move_LK = torch.from_numpy(np.sort((swap_LK << bits | step_K).numpy()))
    place_LK, time_LK = move_LK >> bits, move_LK & ((1 << bits) - 1)
    same_LK = place_LK[:, 1:] == place_LK[:, :-1]
    earlier_LK = F.pad(time_LK[:, :-1].masked_fill(~same_LK, -1), (1, 0), value=-1)
    earlier_LK = torch.empty_like(earlier_LK).scatter_(1, time_LK, earlier_LK)  # by step again
    # What lay at place s before step s came from place origin[s], with the last move to place s.
    origin_LK = step_K.repeat(len(count_L), 1)
    is_last_LK = F.pad(~same_LK, (0, 1), value=True) & (place_LK < size)
    lane_P, at_P = is_last_LK.nonzero(as_tuple=True)
    origin_LK[lane_P, place_LK[lane_P, at_P]] = time_LK[lane_P, at_P]
    for _ in range(bits):  # follow all chains of moves to their start, doubling the stride
        origin_LK = origin_LK.gather(1, origin_LK)
    return torch.where(earlier_LK < 0, swap_LK, origin_LK.gather(1, earlier_LK.clamp(min=0)))


def _pick(sizes: int | tuple[int, int], generator: Generator) -> int:
    if isinstance(sizes, int):
        return sizes
    return int(torch.randint(sizes[0], sizes[1] + 1, (), generator=generator))


def _usable_BC(pack: Pack, shape: Shape) -> Tensor:
    return pack.class_count >= shape.rows_of_class


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


def _per_class(
    start_TW: Tensor, count_TW: Tensor, shape: Shape, generator: Generator
) -> tuple[Int64[Tensor, "T N"], Int64[Tensor, "T N"]]:
    """`shot` support then `query` query rows of every class; each part is shuffled."""
    n_tasks, way = start_TW.shape
    n_rows = shape.rows_of_class
    place = ordered_sample(count_TW.flatten(), n_rows, generator)
    row_TWK = place.reshape(n_tasks, way, n_rows) + start_TW[..., None]
    is_query_K = torch.arange(n_rows) >= n_rows - shape.query
    key_TWK = torch.rand(row_TWK.shape, generator=generator) + is_query_K
    order_TN = key_TWK.flatten(1).argsort(dim=1)
    return order_TN // n_rows, row_TWK.flatten(1).gather(1, order_TN)


def _altogether(
    start_TW: Tensor, count_TW: Tensor, shape: Shape, protocol: Protocol, generator: Generator
) -> tuple[Int64[Tensor, "T N"], Int64[Tensor, "T N"]]:
    """`rows` support then `query` query rows, their classes drawn one row after the other."""
    n_support = shape.rows_of_table - shape.query
    label_TN = _draw_labels(count_TW, shape.rows_of_table, protocol, generator)
    if protocol.one_class == "redraw":
        several = (count_TW > 0).sum(dim=1) > 1
        for _ in range(_MOST_REDRAWS):
            alone = (label_TN[:, :n_support] == label_TN[:, :1]).all(dim=1) & several
            if n_support < 2 or not alone.any():
                break
            label_TN[alone] = _draw_labels(
                count_TW[alone], shape.rows_of_table, protocol, generator
            )
    taken_TNW = F.one_hot(label_TN, count_TW.shape[1]).cumsum(dim=1)
    nth_TN = taken_TNW.gather(2, label_TN[..., None])[..., 0] - 1  # the n-th row of its class
    place = ordered_sample(count_TW.flatten(), shape.rows_of_table, generator)
    place_TWN = place.reshape(*count_TW.shape, -1)
    place_TN = place_TWN.flatten(1).gather(1, label_TN * place_TWN.shape[2] + nth_TN)
    return label_TN, start_TW.gather(1, label_TN) + place_TN


# A class of 1% in a support of 5 rows, drawn naturally, is missing 19 times out of 20: enough for
# that; rarer ones are kept as drawn.
_MOST_REDRAWS = 200


def _draw_labels(
    count_TW: Tensor, n_rows: int, protocol: Protocol, generator: Generator
) -> Int64[Tensor, "T N"]:
    if protocol.draw == "natural":
        end_TW = count_TW.cumsum(dim=1)
        row_TN = ordered_sample(end_TW[:, -1], n_rows, generator)
        return torch.searchsorted(end_TW, row_TN, right=True)
    left_TW = count_TW.clone()
    labels = []
    for _ in range(n_rows):
        label_T1 = (left_TW > 0).float().multinomial(1, generator=generator)
        left_TW.scatter_add_(1, label_T1, torch.full_like(label_T1, -1))
        labels.append(label_T1)
    return torch.cat(labels, dim=1)


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


def _rows(
    cells: Float[Tensor, " V"], start_TN: Int64[Tensor, "T N"], width: int
) -> Float[Tensor, "T N F"]:
    """`width` cells from each start on, each row copied in one piece: there is no index per cell.

    A row of a narrow table brings along cells of the next rows, which the caller masks.
    """
    beyond = int(start_TN.max()) + width - len(cells)
    if beyond > 0:
        cells = F.pad(cells, (0, beyond))
    x_NF = cells.unfold(0, width, 1).index_select(0, start_TN.flatten())
    return x_NF.reshape(*start_TN.shape, width)
