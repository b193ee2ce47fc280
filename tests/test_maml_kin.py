"""The kin of MAML against loops written out by hand, one task at a time, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hand_loops import Weights, answers, mean_loss, meta_gradient, slopes, start
from making import built_method, episodes
from torch import Tensor

from metamine.episode import Episodes, Kind
from metamine.methods.base import Method


def anil(method: Any, one: Episodes) -> Tensor:
    """The encoder keeps its weights; the head takes the steps."""
    phi = start(method.network, one.support)
    for _ in range(method.inner_steps):
        head = {name: phi[name] for name in ("head", "bias")}
        slope = support_slopes(method, phi, head, one)
        phi |= {name: head[name] - method.inner_lr * slope[name] for name in head}
    return query_loss(method, phi, one)


def boil(method: Any, one: Episodes) -> Tensor:
    """The head keeps its weights, of which every class has its own; the encoder takes the steps."""
    phi = start(method.network, one.support)
    if one.support.kind == "classification":
        blocks = phi["head"].shape[1] // method.network.encoder.width
        rows = [phi["head"][k] * method.classes[k].repeat(blocks) for k in range(one.support.way)]
        phi["head"] = torch.stack(rows)
        unadapted = answers(method.network, phi, one.support, one.support.x)
        phi["bias"] = phi["bias"] - unadapted.mean(dim=0)
    phi = {name: weight.clone() for name, weight in phi.items()}  # the bias stays when these move
    for _ in range(method.inner_steps):
        body = {name: weight for name, weight in phi.items() if name.startswith("encoder.")}
        slope = support_slopes(method, phi, body, one)
        phi |= {name: body[name] - method.inner_lr * slope[name] for name in body}
    return query_loss(method, phi, one)


def meta_sgd(method: Any, one: Episodes) -> Tensor:
    """Each weight has a rate; those of the head are shared by classes and columns."""
    phi = start(method.network, one.support)
    alpha = dict(zip(own_names(method), method.rates, strict=True))
    blocks = phi["head"].shape[1] // method.network.encoder.width
    alpha["head"] = torch.stack([alpha["head"].repeat(blocks)] * one.support.n_outputs)
    for _ in range(method.inner_steps):
        slope = support_slopes(method, phi, phi, one)
        phi = {name: phi[name] - alpha[name] * slope[name] for name in phi}
    return query_loss(method, phi, one)


def meta_curvature(method: Any, one: Episodes) -> Tensor:
    """M_o G M_i, tensor by tensor; the head's blocks, one for each column, one after the other."""
    phi = start(method.network, one.support)
    width = method.network.encoder.width
    for _ in range(method.inner_steps):
        slope = support_slopes(method, phi, phi, one)
        for name, matrices in zip(own_names(method), method.matrices, strict=True):
            if name == "head":
                (inner,) = matrices
                blocks = [block @ inner for block in slope[name].split(width, dim=1)]
                slope[name] = torch.cat(blocks, dim=1)
            elif slope[name].dim() == 2:
                outer, inner = matrices
                slope[name] = torch.einsum("ab,bc,cd->ad", outer, slope[name], inner)
            elif name != "bias":
                (only,) = matrices
                slope[name] = torch.einsum("b,ba->a", slope[name], only)
        phi = {name: phi[name] - method.inner_lr * slope[name] for name in phi}
    return query_loss(method, phi, one)


def maml_plus_plus(method: Any, one: Episodes) -> Tensor:
    """A rate for each tensor and step; half of the loss is the mean over steps."""
    phi = start(method.network, one.support)
    losses = []
    for step in range(method.inner_steps):
        slope = support_slopes(method, phi, phi, one)
        for number, name in enumerate(own_names(method)):
            phi[name] = phi[name] - method.rates[step, number] * slope[name]
        losses.append(query_loss(method, phi, one))
    return 0.5 * sum(losses) / len(losses) + 0.5 * losses[-1]  # type: ignore[no-any-return]


