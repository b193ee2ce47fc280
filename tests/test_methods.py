"""What every method promises, with every encoder; methods and encoders are found on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch
from making import (
    built_method,
    encoders_of,
    episodes,
    kinds_of,
    names_in,
    padded,
    permuted_classes,
    permuted_columns,
)

from metamine.encoders.base import Encoder
from metamine.episode import Episodes, Kind
from metamine.methods.base import Method

KINDS: tuple[Kind, ...] = ("classification", "regression")
# In regression, encoders are two: one that keeps columns apart, and one that does not.
EVERY: list[tuple[str, str, Kind]] = [
    (method, encoder, kind)
    for method in names_in("method")
    for encoder in encoders_of(method)
    for kind in KINDS
    if kind in kinds_of("method", method)
    if kind == "classification" or encoder in ("columnwise", "set")
]
# What takes long is tried for every method with its own encoder, and for every encoder once.
EVERY_ONE: list[tuple[str, str | None, Kind]] = [
    (method, None, kind)
    for method in names_in("method")
    for kind in KINDS
    if kind in kinds_of("method", method)
]
EVERY_ONE += [("protonet", encoder, "classification") for encoder in names_in("encoder")]


def over(
    combinations: Sequence[tuple[str, str | None, Kind]], *kinds: Kind
) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("name", "encoder", "kind"),
        [
            pytest.param(name, encoder, kind, id=f"{name}-{encoder or 'default'}-{kind}")
            for name, encoder, kind in combinations
            if kind in (kinds or KINDS)
        ],
    )


every = over(EVERY)
every_classifier = over(EVERY, "classification")
every_one = over(EVERY_ONE)
every_one_of_classification = over(EVERY_ONE, "classification")


def answers(method: Method, batch: Episodes) -> torch.Tensor:
    with torch.no_grad():
        return method.predict(batch.support, batch.query_x)


@cache
def made(name: str, encoder: str, kind: Kind) -> tuple[Method, Episodes, torch.Tensor]:
    """A method, tasks, and its answers: what most tests start from, and none changes."""
    method, batch = built_method(name, encoder), episodes(kind)
    return method, batch, answers(method, batch)


@every
def test_shape_and_finite(name: str, encoder: str, kind: Kind) -> None:
    _, batch, answer = made(name, encoder, kind)
    assert answer.shape == (*batch.query_y.shape, batch.support.n_outputs)
    assert answer.isfinite().all()


@pytest.mark.parametrize(("name", "encoder"), sorted({each[:2] for each in EVERY}))
def test_gradient_reaches_every_parameter(name: str, encoder: str) -> None:
    """In one kind of task at least, for each may have parameters of its own."""
    method = built_method(name, encoder)
    for parameter in method.parameters():  # zeros at the start would hide what lies behind them
        torch.nn.init.normal_(parameter, std=0.3)
    for kind in method.kinds:
        method.loss(episodes(kind)).backward()
    dead = {n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()}
    if "regression" not in method.kinds:
        # A constant added to every embedding may change no answer; targets are not read at all.
        endings = ("encoder.last.bias", "encoder.target.weight", "encoder.target.bias")
        dead = {name for name in dead if not name.endswith(endings)}
    assert not dead


@every
def test_predict_is_pure(name: str, encoder: str, kind: Kind) -> None:
    """Twice the same, gradients tracked or not, and no state changed."""
    method, batch, answer = made(name, encoder, kind)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    assert torch.equal(answer, answers(method, batch))
    tracked = method.predict(batch.support, batch.query_x).detach()
    assert torch.allclose(answer, tracked, atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in method.state_dict().items())


@every
def test_order_of_support_rows_where_claimed(name: str, encoder: str, kind: Kind) -> None:
    method, batch, answer = made(name, encoder, kind)
    order = torch.randperm(batch.support.y.shape[1])
    support = replace(batch.support, x=batch.support.x[:, order], y=batch.support.y[:, order])
    shuffled = answers(method, replace(batch, support=support))
    assert torch.allclose(answer, shuffled, atol=1e-4) == method.any_support_order


@every
def test_a_query_row_does_not_see_the_others(name: str, encoder: str, kind: Kind) -> None:
    method, batch, answer = made(name, encoder, kind)
    alone = replace(batch, query_x=batch.query_x[:, :1], query_y=batch.query_y[:, :1])
    assert torch.allclose(answer[:, :1], answers(method, alone), atol=1e-4)


@every
def test_padding_changes_nothing(name: str, encoder: str, kind: Kind) -> None:
    method, batch, answer = made(name, encoder, kind)
    beside = answers(method, padded(batch, features=3, classes=2))
    n_outputs = batch.support.n_outputs
    assert torch.allclose(answer, beside[..., :n_outputs], atol=1e-4)
    assert (beside[..., n_outputs:] == -torch.inf).all()


@every
def test_order_of_columns_where_claimed(name: str, encoder: str, kind: Kind) -> None:
    method, batch, answer = made(name, encoder, kind)
    shuffled = answers(method, permuted_columns(batch, torch.tensor([3, 1, 4, 0, 2])))
    claimed = method.any_column_order and all(e.any_column_order for e in encoders_in(method))
    assert torch.allclose(answer, shuffled, atol=1e-4) == claimed


@every_classifier
def test_names_of_classes_where_claimed(name: str, encoder: str, kind: Kind) -> None:
    method, batch, answer = made(name, encoder, kind)
    order = torch.tensor([2, 0, 1])
    renamed = answers(method, permuted_classes(batch, order))[..., order]
    assert torch.allclose(answer, renamed, atol=1e-4) == names_do_not_matter(method)


@every_one_of_classification
def test_names_of_classes_do_not_matter_on_average(
    name: str, encoder: str | None, kind: Kind
) -> None:
    method = built_method(name, encoder)
    if names_do_not_matter(method):
        pytest.skip("nor do they matter to any single answer, which has a test of its own")
    batch, order = episodes(n_tasks=200), torch.tensor([2, 0, 1])
    right, renamed_right = (
        (answers(method, each).argmax(dim=-1) == each.query_y).double().mean(dim=1)
        for each in (batch, permuted_classes(batch, order))
    )
    difference = right - renamed_right
    assert abs(difference.mean()) <= 4 * difference.std() / 200**0.5


def names_do_not_matter(method: Method) -> bool:
    return method.any_class_names and all(each.any_class_names for each in encoders_in(method))


def encoders_in(method: Method) -> list[Encoder]:
    return [module for module in method.modules() if isinstance(module, Encoder)]


@every
def test_hard_supports(name: str, encoder: str, kind: Kind) -> None:
    """Missing cells, a missing column, a constant one; one row; one of each class; one column."""
    method, batch, _ = made(name, encoder, kind)
    holes = batch.support.x.clone()
    holes[:, ::3, 0] = torch.nan
    holes[..., 1] = torch.nan
    holes[..., 2] = 0.0
    one_row = replace(batch.support, x=batch.support.x[:, :1], y=batch.support.y[:, :1])
    for hard in (
        replace(batch, support=replace(batch.support, x=holes)),
        replace(batch, support=one_row),
        episodes(kind, way=2, shot=1),
        episodes(kind, n_features=1),
    ):
        answer = answers(method, hard)
        if kind == "classification":
            answer = answer.where(hard.support.present_TC[:, None], 0.0)
        assert answer.isfinite().all()


@every_one
def test_many_columns(name: str, encoder: str | None, kind: Kind) -> None:
    batch = episodes(kind, n_features=500, n_tasks=1)
    assert answers(built_method(name, encoder), batch).isfinite().all()


@every_one_of_classification
def test_many_classes(name: str, encoder: str | None, kind: Kind) -> None:
    batch = episodes(way=40, shot=1, n_query=40)
    assert answers(built_method(name, encoder), batch).isfinite().all()


@every_classifier
def test_a_class_without_support_rows(name: str, encoder: str, kind: Kind) -> None:
    method, batch = built_method(name, encoder), episodes()
    lacking = replace(batch, support=replace(batch.support, y=batch.support.y.clamp(max=1)))
    out = answers(method, lacking)
    assert (out[..., 2] == -torch.inf).all()
    assert out[..., :2].isfinite().all()
    loss = method.loss(lacking)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


@every_one_of_classification
def test_labels_shuffled_is_chance(name: str, encoder: str | None, kind: Kind) -> None:
    """Nothing but the support tells a class: with its labels shuffled, accuracy is chance."""
    batch = episodes(n_tasks=200, way=2, shot=5, n_query=20)
    g = torch.Generator().manual_seed(1)
    y = torch.rand(batch.support.y.shape, generator=g).argsort(dim=1).remainder(2)
    fooled = replace(batch, support=replace(batch.support, y=y))
    right = answers(built_method(name, encoder), fooled).argmax(dim=-1) == batch.query_y
    per_task = right.double().mean(dim=1)
    assert abs(per_task.mean() - 0.5) <= 4 * per_task.std() / 200**0.5


@every_one
def test_what_the_loss_depends_on_is_said(name: str, encoder: str | None, kind: Kind) -> None:
    """Chunks may be computed in any order, unless the method says that the order matters."""
    method, batch = built_method(name, encoder), episodes(kind)
    losses = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        losses.append(method.loss(batch).item())
    assert (losses[0] == losses[1]) != method.ordered_loss


@every_one
def test_runs_on_the_meta_device(name: str, encoder: str | None, kind: Kind) -> None:
    """A tensor made on the wrong device, or a value read on the host, raises there."""
    method = built_method(name, encoder, light=True).to("meta")
    batch = episodes(kind).to(torch.device("meta"))
    loss = method.loss(batch)
    loss.backward()
    assert loss.device.type == "meta"
    assert answers(method, batch).shape == (*batch.query_y.shape, batch.support.n_outputs)


@every_one
def test_meta_training_helps(name: str, encoder: str | None, kind: Kind) -> None:
    """A few steps on tasks of one kind lower the loss on tasks of that kind that it never saw."""
    method = built_method(name, encoder)
    held_out = episodes(kind, n_tasks=64, seed=10_000)
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    before = method.loss(held_out).item()
    for step in range(80):
        optimizer.zero_grad()
        method.loss(episodes(kind, n_tasks=4, seed=step)).backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 9 and method.loss(held_out).item() < before - 0.02 * abs(before):
            return
    pytest.fail(f"{before:.3f} before, {method.loss(held_out).item():.3f} after {step + 1} steps")
