"""Warm starts: what the bank holds, and what a new task begins with, by hand."""

from __future__ import annotations

import pytest
import torch
from hand_loops import mean_loss, slopes, start
from making import built_method, episodes

from metamine.episode import Episodes, Kind, Support
from metamine.errors import UsageError
from metamine.methods.metric.nearest_task import NearestTask
from metamine.methods.metric.similarity import labelled

SMALL = {"bank": 6, "nearest": 3, "inner_steps": 2}
ENCODERS = pytest.mark.parametrize("encoder", ["columnwise", "set"])  # columns apart, and not
KINDS = pytest.mark.parametrize("kind", ["classification", "regression"])


def made(encoder: str = "set") -> NearestTask:
    method = built_method("nearest_task", encoder, **SMALL).double()
    for parameter in method.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return method  # type: ignore[no-any-return]


def filled(method: NearestTask, kind: Kind = "classification") -> NearestTask:
    method.loss(episodes(kind, n_tasks=5, seed=7, dtype=torch.float64))
    return method


def adapted(
    method: NearestTask, scale: torch.Tensor, one: Support
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The scales, the head and the bias of a single task after its inner steps."""
    network = method.network
    z = network.encoder(one, None)[0].detach()
    first = start(network, one)
    phi = {"scale": scale, "head": first["head"].detach(), "bias": first["bias"].detach()}
    for _ in range(method.inner_steps):
        phi = {name: each.detach().requires_grad_() for name, each in phi.items()}
        loss = mean_loss(read(phi["scale"], phi["head"], phi["bias"], z), one.y[0])
        by = slopes(loss, phi, False, method.inner_clip)
        phi = {name: phi[name] - method.inner_lr * by[name] for name in phi}
    return phi["scale"].detach(), phi["head"].detach(), phi["bias"].detach()


def read(
    scale: torch.Tensor, head: torch.Tensor, bias: torch.Tensor, z: torch.Tensor
) -> torch.Tensor:
    """Each number of an embedding by one plus its scale, the same for every column; then linear."""
    scales = torch.cat([1 + scale] * (z.shape[1] // len(scale)))
    return (z * scales) @ head.T + bias


@ENCODERS
@KINDS
def test_the_bank_keeps_what_training_tasks_came_to(encoder: str, kind: Kind) -> None:
    method, batch = made(encoder), episodes(kind, n_tasks=4, dtype=torch.float64)
    method.loss(batch)
    assert method.filled == 4
    d_TD = method.similarity.embed(batch.support)
    assert torch.allclose(method.bank_d[:4], d_TD)
    for t in range(4):
        whole = labelled(batch[t : t + 1])
        scale, *_ = adapted(method, torch.zeros(method.bank_scale.shape[1]).double(), whole)
        assert scale.abs().max() > 1e-4
        assert torch.allclose(method.bank_scale[t], scale)
    assert not method.bank_scale[4:].any()


def test_new_tasks_take_the_place_of_the_oldest() -> None:
    method = made()
    batches = [episodes(n_tasks=4, seed=seed, dtype=torch.float64) for seed in range(2)]
    for batch in batches:
        method.loss(batch)
    old, new = (method.similarity.embed(batch.support) for batch in batches)
    expected = torch.cat([new[2:], old[2:], new[:2]])
    assert torch.allclose(method.bank_d, expected)
    assert method.filled == 8

    many = episodes(n_tasks=9, seed=5, dtype=torch.float64)  # more than the bank holds
    method.loss(many)
    kept = method.similarity.embed(many.support)[3:]
    places = (torch.arange(6) + 8 + 3) % 6
    assert torch.allclose(method.bank_d[places], kept)


def start_by_hand(method: NearestTask, one: Support) -> torch.Tensor:
    d = method.similarity.embed(one)[0]
    total, share = torch.zeros(method.bank_scale.shape[1]).double(), 1.0
    known = []
    for m in range(min(int(method.filled), len(method.bank_d))):
        distance = ((d - method.bank_d[m]).square().sum() + 1e-6).sqrt()
        logit = method.similarity.b - method.similarity.log_a.exp() * distance
        known.append((torch.sigmoid(logit).item(), m))
    for s, m in sorted(known, reverse=True)[: method.nearest]:
        total, share = total + s * method.bank_scale[m], share + s
    return (total / share).detach()


@ENCODERS
@KINDS
def test_a_warm_start_is_the_loop_by_hand(encoder: str, kind: Kind) -> None:
    method = filled(made(encoder), kind)
    batch = episodes(kind, n_tasks=3, dtype=torch.float64)
    ours = method.predict(batch.support, batch.query_x).detach()
    for t in range(3):
        one = batch[t : t + 1]
        scale = start_by_hand(method, one.support)
        assert scale.abs().max() > 1e-5
        assert torch.allclose(method.start(one.support)[0], scale)
        weights = adapted(method, scale, one.support)
        z = method.network.encoder(one.support, one.query_x)[0]
        assert torch.allclose(ours[t], read(*weights, z))


@pytest.mark.parametrize("n_tasks", [0, 2])
def test_a_bank_that_is_not_full(n_tasks: int) -> None:
    """Fewer tasks than are mixed: what is there, and 0 where nothing is."""
    method = made()
    if n_tasks:
        method.loss(episodes(n_tasks=n_tasks, seed=7, dtype=torch.float64))
    support = episodes(n_tasks=1, dtype=torch.float64).support
    assert torch.allclose(method.start(support)[0], start_by_hand(method, support))
    assert method.start(support).any() == bool(n_tasks)


def test_the_bank_is_part_of_checkpoints() -> None:
    method, other = filled(made()), made()
    other.load_state_dict(method.state_dict())
    batch = episodes(dtype=torch.float64)
    answers = [each.predict(batch.support, batch.query_x) for each in (method, other)]
    assert torch.equal(*answers)
    assert not torch.equal(answers[0], made().predict(batch.support, batch.query_x))


def test_the_query_loss_teaches_no_similarity() -> None:
    """What d learns, it learns from the log-loss of the similarity alone."""

    def slope(batch: Episodes, whole: bool) -> torch.Tensor:
        method = filled(made())
        torch.manual_seed(1)
        loss = method.loss(batch) if whole else method.similarity.loss(batch)
        parameters = list(method.similarity.parameters())
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, parameters)])

    batch = episodes(dtype=torch.float64)
    assert torch.equal(slope(batch, True), slope(batch, False))


def test_more_nearest_than_the_bank_holds() -> None:
    with pytest.raises(UsageError, match="nearest=7 of a bank=6"):
        built_method("nearest_task", **SMALL | {"nearest": 7})
