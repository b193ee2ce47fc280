"""Classes of given sizes out of latent scores."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from metamine.sources.synthetic.drawing import Counts, Probability, integers


def class_sizes(
    n_tasks: int, way: int, n_rows: int, least: int, imbalance: float, generator: Generator
) -> Int64[Tensor, "T C"]:
    """Rows of each class, `least` or more, `n_rows` together.

    What is above `least` is shared out by softmax(s * normal), s uniform in [0, `imbalance`].
    """
    strength_T1 = imbalance * torch.rand(n_tasks, 1, generator=generator)
    share_TC = (strength_T1 * torch.randn(n_tasks, way, generator=generator)).softmax(dim=1)
    return least + _apportion(share_TC, torch.full((n_tasks, 1), n_rows - way * least))


def last_in_parts(
    class_size_TC: Int64[Tensor, "T C"], merged: Probability, parts: Counts, generator: Generator
) -> Int64[Tensor, "T K"]:
    """The same sizes, but that of the last class cut into `parts` in a share `merged` of the tasks.

    K = C - 1 + the most parts; those that a task lacks have size 0.
    """
    n_tasks, most = len(class_size_TC), parts[1]
    n_parts_T1 = integers(parts, (n_tasks, 1), generator)
    chosen_T1 = torch.rand(n_tasks, 1, generator=generator) < merged
    n_parts_T1 = torch.where(chosen_T1, n_parts_T1, 1)
    share_TP = torch.rand(n_tasks, most, generator=generator) + 0.1
    share_TP = share_TP.masked_fill_(torch.arange(most) >= n_parts_T1, 0.0)
    share_TP /= share_TP.sum(dim=1, keepdim=True)
    size_TP = _apportion(share_TP, class_size_TC[:, -1:])
    return torch.cat([class_size_TC[:, :-1], size_TP], dim=1)


def classes_in_order(class_size_TC: Int64[Tensor, "T C"]) -> Int64[Tensor, "T M"]:
    """The class of each row if rows come class after class."""
    end_TC = class_size_TC.cumsum(dim=1)
    row_TM = torch.arange(int(end_TC[0, -1])).repeat(len(end_TC), 1)
    return torch.searchsorted(end_TC, row_TM, right=True)


def target_of(
    score_TKM: Float[Tensor, "T K M"],
    class_size_TC: Int64[Tensor, "T C"] | None,
    ordinal: Probability,
    pieces: Counts,
    generator: Generator,
) -> Int64[Tensor, "T M"] | Float[Tensor, "T M"]:
    """What a table's scores make its target: K = C scores for classes, one for regression.

    With probability `ordinal` the first score alone is cut into intervals, else the largest counts.
    """
    if class_size_TC is None:
        return score_TKM[:, 0]
    y_TM = torch.empty(score_TKM[:, 0].shape, dtype=torch.int64)
    is_ordinal_T = torch.rand(len(y_TM), generator=generator) < ordinal
    cut_P, largest_P = is_ordinal_T.nonzero()[:, 0], (~is_ordinal_T).nonzero()[:, 0]
    if len(cut_P):
        y_TM[cut_P] = by_interval(score_TKM[cut_P, 0], class_size_TC[cut_P], pieces, generator)
    if len(largest_P):
        y_TM[largest_P] = by_largest(score_TKM[largest_P], class_size_TC[largest_P])
    return y_TM


def by_interval(
    score_TM: Float[Tensor, "T M"],
    class_size_TC: Int64[Tensor, "T C"],
    pieces: Counts,
    generator: Generator,
) -> Int64[Tensor, "T M"]:
    """Cut the score into intervals and give each class some of them, in random order.

    One piece for each class makes ordered classes, more make classes that no line can tell apart.
    """
    n_tasks, way = class_size_TC.shape
    n_pieces_T11 = integers(pieces, (n_tasks, 1, 1), generator)
    share_TCP = torch.rand(n_tasks, way, pieces[1], generator=generator) + 0.1
    share_TCP = share_TCP.masked_fill_(torch.arange(pieces[1]) >= n_pieces_T11, 0.0)
    share_TCP /= share_TCP.sum(dim=2, keepdim=True)
    size_TP = _apportion(share_TCP, class_size_TC[..., None]).flatten(1)
    order_TP = torch.rand(size_TP.shape, generator=generator).argsort(dim=1)
    piece_TM = classes_in_order(size_TP.gather(1, order_TP))
    class_TM = order_TP.gather(1, piece_TM) // pieces[1]
    return torch.empty_like(class_TM).scatter_(1, score_TM.argsort(dim=1), class_TM)


def by_largest(
    score_TCM: Float[Tensor, "T C M"], class_size_TC: Int64[Tensor, "T C"]
) -> Int64[Tensor, "T M"]:
    """About the class of the largest score, but with exactly the sizes given.

    One class after the other takes the rows at which it is furthest above those still to come.
    """
    n_tasks, way, n_rows = score_TCM.shape
    y_TM = torch.full((n_tasks, n_rows), way - 1)
    free_TM = torch.ones(n_tasks, n_rows, dtype=torch.bool)
    for number in range(way - 1):
        lead_TM = score_TCM[:, number] - score_TCM[:, number + 1 :].amax(dim=1)
        best_TM = lead_TM.masked_fill_(~free_TM, float("-inf")).argsort(dim=1, descending=True)
        takes_TM = torch.arange(n_rows) < class_size_TC[:, number, None]
        taken_TM = torch.empty_like(free_TM).scatter_(1, best_TM, takes_TM)
        y_TM.masked_fill_(taken_TM, number)
        free_TM &= ~taken_TM
    return y_TM


def _apportion(
    share: Float[Tensor, "... K"], total: Int64[Tensor, "... 1"]
) -> Int64[Tensor, "... K"]:
    """Whole numbers in proportion to the shares (which sum to 1) that sum to `total`."""
    end = (share.cumsum(dim=-1) * total).round_().long()
    end[..., -1:] = total
    return end.diff(dim=-1, prepend=torch.zeros_like(total))
