"""FLAT against its equations, one column and one attention head at a time, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from making import built_method, episodes
from torch import Tensor

from metamine.episode import Support
from metamine.methods.model.flat import FLAT
from metamine.methods.model.graph_attention import attend


def by_pairs(to: Tensor, of: Tensor, values: Tensor) -> Tensor:
    """A softmax over all pairs of columns, as it is printed."""
    scores = F.leaky_relu(to[..., :, None] + of[..., None, :], 0.2)
    return scores.softmax(dim=-1) @ values


def by_hand(flat: FLAT, support: Support, query_x: Tensor) -> Tensor:
    """Of one task without gaps: a loop over columns, over classes, over rows, over heads."""
    x_SF, y_S = support.x[0], support.y[0]
    n_columns = x_SF.shape[1]
    classes = y_S.unique()
    v, e, parts = [], [], []
    for i in range(n_columns):
        nothing = torch.zeros_like(x_SF[:, i])  # neither missing nor categorical
        cells = torch.stack([x_SF[:, i], nothing, nothing], dim=1)
        m = torch.stack([flat.cell(cells[y_S == c]).mean(dim=0) for c in classes])
        rows = torch.stack([(y_S == c).sum() for c in classes]).log1p()[:, None]
        v.append(flat.klass(torch.cat([m, m.mean(dim=0).expand_as(m), rows], dim=1)))
        told = torch.cat([v[i].mean(dim=0), m.mean(dim=0)])[None]
        e.append(flat.column(told))
        parts.append(flat.part(told))
    size = torch.full((1, 1), n_columns, dtype=torch.float64)
    d = flat.table(torch.cat([torch.stack(parts).mean(dim=0), size.log()], dim=1))
    logits = []
    for x_F in query_x[0]:
        z = [torch.cat([x_F[i, None], 0 * x_F[:1], e[i][0]]) for i in range(n_columns)]
        for layer in flat.gat:
            z = graph_attention(layer, z, d[0])
        for c in range(len(classes)):
            heads = [flat.head(torch.cat([v_i[c], d[0]])[None])[0] for v_i in v]
            products = [w @ z_i for w, z_i in zip(heads, z, strict=True)]
            logits.append(sum(products) / n_columns**0.5)
    return torch.stack(logits).view(-1, len(classes))


def graph_attention(layer: torch.nn.Module, z: list[Tensor], d: Tensor) -> list[Tensor]:
    """Equations 1 to 5 of Velickovic et al. 2018, with self-loops, and the node's own value."""
    n_out, n_in = layer.shape
    made = layer.generate(d)
    pieces = made.split([n_out * n_in, n_out, n_out, n_out])
    w, to, of, bias = (k * p / p.norm() for k, p in zip(layer.lengths, pieces, strict=True))
    h = [w.view(n_out, n_in) @ each for each in z]
    size = n_out // layer.heads
    out = []
    for i in range(len(h)):
        heads = []
        for k in range(layer.heads):
            part = slice(k * size, (k + 1) * size)
            scores = torch.stack(
                [F.leaky_relu(to[part] @ h[i][part] + of[part] @ each[part], 0.2) for each in h]
            )
            weights = scores.exp() / scores.exp().sum()
            heads.append(sum(a * each[part] for a, each in zip(weights, h, strict=True)))
        out.append(F.elu(h[i] + torch.cat(heads) + bias))
    return out


def test_answers_are_those_of_the_equations() -> None:
    flat = built_method("flat", hidden=6, column=3, width=4, heads=2, layers=2).double()
    batch = episodes(n_tasks=2, n_features=4, n_query=3, dtype=torch.float64)
    ours = flat.predict(batch.support, batch.query_x)
    for task in range(2):
        one = batch[task : task + 1]
        assert torch.allclose(ours[task], by_hand(flat, one.support, one.query_x), atol=1e-12)


@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0, 3000.0])
def test_attention_over_sorted_columns_is_that_over_pairs(spread: float) -> None:
    g = torch.Generator().manual_seed(0)
    to, of = spread * torch.randn(2, 5, 3, 12, generator=g, dtype=torch.float64)
    values = torch.randn(5, 3, 12, 4, generator=g, dtype=torch.float64)
    of[..., 7:9] = -torch.inf
    of[..., 1] = of[..., 0]  # a tie
    to[..., 2] = -of[..., 0]  # the corner of the leaky ReLU
    assert torch.allclose(attend(to, of, values), by_pairs(to, of, values), atol=1e-12)


def test_its_gradients_are_those_over_pairs() -> None:
    g = torch.Generator().manual_seed(0)
    inputs = [torch.randn(3, 6, generator=g, dtype=torch.float64) for _ in range(2)]
    inputs.append(torch.randn(3, 6, 2, generator=g, dtype=torch.float64))
    inputs = [each.requires_grad_() for each in inputs]
    slopes = [
        torch.autograd.grad(way(*inputs).square().sum(), inputs) for way in (attend, by_pairs)
    ]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*slopes, strict=True))


def test_attention_of_float32_stays_finite_far_out() -> None:
    to, of = 1e4 * torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(0))
    assert attend(to, of, torch.ones(4, 50, 1)).allclose(torch.ones(4, 50, 1))


def test_very_wide_tables_fit() -> None:
    """Scores for every pair of 20,000 columns would take 3 GB for a row."""
    batch = episodes(n_tasks=1, way=2, shot=1, n_query=1, n_features=20_000)
    flat = built_method("flat", hidden=4, column=2, width=4)
    with torch.no_grad():
        assert flat.predict(batch.support, batch.query_x).isfinite().all()


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"width \(5\) must be a multiple of heads \(2\)"):
        FLAT(hidden=4, column=2, width=5, heads=2, layers=1)
