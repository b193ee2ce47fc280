"""The in-context transformer against loops over rows, and against the posterior of its prior."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from making import built_method, episodes

from metamine.episode import Episodes, Kind
from metamine.methods.model.in_context import InContext


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_equals_loops_over_tasks_and_rows(kind: Kind) -> None:
    method = built_method("in_context", "mlp").double()
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    batch = episodes(kind, n_tasks=2, n_query=3, dtype=torch.float64)
    with torch.no_grad():
        answer = method.predict(batch.support, batch.query_x)
        for task in range(2):
            expected = _by_hand(method, batch[task : task + 1])
            assert torch.allclose(
                answer[task].softmax(-1) if kind == "classification" else answer[task],
                expected,
                atol=1e-10,
            )


def _by_hand(method: InContext, one: Episodes) -> torch.Tensor:
    support = one.support
    y = support.y[0]
    seen = method.row(method.encoder(support, None))[0]
    rows = method.row(method.encoder(support, one.query_x))[0]
    centre = seen.mean(dim=0)
    if support.kind == "classification":
        labels = torch.stack([method.klass.weight[:, label] for label in y])
    else:
        labels = torch.stack([method.target(target[None, None])[0] for target in y])
    size = (seen - centre).square().mean().sqrt()
    seen, rows = (seen - centre) / size + labels, (rows - centre) / size
    for block in method.blocks:
        rows, seen = (
            torch.stack([_block(block, row, seen) for row in each]) for each in (rows, seen)
        )
    rows, seen = method.last(rows), method.last(seen)
    if support.kind == "regression":
        return method.answer(rows)
    answers = []
    for row in rows:
        cosine = torch.stack(
            [
                F.cosine_similarity(method.key(row[None])[0], method.key(other[None])[0], dim=0)
                for other in seen
            ]
        )
        vote = (method.log_scale.exp() * cosine).softmax(dim=0)
        answers.append(torch.stack([vote[y == label].sum() for label in range(support.way)]))
    return torch.stack(answers)


def _block(block: torch.nn.Module, row: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    attend, width = block.attend, len(row) // block.attend.heads
    query = attend.query(block.norm(row[None]))[0]
    keys, values = attend.key(block.norm(seen)), attend.value(block.norm(seen))
    read = []
    for head in range(attend.heads):
        part = slice(head * width, (head + 1) * width)
        weights = [math.exp(query[part] @ key[part] / width**0.5) for key in keys]
        total = sum(weights) + 1  # and the key that is 0
        read.append(sum(w / total * value[part] for w, value in zip(weights, values, strict=True)))
    row = row + attend.out(torch.cat(read)[None])[0]
    return row + block.network(row[None])[0]


def test_learns_the_posterior_of_its_prior() -> None:
    """Two classes at -1 and 1 with variance 1, or the other way round; the support tells which.

    The answer is then a logistic function of x, whose direction the labels give away.
    """
    method = built_method("in_context", "mlp", width=16, heads=2, depth=1)
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    for step in range(200):
        optimizer.zero_grad()
        method.loss(_two_blobs(32, seed=step)).backward()
        optimizer.step()
    fresh = _two_blobs(200, seed=10_000)
    with torch.no_grad():
        ours = method.loss(fresh)
    flipped = torch.sign((fresh.support.x[..., 0] * (2 * fresh.support.y - 1)).sum(dim=1))
    logit = 2 * fresh.query_x[..., 0] * flipped[:, None]
    best = F.binary_cross_entropy_with_logits(logit, fresh.query_y.float())
    assert ours < best + 0.25 * (math.log(2) - best)


def _two_blobs(n_tasks: int, seed: int) -> Episodes:
    batch = episodes(n_tasks=n_tasks, way=2, shot=8, n_query=10, n_features=1, seed=seed)
    g = torch.Generator().manual_seed(seed)
    sign = torch.randint(2, (n_tasks, 1), generator=g) * 2 - 1
    x, query_x = (
        torch.randn(y.shape, generator=g) + sign * (2 * y - 1)
        for y in (batch.support.y, batch.query_y)
    )
    support = replace(batch.support, x=x[..., None])
    return replace(batch, support=support, query_x=query_x[..., None])
