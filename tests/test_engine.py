"""The two loops."""

from __future__ import annotations

import pytest
import torch
from making import built_method, episodes

from metamine import engine
from metamine.plan import Planned


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_chunks_add_up_to_the_gradient_of_the_batch(chunk_size: int) -> None:
    method, whole = (built_method("maml", "mlp").double() for _ in range(2))
    batch = episodes(n_tasks=7, dtype=torch.float64)
    loss = whole.loss(batch)
    loss.backward()
    seen = []
    optimizer = torch.optim.SGD(method.parameters(), lr=0.0)
    engine.train(
        method,
        optimizer,
        torch.optim.lr_scheduler.ConstantLR(optimizer),
        [(1, batch)],
        None,
        chunk_size,
        lambda step, loss: seen.append((step, loss)),
    )
    for ours, theirs in zip(method.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-12)
    assert seen[0][0] == 1
    assert seen[0][1].item() == pytest.approx(loss.item())


@pytest.mark.parametrize("name", ["maml", "cell_transformer"])
def test_parallel_chunks_change_no_number(name: str) -> None:
    def trained(parallel_chunks: int) -> list[torch.Tensor]:
        method = built_method(name, "mlp" if name == "maml" else None)
        optimizer = torch.optim.Adam(method.parameters())
        engine.train(
            method,
            optimizer,
            torch.optim.lr_scheduler.ConstantLR(optimizer),
            [(step, episodes(n_tasks=7, seed=step)) for step in range(3)],
            1.0,
            2,
            lambda step, loss: losses.append(loss),
            parallel_chunks,
        )
        return list(method.parameters())

    losses: list[torch.Tensor] = []
    one, three = trained(1), trained(3)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))
    assert losses[:3] == losses[3:]


@pytest.mark.parametrize("chunk_size", [2, 100])
def test_scores_are_those_of_the_whole_batch(chunk_size: int) -> None:
    method, batch = built_method("protonet", "columnwise"), episodes(n_tasks=5)
    planned = Planned(tuple("abcab"), (0, 0, 0, 1, 1), batch)
    columns: dict[str, list[object]] = {}
    for part in engine.evaluate(method, [planned], chunk_size):
        for name, values in part.items():
            columns.setdefault(name, []).extend(values)
    right = method.predict(batch.support, batch.query_x).argmax(dim=-1) == batch.query_y
    assert columns["accuracy"] == pytest.approx(right.double().mean(dim=1).tolist())
    assert columns["table"] == list("abcab")
    assert columns["episode"] == [0, 0, 0, 1, 1]
    assert columns["fallback"] == [False] * 5
    assert columns["column_subsets"] == [1] * 5
    assert all(seconds > 0 for seconds in columns["seconds"])
    assert method.training
