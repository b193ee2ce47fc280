"""CellTransformer against loops over cells in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from making import built_method, episodes
from torch import Tensor

from metamine.episode import Episodes, Kind
from metamine.methods.model.cell_transformer import CellTransformer


def small(**settings: int) -> CellTransformer:
    method = built_method("cell_transformer", width=8, heads=2, depth=2, **settings).double()
    assert isinstance(method, CellTransformer)
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return method


def tasks(kind: Kind) -> Episodes:
    batch = episodes(kind, n_tasks=2, way=2, shot=3, n_query=3, n_features=4, dtype=torch.float64)
    x, query_x = batch.support.x.clone(), batch.query_x.clone()
    x[:, 1, 2] = query_x[:, 0, 1] = torch.nan
    x[:, 2, 0] = 7.0  # further than FAR
    query_x[:, 1, 3] = x[:, 0, 3]  # the same value
    categorical = torch.tensor([False, True, False, True]).repeat(2, 1)
    support = replace(batch.support, x=x, categorical=categorical)
    return replace(batch, support=support, query_x=query_x)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_equals_loops_over_cells(kind: Kind) -> None:
    method, batch = small(), tasks(kind)
    with torch.no_grad():
        answer = method.predict(batch.support, batch.query_x)
        for task in range(2):
            expected = by_hand(method, batch[task : task + 1])
            torch.testing.assert_close(answer[task], expected, atol=1e-9, rtol=1e-9)


def test_wide_tables_are_read_in_subsets_whose_rows_are_averaged() -> None:
    method, batch = small(max_features=2), tasks("classification")
    order = [0, 2, 3, 1]  # of 4 columns by the fractions of multiples of the golden section
    with torch.no_grad():
        answer = method.predict(batch.support, batch.query_x)
        rows = [
            rows_by_hand(method, columns(batch[:1], order[first : first + 2])) for first in (0, 2)
        ]
        z = F.layer_norm(sum(rows) / 2, (8,), method.last.weight, method.last.bias)
        torch.testing.assert_close(answer[0], read_out(method, z, batch[:1]), atol=1e-9, rtol=0)


def columns(one: Episodes, kept: list[int]) -> Episodes:
    support = replace(
        one.support,
        x=one.support.x[..., kept],
        feature_mask=one.support.feature_mask[:, kept],
        categorical=one.support.categorical[:, kept],
    )
    return replace(one, support=support, query_x=one.query_x[..., kept])


def by_hand(method: CellTransformer, one: Episodes) -> Tensor:
    z = F.layer_norm(rows_by_hand(method, one), (8,), method.last.weight, method.last.bias)
    return read_out(method, z, one)


def read_out(method: CellTransformer, z: Tensor, one: Episodes) -> Tensor:
    n_support = len(one.support.y[0])
    if one.support.kind == "regression":
        return torch.stack([of(method.answer, row) for row in z[n_support:]])
    keys = [
        torch.stack(
            [of(method.key, z[i]) for i in range(n_support) if one.support.y[0, i] == klass]
        ).mean(dim=0)
        for klass in range(one.support.way)
    ]
    return torch.stack(
        [
            torch.stack([of(method.query, row) @ key / 8**0.5 for key in keys])
            for row in z[n_support:]
        ]
    )


def rows_by_hand(method: CellTransformer, one: Episodes) -> Tensor:
    """What `last` is given of each row, computed cell by cell."""
    support = one.support
    x = torch.cat([support.x, one.query_x], dim=1)[0]
    n_support, (n_rows, n_columns) = support.x.shape[1], x.shape
    z = {}
    value, rank = torch.zeros_like(x), torch.zeros_like(x)
    for i in range(n_rows):
        for f in range(n_columns):
            seen = [x[s, f] for s in range(n_support) if not x[s, f].isnan()]
            missing = bool(x[i, f].isnan())
            if not missing:
                value[i, f] = x[i, f].clamp(-5, 5)
                below = sum(float(x[i, f] > s) + 0.5 * float(x[i, f] == s) for s in seen)
                rank[i, f] = 2 * below / len(seen) - 1
            told = (
                value[i, f],
                rank[i, f],
                float(missing),
                float(support.categorical[0, f]),
                value[i, f].sign() * value[i, f].abs().sqrt(),
            )
            token = of(method.cell, torch.tensor(told, dtype=torch.float64))
            if i >= n_support:
                z[i, f] = token + method.unknown
            elif support.kind == "regression":
                z[i, f] = token + of(method.target, support.y[0, i : i + 1])
            else:
                z[i, f] = token + method.klass.weight[:, support.y[0, i]]
    for block in method.blocks:
        normal = {at: of(block.norm_down, token) for at, token in z.items()}
        moved = {}
        for i, f in z:
            bias = [
                block.unlike.weight
                @ torch.stack(
                    [
                        (value[i, f] - value[s, f]).abs().clamp(max=3),
                        (rank[i, f] - rank[s, f]).abs(),
                        ((value[i, f] - value[s, f]).abs() < 1e-4).double(),
                    ]
                )
                for s in range(n_support)
            ]
            seen = [normal[s, f] for s in range(n_support)]
            moved[i, f] = z[i, f] + attended(block.down, normal[i, f], seen, torch.stack(bias))
        normal = {at: of(block.norm_along, token) for at, token in moved.items()}
        for i, f in z:
            seen = [normal[i, other] for other in range(n_columns)]
            none = torch.zeros(n_columns, 2, dtype=torch.float64)
            token = moved[i, f] + attended(block.along, normal[i, f], seen, none)
            z[i, f] = token + of(block.network, token)
    return torch.stack(
        [torch.stack([z[i, f] for f in range(n_columns)]).mean(dim=0) for i in range(n_rows)]
    )


def of(network: torch.nn.Module, x: Tensor) -> Tensor:
    """What a network makes of one vector."""
    return network(x[None])[0]


def attended(
    attention: torch.nn.Module, token: Tensor, seen: list[Tensor], bias_MH: Tensor
) -> Tensor:
    """What two heads of width 4 give for one token."""
    out = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        query = of(attention.query, token)[part]
        both = [of(attention.seen, each) for each in seen]
        keys = torch.stack([each[:8][part] for each in both])
        values = torch.stack([each[8:][part] for each in both])
        score = keys @ query / 2 + bias_MH[:, head]
        out.append(score.softmax(dim=0) @ values)
    return of(attention.out, torch.cat(out))