def cavia(method: Any, one: Episodes) -> Tensor:
    """A context for each class and column, zeros at first; class by class, column by column."""
    support, encoder = one.support, method.encoder
    n_columns = support.x.shape[2] if encoder.per_column else 1

    def answers_of(phi: Tensor, x: Tensor) -> Tensor:
        z = encoder(support, x)[0] * n_columns**0.5
        classes = []
        for of_class in phi:
            parts = [
                method.answer(part * (1 + method.scale.weight @ k) + method.shift.weight @ k)[:, 0]
                for part, k in zip(z.split(encoder.width, dim=1), of_class, strict=True)
            ]
            classes.append(torch.stack(parts).sum(dim=0) / n_columns**0.5)
        return torch.stack(classes, dim=1)

    phi = torch.zeros(support.n_outputs, n_columns, method.context, dtype=support.x.dtype)
    phi.requires_grad_()
    for _ in range(method.inner_steps):
        loss = mean_loss(answers_of(phi, support.x), support.y[0])
        slope = slopes(loss, {"phi": phi}, not method.first_order, method.inner_clip)
        phi = phi - method.inner_lr * slope["phi"]
    return mean_loss(answers_of(phi, one.query_x), one.query_y[0])


HAND_LOOPS = {
    each.__name__: each for each in (anil, boil, meta_sgd, meta_curvature, maml_plus_plus, cavia)
}


def support_slopes(method: Any, phi: Weights, adapted: Weights, one: Episodes) -> Weights:
    out = answers(method.network, phi, one.support, one.support.x)
    loss = mean_loss(out, one.support.y[0])
    return slopes(loss, adapted, not method.first_order, method.inner_clip)


def query_loss(method: Any, phi: Weights, one: Episodes) -> Tensor:
    return mean_loss(answers(method.network, phi, one.support, one.query_x), one.query_y[0])


def own_names(method: Any) -> list[str]:
    return [name for name, _ in method.network.named_parameters()]


def each_task(batch: Episodes) -> list[Episodes]:
    return [batch[task : task + 1] for task in range(batch.n_tasks)]


def made(name: str, encoder: str, **changes: Any) -> Any:
    """With parameters none of which is where it starts, lest a wrong use of one goes unseen."""
    method = built_method(name, encoder, **changes).double()
    for parameter in method.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return method


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize(
    ("encoder", "first_order", "clip"),
    [("mlp", False, 0.1), ("columnwise", False, None), ("columnwise", True, 0.1)],
)
@pytest.mark.parametrize("name", HAND_LOOPS)
def test_meta_gradient_equals_hand_loop(
    name: str, kind: Kind, encoder: str, first_order: bool, clip: float | None
) -> None:
    changes = {"first_order": first_order, "inner_lr": 0.05, "inner_steps": 3, "inner_clip": clip}
    method = made(name, encoder, **changes)
    batch = episodes(kind, n_tasks=2, dtype=torch.float64)
    ours = method.loss(batch)
    theirs = torch.stack([HAND_LOOPS[name](method, one) for one in each_task(batch)]).mean()
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    difference = meta_gradient(method, ours) - meta_gradient(method, theirs)
    assert difference.abs().max() < 1e-10


@pytest.mark.parametrize("name", HAND_LOOPS)
def test_orders_differ(name: str) -> None:
    batch = episodes(dtype=torch.float64)
    second, first = (
        meta_gradient(method, method.loss(batch))
        for order in (False, True)
        for method in [built_method(name, "mlp", first_order=order).double()]
    )
    assert first.any()
    assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize("name", HAND_LOOPS)
def test_gradient_is_the_slope_of_the_loss(name: str) -> None:
    """Finite differences along a random direction: second derivatives are really there."""
    method = built_method(name, "columnwise", inner_lr=0.1, inner_steps=2).double()
    batch = episodes(dtype=torch.float64)
    slope = meta_gradient(method, method.loss(batch))
    beginning = torch.nn.utils.parameters_to_vector(method.parameters()).detach()
    direction = torch.randn_like(beginning) / len(beginning) ** 0.5
    values = []
    for step in (1e-6, -1e-6):
        torch.nn.utils.vector_to_parameters(beginning + step * direction, method.parameters())
        values.append(method.loss(batch).item())
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(float(slope @ direction), rel=1e-4)


@pytest.mark.parametrize("name", ["meta_sgd", "meta_curvature", "maml_plus_plus", "reptile"])
def test_answers_as_maml_before_training(name: str) -> None:
    """Equal rates, identity matrices: what is learned of the steps starts at plain descent."""
    shared = {"inner_lr": 0.1, "inner_steps": 3, "inner_clip": 0.5}
    maml, kin = built_method("maml", **shared), built_method(name, **shared)
    kin.network.load_state_dict(maml.network.state_dict())
    batch = episodes()
    ours, theirs = (each.predict(batch.support, batch.query_x) for each in (kin, maml))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_fomaml_is_maml_without_second_derivatives() -> None:
    batch = episodes()
    maml, same, fomaml = (
        built_method(name, **changes)
        for name, changes in (("maml", {}), ("maml", {"first_order": True}), ("fomaml", {}))
    )
    gradients = [meta_gradient(each, each.loss(batch)) for each in (maml, same, fomaml)]
    assert torch.equal(gradients[1], gradients[2])
    assert (gradients[0] - gradients[2]).abs().max() > 1e-4


