"""What every method promises, with every encoder; methods and encoders are found on disk."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from making import (
    built_method,
    encoders_of,
    episodes,
    names_in,
    padded,
    permuted_classes,
    permuted_columns,
)

from metamine.encoders.base import Encoder
from metamine.episode import Episodes, Kind
from metamine.methods.base import Method

EVERY = [
    pytest.param(method, encoder, kind, id=f"{method}-{encoder}-{kind}")
    for method in names_in("method")
    for encoder in encoders_of(method)
    for kind in ("classification", "regression")
    if kind in built_method(method, encoder).kinds
]
every = pytest.mark.parametrize(("name", "encoder", "kind"), EVERY)
# Where it suffices to try every method once, and every encoder once.
WITH_ITS_ENCODER = [
    pytest.param(method, kind, id=f"{method}-{kind}")
    for method in names_in("method")
    for kind in ("classification", "regression")
    if kind in built_method(method).kinds
]


def answers(method: Method, batch: Episodes) -> torch.Tensor:
    with torch.no_grad():
        return method.predict(batch.support, batch.query_x)


@every
def test_shape_and_finite(name: str, encoder: str, kind: Kind) -> None:
    batch = episodes(kind)
    out = answers(built_method(name, encoder), batch)
    assert out.shape == (*batch.query_y.shape, batch.support.n_outputs)
    assert out.isfinite().all()


@pytest.mark.parametrize(("name", "encoder"), sorted({each.values[:2] for each in EVERY}))
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
    method, batch = built_method(name, encoder), episodes(kind)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    assert torch.equal(answers(method, batch), answers(method, batch))
    assert all(torch.equal(before[key], value) for key, value in method.state_dict().items())


@every
def test_training_and_answering_agree(name: str, encoder: str, kind: Kind) -> None:
    method, batch = built_method(name, encoder), episodes(kind)
    tracked = method.predict(batch.support, batch.query_x).detach()
    assert torch.allclose(tracked, answers(method, batch), atol=1e-5)


@every
def test_order_of_support_rows_where_claimed(name: str, encoder: str, kind: Kind) -> None:
    method, batch = built_method(name, encoder), episodes(kind)
    order = torch.randperm(batch.support.y.shape[1])
    support = replace(batch.support, x=batch.support.x[:, order], y=batch.support.y[:, order])
    shuffled = replace(batch, support=support)
    same = torch.allclose(answers(method, batch), answers(method, shuffled), atol=1e-4)
    assert same == method.any_support_order


@every
def test_a_query_row_does_not_see_the_others(name: str, encoder: str, kind: Kind) -> None:
    method, batch = built_method(name, encoder), episodes(kind)
    alone = replace(batch, query_x=batch.query_x[:, :1], query_y=batch.query_y[:, :1])
    assert torch.allclose(answers(method, batch)[:, :1], answers(method, alone), atol=1e-5)


@every
def test_padding_changes_nothing(name: str, encoder: str, kind: Kind) -> None:
    method, batch = built_method(name, encoder), episodes(kind)
    alone, beside = answers(method, batch), answers(method, padded(batch, features=3, classes=2))
    n_outputs = batch.support.n_outputs
    assert torch.allclose(alone, beside[..., :n_outputs], atol=1e-4)
    assert (beside[..., n_outputs:] == -torch.inf).all()


@every
def test_names_of_classes_do_not_matter(name: str, encoder: str, kind: Kind) -> None:
    """To single answers where the method claims it; where it does not, on average over tasks."""
    if kind == "regression":
        pytest.skip("a regression task has no classes")
    method = built_method(name, encoder)
    if method.any_class_names and all(each.any_class_names for each in encoders_in(method)):
        batch, order = episodes(), torch.tensor([2, 0, 1])
        renamed = answers(method, permuted_classes(batch, order))[..., order]
        assert torch.allclose(answers(method, batch), renamed, atol=1e-4)
        return
    batch, order = episodes(n_tasks=200), torch.tensor([2, 0, 1])
    right, renamed_right = (
        (answers(method, each).argmax(dim=-1) == each.query_y).double().mean(dim=1)
        for each in (batch, permuted_classes(batch, order))
    )
    difference = right - renamed_right
    assert difference.any(), "claim any_class_names: they change no answer"
    assert abs(difference.mean()) < 4 * difference.std() / 200**0.5


@every
def test_order_of_columns_where_claimed(name: str, encoder: str, kind: Kind) -> None:
    method, batch = built_method(name, encoder), episodes(kind)
    same = torch.allclose(
        answers(method, batch),
        answers(method, permuted_columns(batch, torch.tensor([3, 1, 4, 0, 2]))),
        atol=1e-4,
    )
    assert same == (
        method.any_column_order and all(each.any_column_order for each in encoders_in(method))
    )


def encoders_in(method: Method) -> list[Encoder]:
    return [module for module in method.modules() if isinstance(module, Encoder)]


@every
def test_hard_supports(name: str, encoder: str, kind: Kind) -> None:
    """Missing cells, a missing column, a constant one, one row, one column, many columns."""
    method = built_method(name, encoder)
    batch = episodes(kind)
    holes = batch.support.x.clone()
    holes[:, ::3, 0] = torch.nan
    holes[..., 1] = torch.nan
    holes[..., 2] = 0.0
    for hard in (
        replace(batch, support=replace(batch.support, x=holes)),
        episodes(kind, way=2, shot=1),
        episodes(kind, n_features=1),
        episodes(kind, n_features=500, n_tasks=1),
    ):
        assert answers(method, hard).isfinite().all()


@every
def test_many_classes_and_absent_ones(name: str, encoder: str, kind: Kind) -> None:
    if kind == "regression":
        pytest.skip("a regression task has no classes")
    method = built_method(name, encoder)
    assert answers(method, episodes(way=40, shot=1, n_query=40)).isfinite().all()
    batch = episodes()
    lacking = replace(batch, support=replace(batch.support, y=batch.support.y.clamp(max=1)))
    out = answers(method, lacking)
    assert (out[..., 2] == -torch.inf).all()
    assert out[..., :2].isfinite().all()
    loss = method.loss(lacking)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


@every
def test_labels_shuffled_is_chance(name: str, encoder: str, kind: Kind) -> None:
    """Nothing but the support tells a class: with its labels shuffled, accuracy is chance."""
    if kind == "regression":
        pytest.skip("a regression task has no classes")
    batch = episodes(n_tasks=200, way=2, shot=5, n_query=20)
    g = torch.Generator().manual_seed(1)
    y = torch.rand(batch.support.y.shape, generator=g).argsort(dim=1).remainder(2)
    fooled = replace(batch, support=replace(batch.support, y=y))
    right = answers(built_method(name, encoder), fooled).argmax(dim=-1) == batch.query_y
    per_task = right.double().mean(dim=1)
    assert abs(per_task.mean() - 0.5) < 4 * per_task.std() / 200**0.5


@pytest.mark.parametrize(
    ("name", "kind", "encoder"),
    [pytest.param(*each.values, None, id=each.id) for each in WITH_ITS_ENCODER]
    + [pytest.param("protonet", "classification", each) for each in names_in("encoder")],
)
def test_runs_on_the_meta_device(name: str, kind: Kind, encoder: str | None) -> None:
    """A tensor made on the wrong device, or a value read on the host, raises there."""
    method = built_method(name, encoder).to("meta")
    batch = episodes(kind).to(torch.device("meta"))
    loss = method.loss(batch)
    loss.backward()
    assert loss.device.type == "meta"
    assert answers(method, batch).shape == (*batch.query_y.shape, batch.support.n_outputs)


@pytest.mark.parametrize(("name", "kind"), WITH_ITS_ENCODER)
def test_meta_training_helps(name: str, kind: Kind) -> None:
    """A few steps on tasks of one kind lower the loss on tasks of that kind that it never saw."""
    method = built_method(name)
    held_out = episodes(kind, n_tasks=64, seed=10_000)
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    before = method.loss(held_out).item()
    for step in range(40):
        optimizer.zero_grad()
        method.loss(episodes(kind, n_tasks=8, seed=step)).backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
    assert method.loss(held_out).item() < before
