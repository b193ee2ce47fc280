"""Encoders against loops over rows, columns and classes, in NumPy and float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import built, episodes, names_in, padded, permuted_columns
from scipy.stats import rankdata
from torch import nn

from metamine.encoders.base import Encoder
from metamine.encoders.pooled import Pooled
from metamine.encoders.ranks import ranks
from metamine.encoders.set import Set
from metamine.encoders.subsets import column_order, dealt, dealt_mask, mean_over_subsets
from metamine.encoders.transformer import Transformer
from metamine.episode import Episodes, Kind, Support


def encoder(name: str, **changes: int) -> Encoder:
    torch.manual_seed(0)
    made: Encoder = built("encoder", name, **changes)
    return made.double()


def with_holes(batch: Episodes) -> Episodes:
    """Missing cells, in one task a whole column, and a column of categories."""
    x, query_x = batch.support.x.clone(), batch.query_x.clone()
    x[:, 1, 0] = x[0, :, 2] = query_x[:, 0, 1] = torch.nan
    categorical = batch.support.categorical.clone()
    categorical[:, 1] = True
    support = replace(batch.support, x=x, categorical=categorical)
    return replace(batch, support=support, query_x=query_x)


def network(net: nn.Module, value: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        out: np.ndarray = net(torch.from_numpy(value)[None])[0].numpy()
    return out


# Set


def set_by_hand(net: Set, support: Support, row: np.ndarray) -> np.ndarray:
    """Equations 1 to 5 for one row of a single task."""
    x, categorical = support.x[0].numpy(), support.categorical[0].numpy().astype(float)
    n_rows, n_columns = x.shape
    if support.kind == "classification":
        present = np.unique(support.y[0].numpy())
        y = [[np.array([float(label == k), 1.0]) for k in present] for label in support.y[0]]
    else:
        y = [[np.array([float(target), 0.0])] for target in support.y[0]]

    def mean(values: list[np.ndarray]) -> np.ndarray:
        return np.mean(values, axis=0) if values else np.zeros(net.row[-1].out_features)

    def seen(i: int) -> list[int]:
        return [n for n in range(n_rows) if not np.isnan(x[n, i])]

    def beside(*values: object) -> np.ndarray:
        return np.concatenate([np.atleast_1d(value) for value in values])  # type: ignore[arg-type]

    f1, g1, f2, g2 = (
        net.attribute.element,
        net.attribute.whole,
        net.response.element,
        net.response.whole,
    )
    v = [
        network(g1, mean([network(f1, beside(x[n, i], categorical[i])) for n in seen(i)]))
        for i in range(n_columns)
    ]
    c = [network(g2, mean([network(f2, y[n][j]) for n in range(n_rows)])) for j in range(len(y[0]))]
    u = [
        network(
            net.row,
            mean(
                [
                    network(net.cell, beside(v[i], x[n, i]))
                    for i in range(n_columns)
                    if not np.isnan(x[n, i])
                ]
            )
            + mean([network(net.label, beside(c[j], y[n][j])) for j in range(len(c))]),
        )
        for n in range(n_rows)
    ]
    f5, g5 = net.attribute_again.element, net.attribute_again.whole
    v = [
        network(g5, mean([network(f5, beside(u[n], x[n, i])) for n in seen(i)]))
        for i in range(n_columns)
    ]
    f6, g6 = net.embedding.element, net.embedding.whole
    cells = [network(f6, beside(v[i], row[i])) for i in range(n_columns) if not np.isnan(row[i])]
    return network(g6, mean(cells))


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_set_equals_the_equations(kind: Kind) -> None:
    net = encoder("set", hidden=6, width=5)
    batch = with_holes(
        episodes(kind, n_tasks=2, shot=3, n_query=2, n_features=3, dtype=torch.float64)
    )
    if kind == "classification":  # class 1 has no row
        y = batch.support.y.where(batch.support.y != 1, 2)
        batch = replace(batch, support=replace(batch.support, y=y))
    wider = padded(batch, features=2, classes=1)
    with torch.no_grad():
        own, asked = net(wider.support, None), net(wider.support, wider.query_x)
    for task in range(2):
        one = batch[task : task + 1]
        for rows, x in ((own, one.support.x), (asked, one.query_x)):
            for n in range(2):
                expected = set_by_hand(net, one.support, x[0, n].numpy())
                np.testing.assert_allclose(rows[task, n].numpy(), expected, atol=1e-10)


# Transformer


class TransformerByHand:
    """One task, one cell at a time."""

    def __init__(self, net: Transformer, support: Support) -> None:
        self.net, self.x = net, support.x[0].numpy()
        self.categorical = support.categorical[0].numpy().astype(float)
        labels = support.y[0].numpy()
        if support.kind == "classification":
            told = net.klass.weight.detach().numpy().T[labels % net.klass.in_features]
        else:
            told = np.stack([network(net.target, np.array([y])) for y in labels])
        self.seen = [
            [self.token(row, i) + label for i in range(len(row))]
            for row, label in zip(self.x, told, strict=True)
        ]

    def token(self, row: np.ndarray, i: int) -> np.ndarray:
        column, value = self.x[:, i][~np.isnan(self.x[:, i])], row[i]
        missing = bool(np.isnan(value))
        rank = 0.0
        if not missing and len(column):
            rank = 2 * ((column < value).mean() + (column == value).mean() / 2) - 1
        told = [0.0 if missing else np.clip(value, -5, 5), rank, float(missing)]
        return network(self.net.cell, np.array([*told, self.categorical[i]]))

    def attend(self, net: nn.Module, token: np.ndarray, seen: list[np.ndarray]) -> np.ndarray:
        """Softmax over the keys and one that is 0, head by head."""
        query = network(net.query, token)
        keys = [network(net.key, each) for each in seen]
        values = [network(net.value, each) for each in seen]
        size = len(query) // net.heads
        heads = []
        for head in (slice(h * size, (h + 1) * size) for h in range(net.heads)):
            weight = np.exp([query[head] @ key[head] / np.sqrt(size) for key in keys])
            mixed = [w * value[head] for w, value in zip(weight, values, strict=True)]
            heads.append(np.sum(mixed, axis=0) / (1 + weight.sum()))
        return network(net.out, np.concatenate(heads))

    def block(
        self, net: nn.Module, row: list[np.ndarray], seen: list[list[np.ndarray]]
    ) -> list[np.ndarray]:
        down = []
        for i, cell in enumerate(row):
            column = [network(net.norm_down, other[i]) for other in seen]
            down.append(cell + self.attend(net.down, network(net.norm_down, cell), column))
        cells = [network(net.norm_along, cell) for cell in down]
        along = [cell + self.attend(net.along, cells[i], cells) for i, cell in enumerate(down)]
        return [cell + network(net.network, cell) for cell in along]

    def embedding(self, row: np.ndarray, own: int | None) -> np.ndarray:
        """`own`: the row is that one of the support, read without itself."""
        cells, seen = [self.token(row, i) for i in range(len(row))], self.seen
        for net in self.net.blocks:
            others = [each for n, each in enumerate(seen) if n != own]
            cells = self.block(net, cells, others)
            seen = [self.block(net, each, seen) for each in seen]
        return network(self.net.last, np.mean(cells, axis=0))


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_transformer_equals_loops_over_cells(kind: Kind) -> None:
    net = encoder("transformer", width=6, heads=2, depth=2, max_classes=2)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.4)
    batch = with_holes(
        episodes(kind, n_tasks=2, way=3, shot=2, n_query=2, n_features=3, dtype=torch.float64)
    )
    wider = padded(batch, features=2, classes=1)
    with torch.no_grad():
        own, asked = net(wider.support, None), net(wider.support, wider.query_x)
    for task in range(2):
        one = batch[task : task + 1]
        by_hand = TransformerByHand(net, one.support)
        for n in range(2):
            expected = by_hand.embedding(one.query_x[0, n].numpy(), None)
            np.testing.assert_allclose(asked[task, n].numpy(), expected, atol=1e-10)
            expected = by_hand.embedding(one.support.x[0, n].numpy(), n)
            np.testing.assert_allclose(own[task, n].numpy(), expected, atol=1e-10)


def test_a_support_row_does_not_see_its_own_label() -> None:
    """Of one block; through others, which have seen it, a second one may."""
    net, batch = encoder("transformer", depth=1), episodes(dtype=torch.float64)
    y = batch.support.y.clone()
    y[:, 0] = (y[:, 0] + 1) % 3
    with torch.no_grad():
        before = net(batch.support, None)
        after = net(replace(batch.support, y=y), None)
    assert torch.equal(before[:, 0], after[:, 0])
    assert (before[:, 1:] != after[:, 1:]).any(dim=-1).all()


# Ranks


def test_ranks_of_the_support_are_those_of_scipy() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 5, (3, 9, 4), generator=g).double()  # with ties
    x[0, 2:5, 1] = torch.nan
    ours = ranks(x, x).numpy()
    for task, column in np.ndindex(3, 4):
        values = x[task, :, column].numpy()
        there = ~np.isnan(values)
        expected = np.zeros(9)
        expected[there] = 2 * (rankdata(values[there]) - 0.5) / there.sum() - 1
        np.testing.assert_allclose(ours[task, :, column], expected, atol=1e-12)


def test_ranks_of_other_rows_count_the_support() -> None:
    support = torch.tensor([[[1.0, 7.0], [2.0, torch.nan], [2.0, torch.nan], [4.0, torch.nan]]])
    x = torch.tensor([[[0.0, 7.0], [2.0, 8.0], [3.0, 6.0], [9.0, torch.nan], [torch.nan, 7.0]]])
    expected = [[-1.0, 0.0], [0.0, 1.0], [0.5, -1.0], [1.0, 0.0], [0.0, 0.0]]
    assert ranks(x, support)[0].tolist() == expected


def test_a_column_that_the_support_lacks_has_no_ranks() -> None:
    x = torch.randn(2, 5, 1)
    assert not ranks(x, torch.full((2, 3, 1), torch.nan)).any()


def test_ranks_do_not_depend_on_units() -> None:
    x = torch.randn(2, 6, 3)
    assert torch.equal(ranks(x, x), ranks(x.exp() * 100, x.exp() * 100))


# Subsets of columns


def of_widths(widths: list[int], max_width: int) -> Support:
    batch = episodes(n_tasks=len(widths), n_features=max_width)
    mask = torch.arange(max_width) < torch.tensor(widths)[:, None]
    return replace(batch.support, x=batch.support.x * mask[:, None], feature_mask=mask)


@pytest.mark.parametrize("size", [1, 4, 5, 23, 40])
def test_every_column_is_dealt_once(size: int) -> None:
    widths = [1, 4, 5, 22, 23]
    support = of_widths(widths, 23)
    order_TF = column_order(support, size)
    name_T1F = torch.arange(23.0).expand(len(widths), 1, -1)
    names_TGK, real_TGK = dealt(name_T1F, order_TF, size)[:, 0], dealt_mask(support, order_TF, size)
    for task, width in enumerate(widths):
        names = names_TGK[task][real_TGK[task]].tolist()
        assert sorted(names) == list(range(width))
        filled = real_TGK[task].any(dim=-1).sum()
        assert filled == -(-width // size)  # no more subsets than needed
        if width <= size:
            assert names == list(range(width))


def test_neighbouring_columns_of_a_wide_table_are_parted() -> None:
    order_TF = column_order(of_widths([64], 64), 16)
    assert (order_TF.diff(dim=1).abs() > 1).all()


def test_the_mean_over_subsets_leaves_empty_ones_out() -> None:
    values = torch.tensor([[[[1.0], [3.0], [99.0]]], [[[5.0], [99.0], [99.0]]]])
    real = torch.tensor([[[True], [True], [False]], [[True], [False], [False]]])
    assert mean_over_subsets(values, real)[:, 0, 0].tolist() == [2.0, 5.0]


@pytest.mark.parametrize("name", names_in("encoder"))
def test_a_narrow_table_beside_a_wide_one_reads_as_alone(name: str) -> None:
    limit = {"max_features": 8} if name in ("mlp", "transformer") else {}
    net, narrow = encoder(name, **limit), episodes(n_features=5, dtype=torch.float64)
    beside = padded(narrow, features=25, classes=0)
    with torch.no_grad():
        for alone, together in (
            (net(narrow.support, None), net(beside.support, None)),
            (net(narrow.support, narrow.query_x), net(beside.support, beside.query_x)),
        ):
            same = together[..., : alone.shape[-1]]
            assert torch.allclose(alone, same, atol=1e-12)
            assert not together[..., alone.shape[-1] :].any()


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_a_wide_table_is_the_mean_of_its_subsets(name: str) -> None:
    net, batch = encoder(name, max_features=4), episodes(n_features=11, dtype=torch.float64)
    order_F = column_order(batch.support, 4)[0]
    if name == "transformer":
        net.last = nn.Identity()  # which comes after the mean
    with torch.no_grad():
        parts = [
            net(part.support, part.query_x)
            for part in (permuted_columns(batch, some_K) for some_K in order_F.split(4))
        ]
        whole = net(batch.support, batch.query_x)
    assert torch.allclose(whole, torch.stack(parts).mean(dim=0), atol=1e-12)


# Pooled


def test_pooled_is_the_mean_of_a_network_over_columns() -> None:
    torch.manual_seed(0)
    pooled = Pooled(built("encoder", "columnwise"), 7).double()
    batch = padded(episodes(dtype=torch.float64), features=3, classes=0)
    with torch.no_grad():
        ours = pooled(batch.support, batch.query_x)
        columns = pooled.encoder(batch.support, batch.query_x).split(pooled.encoder.width, dim=-1)
        assert pooled.part is not None
        expected = torch.stack([pooled.part(column) for column in columns[:5]]).mean(dim=0)
    assert pooled.width == ours.shape[-1] == 7
    assert torch.allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "set", "transformer"])
def test_pooled_leaves_other_encoders_alone(name: str) -> None:
    net, batch = encoder(name), episodes(dtype=torch.float64)
    pooled = Pooled(net, 7)
    assert pooled.width == net.width
    assert len(list(pooled.parameters())) == len(list(net.parameters()))
    with torch.no_grad():
        assert torch.equal(pooled(batch.support, None), net(batch.support, None))
