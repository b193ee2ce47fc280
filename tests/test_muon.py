"""Muon against torch's own, in bfloat16, and against a singular value decomposition."""

from __future__ import annotations

import copy

import pytest
import torch
from making import built

from metamine.muon import MatrixMuon, orthogonal


def test_moves_as_torch_does() -> None:
    g = torch.Generator().manual_seed(0)
    shapes = [(4, 4), (3, 7), (7, 3), (4, 4)]
    ours = [torch.nn.Parameter(torch.randn(shape, generator=g)) for shape in shapes]
    theirs = [torch.nn.Parameter(each.detach().clone()) for each in ours]
    pairs = (
        MatrixMuon(ours, lr=0.1, momentum=0.9, weight_decay=0.1),
        torch.optim.Muon(theirs, lr=0.1, momentum=0.9, weight_decay=0.1),
    )
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=g)
            other.grad = mine.grad.clone()
        for optimizer in pairs:
            optimizer.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=0.02, rtol=0.02)


def test_orthogonal_is_nearly_the_polar_factor() -> None:
    matrix_MRC = torch.randn(5, 6, 9, generator=torch.Generator().manual_seed(1))
    for each in (matrix_MRC, matrix_MRC.mT):
        u, _, v = torch.linalg.svd(each, full_matrices=False)
        turned = u.mT @ orthogonal(each) @ v.mT
        size = turned.diagonal(dim1=1, dim2=2)
        assert size.min() > 0.6
        assert size.max() < 1.3
        torch.testing.assert_close(turned, size.diag_embed(), atol=1e-4, rtol=0)


def test_goes_on_as_if_it_had_not_stopped() -> None:
    def parameters() -> list[torch.nn.Parameter]:
        return [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(4))]

    def steps(over: list[torch.nn.Parameter], optimizer: object, schedule: object, n: int) -> None:
        for _ in range(n):
            for each in over:
                each.grad = each.detach().cos() * torch.arange(1.0, each.numel() + 1).view_as(each)
            optimizer.step()  # type: ignore[attr-defined]
            schedule.step()  # type: ignore[attr-defined]

    whole, halves = parameters(), parameters()
    steps(whole, *built("optimizer", "muon").over(whole, 6), 6)
    optimizer, schedule = built("optimizer", "muon").over(halves, 6)
    steps(halves, optimizer, schedule, 3)
    kept = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
    again = [torch.nn.Parameter(each.detach().clone()) for each in halves]
    optimizer, schedule = built("optimizer", "muon").over(again, 6)
    optimizer.load_state_dict(kept[0])
    schedule.load_state_dict(kept[1])
    steps(again, optimizer, schedule, 3)
    for one, other in zip(whole, again, strict=True):
        assert one.equal(other)


@pytest.mark.parametrize("shapes", [[(3,)], [(3, 2)]])
def test_vectors_or_matrices_alone(shapes: list[tuple[int, ...]]) -> None:
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
    optimizer, _ = built("optimizer", "muon").over(parameters, 6)
    parameters[0].grad = torch.ones(shapes[0])
    optimizer.step()
    assert (parameters[0] < 1).all()