@pytest.mark.parametrize("inner_steps", [1, 10])
@pytest.mark.parametrize("name", ["anil", "cavia"])
def test_rows_are_embedded_once(name: str, inner_steps: int) -> None:
    """However many the steps: that is what makes these two cheap."""
    method = built_method(name, inner_steps=inner_steps)
    calls = []
    encoder = next(each for key, each in method.named_modules() if key.endswith("encoder"))
    encoder.register_forward_hook(lambda *_: calls.append(1))
    method.loss(episodes())
    assert len(calls) == 2


def test_boil_is_not_at_a_standstill() -> None:
    """With one head for all classes its body would have no gradient."""
    batch = episodes()
    still, moved = (
        built_method("boil", inner_steps=steps).predict(batch.support, batch.query_x)
        for steps in (0, 5)
    )
    assert not torch.allclose(still, moved, atol=1e-2)


def test_boil_prefers_no_class_before_adapting() -> None:
    support = episodes().support
    logits = built_method("boil", inner_steps=0).predict(support, support.x)
    assert logits.mean(dim=1).abs().max() < 1e-5


@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_reptile_steps_to_the_mean_of_adapted_weights(kind: Kind, encoder: str) -> None:
    """A step of 1 along its gradient: from theta to the mean of phi_K, all of it if it is 1."""
    reptile = made("reptile", encoder, inner_lr=0.1, inner_steps=5, inner_clip=0.3)
    batch = episodes(kind, n_tasks=3, dtype=torch.float64)
    ended = [reptile_by_hand(reptile, one) for one in each_task(batch)]
    loss = reptile.loss(batch)
    shown = [
        mean_loss(answers(reptile.network, phi, one.support, one.query_x), one.query_y[0])
        for phi, one in zip(ended, each_task(batch), strict=True)
    ]
    assert torch.allclose(loss, torch.stack(shown).mean(), rtol=0, atol=1e-12)
    loss.backward()
    assert sum(float(p.grad.abs().sum()) for p in reptile.parameters()) > 1e-2
    for name, parameter in reptile.network.named_parameters():
        landed = parameter.detach() - parameter.grad
        mean = torch.stack([as_parameters(reptile, phi)[name] for phi in ended]).mean(dim=0)
        assert torch.allclose(landed, mean, rtol=0, atol=1e-10), name


def reptile_by_hand(reptile: Any, one: Episodes) -> Weights:
    """phi_K of one task: the support rows and the query rows take turns."""
    phi = start(reptile.network, one.support)
    rows = [(one.support.x, one.support.y[0]), (one.query_x, one.query_y[0])]
    for step in range(reptile.inner_steps):
        x, y = rows[step % 2]
        phi = {name: weight.detach().requires_grad_() for name, weight in phi.items()}
        loss = mean_loss(answers(reptile.network, phi, one.support, x), y)
        slope = slopes(loss, phi, False, reptile.inner_clip)
        phi = {name: phi[name] - reptile.inner_lr * slope[name] for name in phi}
    return phi


def as_parameters(reptile: Any, phi: Weights) -> Weights:
    """With a head like theta's, one vector: the mean over classes and columns."""
    blocks = phi["head"].shape[1] // len(reptile.network.head)
    head = phi["head"].mean(dim=0).unflatten(0, (blocks, -1)).mean(dim=0) * blocks**0.5
    return phi | {"head": head, "bias": phi["bias"].mean()}


def test_reptile_differentiates_through_nothing() -> None:
    """Its loss is a distance to fixed weights: the gradient knows no inner step."""
    reptile: Method = built_method("reptile")
    loss = reptile.loss(episodes())
    depth, seen = [loss.grad_fn], set()
    while depth:
        node = depth.pop()
        if node is not None and node not in seen:
            seen.add(node)
            depth += [each for each, _ in node.next_functions]
    assert not [node for node in seen if "mm" in node.name().lower()]


def test_unadapted_is_at_chance() -> None:
    batch = episodes()
    for name in ("anil", "cavia", "meta_sgd", "meta_curvature", "reptile"):
        logits = built_method(name, inner_steps=0).predict(batch.support, batch.query_x)
        assert torch.allclose(logits.softmax(dim=-1), torch.full_like(logits, 1 / 3))
