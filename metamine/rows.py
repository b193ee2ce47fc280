"""Which rows an episode takes: distinct ones, at random, in random order."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Generator, Tensor

from metamine.protocol import Protocol
from metamine.sources.base import Shape


def per_class(
    start_TW: Tensor,
    count_TW: Tensor,
    training_TW: Tensor | None,
    shape: Shape,
    generator: Generator,
) -> tuple[Int64[Tensor, "T N"], Int64[Tensor, "T N"]]:
    """`shot` support then `query` query rows of every class; each part is shuffled.

    training_TW: of each class, how many rows at its start supports come from, and queries not;
    None: both come from all.
    """
    n_tasks, way = start_TW.shape
    n_rows = shape.rows_of_class
    if training_TW is None:
        place = ordered_sample(count_TW.flatten(), n_rows, generator)
    else:
        training, count = training_TW.flatten(), count_TW.flatten()
        support = ordered_sample(training, n_rows - shape.query, generator)
        query = ordered_sample(count - training, shape.query, generator)
        place = torch.cat([support, query + training[:, None]], dim=1)
    row_TWK = place.reshape(n_tasks, way, n_rows) + start_TW[..., None]
    is_query_K = torch.arange(n_rows) >= n_rows - shape.query
    key_TWK = torch.rand(row_TWK.shape, generator=generator) + is_query_K
    order_TN = key_TWK.flatten(1).argsort(dim=1)
    return order_TN // n_rows, row_TWK.flatten(1).gather(1, order_TN)


def altogether(
    start_TW: Tensor,
    count_TW: Tensor,
    training_TW: Tensor | None,
    shape: Shape,
    protocol: Protocol,
    generator: Generator,
) -> tuple[Int64[Tensor, "T N"], Int64[Tensor, "T N"]]:
    """`rows` support then `query` query rows, their classes drawn one row after the other.

    training_TW: as for `per_class`.
    """
    n_support = shape.rows_of_table - shape.query
    if training_TW is None:
        label_TN = _labels(count_TW, shape.rows_of_table, n_support, protocol, generator)
        place_TN = _places(label_TN, count_TW, generator)
    else:
        test_TW = count_TW - training_TW
        support_TS = _labels(training_TW, n_support, n_support, protocol, generator)
        query_TQ = _labels(test_TW, shape.query, 0, protocol, generator)
        place_TS = _places(support_TS, training_TW, generator)
        place_TQ = _places(query_TQ, test_TW, generator) + training_TW.gather(1, query_TQ)
        label_TN = torch.cat([support_TS, query_TQ], dim=1)
        place_TN = torch.cat([place_TS, place_TQ], dim=1)
    return label_TN, start_TW.gather(1, label_TN) + place_TN


def _labels(
    count_TW: Tensor, n_rows: int, n_support: int, protocol: Protocol, generator: Generator
) -> Int64[Tensor, "T N"]:
    """Labels of `n_rows` rows; a support of one class is drawn again if the protocol says so."""
    if protocol.draw == "even":
        support_TS = _even(count_TW, n_support, generator)
        left_TW = count_TW - F.one_hot(support_TS, count_TW.shape[1]).sum(dim=1)
        query_TQ = _natural(left_TW, n_rows - n_support, generator)
        return torch.cat([support_TS, query_TQ], dim=1)
    label_TN = _draw_labels(count_TW, n_rows, protocol, generator)
    if protocol.one_class == "redraw":
        several = (count_TW > 0).sum(dim=1) > 1
        for _ in range(_MOST_REDRAWS):
            alone = (label_TN[:, :n_support] == label_TN[:, :1]).all(dim=1) & several
            if n_support < 2 or not alone.any():
                break
            label_TN[alone] = _draw_labels(count_TW[alone], n_rows, protocol, generator)
    return label_TN


def _places(label_TN: Tensor, count_TW: Tensor, generator: Generator) -> Int64[Tensor, "T N"]:
    """For each label, another row of its class, counted from the first one of the class."""
    taken_TNW = F.one_hot(label_TN, count_TW.shape[1]).cumsum(dim=1)
    nth_TN = taken_TNW.gather(2, label_TN[..., None])[..., 0] - 1  # the n-th row of its class
    place = ordered_sample(count_TW.flatten(), label_TN.shape[1], generator)
    place_TWN = place.reshape(*count_TW.shape, -1)
    return place_TWN.flatten(1).gather(1, label_TN * place_TWN.shape[2] + nth_TN)


# A class of 1% in a support of 5 rows, drawn naturally, is missing 19 times out of 20: enough for
# that; rarer ones are kept as drawn.
_MOST_REDRAWS = 200


def _draw_labels(
    count_TW: Tensor, n_rows: int, protocol: Protocol, generator: Generator
) -> Int64[Tensor, "T N"]:
    if protocol.draw == "natural":
        return _natural(count_TW, n_rows, generator)
    left_TW = count_TW.clone()
    labels = []
    for _ in range(n_rows):
        label_T1 = (left_TW > 0).float().multinomial(1, generator=generator)
        left_TW.scatter_add_(1, label_T1, torch.full_like(label_T1, -1))
        labels.append(label_T1)
    return torch.cat(labels, dim=1)


def _natural(count_TW: Tensor, n_rows: int, generator: Generator) -> Int64[Tensor, "T N"]:
    """Classes of rows that are drawn without regard to them."""
    end_TW = count_TW.cumsum(dim=1)
    row_TN = ordered_sample(end_TW[:, -1], n_rows, generator)
    return torch.searchsorted(end_TW, row_TN, right=True)


def _even(count_TW: Tensor, n_rows: int, generator: Generator) -> Int64[Tensor, "T N"]:
    """One class after the other, in random order, until none has rows left; shuffled."""
    taken_TW = torch.zeros(count_TW.shape)
    label_TN = torch.empty(len(count_TW), n_rows, dtype=torch.int64)
    for row in range(n_rows):
        turn_TW = taken_TW + torch.rand(count_TW.shape, generator=generator)
        label_T1 = turn_TW.masked_fill(taken_TW >= count_TW, torch.inf).argmin(dim=1, keepdim=True)
        taken_TW.scatter_add_(1, label_T1, torch.ones(label_T1.shape))
        label_TN[:, row] = label_T1[:, 0]
    order_TN = torch.rand(label_TN.shape, generator=generator).argsort(dim=1)
    return label_TN.gather(1, order_TN)


def ordered_sample(
    count_L: Int64[Tensor, " L"], size: int, generator: Generator
) -> Int64[Tensor, "L K"]:
    """For each lane, `size` distinct numbers below its count, in uniformly random order.

    The first `size` steps of a Fisher-Yates shuffle, all at once: step s picks what lies at place
    swap[s] >= s, and moves there what lay at place s. Sorting these moves by place shows which
    places had been moved to before they were picked from. A lane with fewer than `size` numbers has
    all of them first; what follows is meaningless.
    """
    if not size:
        return count_L[:, None][:, :0]
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
