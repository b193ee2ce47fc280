"""Graph attention over all columns of a table, with weights made for the task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

SLOPE = 0.2  # of the leaky ReLU where it is negative


class GeneratedAttention(nn.Module):
    """A graph attention layer whose weights, for each task, are linear in the task's embedding.

    Velickovic et al., "Graph Attention Networks" (2018), equations 1 to 5, on a complete graph;
    each node keeps its own value beside what it attends to.
    """

    def __init__(self, n_told: int, n_in: int, n_out: int, heads: int) -> None:
        super().__init__()
        self.shape = (n_out, n_in)
        self.heads = heads
        self.generate = nn.Linear(n_told, n_out * n_in + 3 * n_out)
        self.lengths = nn.Parameter(torch.tensor([n_out**0.5, 1.8, 2.0, 0.25]))

    def forward(
        self,
        nodes: Float[Tensor, "T N F I"],
        table_TH: Float[Tensor, "T H"],
        real_TF: Bool[Tensor, "T F"],
    ) -> Float[Tensor, "T N F O"]:
        n_out, n_in = self.shape
        parts = self.generate(table_TH).split([n_out * n_in, n_out, n_out, n_out], dim=1)
        weight, to, of, bias = (
            length * F.normalize(part, dim=1)
            for length, part in zip(self.lengths, parts, strict=True)
        )
        own = nodes @ weight.unflatten(1, self.shape).mT[:, None]
        values = own.unflatten(-1, (self.heads, -1)).movedim(3, 2)  # T N heads F O/heads
        to, of = (
            (values * each.view(len(each), 1, self.heads, 1, -1)).sum(dim=-1) for each in (to, of)
        )
        of = of.masked_fill(~real_TF[:, None, None], -torch.inf)
        seen = attend(to, of, values).movedim(2, 3).flatten(3)
        return F.elu(own + seen + bias[:, None, None])


def attend(
    to: Float[Tensor, "... F"], of: Float[Tensor, "... F"], values: Float[Tensor, "... F D"]
) -> Float[Tensor, "... F D"]:
    """`sum_j softmax_j(leaky(to_i + of_j)) values_j`: of a table's columns i, over its columns j.

    A score is a sum of two numbers, so that, sorted by `of`, the columns on the steep side of the
    leaky ReLU come after those on the flat side for every i, and sums over either side are
    cumulative sums: F log F in time and F in memory, where wide tables could not bear F * F.

    of: -inf for columns that are not there.
    """
    of, order = of.sort(dim=-1)
    most = of[..., -1:].detach()
    values = torch.cat([values, torch.ones_like(values[..., :1])], dim=-1)
    values = values.gather(-2, order[..., None].expand_as(values))
    flat, steep = ((slope * (of - most)).exp()[..., None] * values for slope in (SLOPE, 1.0))
    up_to = F.pad(flat.cumsum(dim=-2), (0, 0, 1, 0))  # [k]: of the k lowest
    beyond = F.pad(steep.flip(-2).cumsum(dim=-2).flip(-2), (0, 0, 0, 1))  # [k]: of all others
    n_flat = torch.searchsorted(of.detach(), -to.detach().contiguous())
    n_flat = n_flat[..., None].expand(*n_flat.shape, values.shape[-1])
    top = to + most
    scale = F.leaky_relu(top, SLOPE).detach()  # the greatest score: keeps both factors up to 1
    flat_part, steep_part = (
        (slope * top - scale).exp()[..., None] * sums.gather(-2, n_flat)
        for slope, sums in ((SLOPE, up_to), (1.0, beyond))
    )
    total = flat_part + steep_part
    return total[..., :-1] / total[..., -1:]
