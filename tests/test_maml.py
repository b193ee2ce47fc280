"""MAML against loops written out by hand, one task at a time, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from making import built_method, episodes
from torch import Tensor
from torch.func import functional_call

from metamine.episode import Episodes, Kind
from metamine.methods.optimization.maml import MAML


def by_hand(maml: MAML, batch: Episodes) -> Tensor:
    """Algorithm 2 of the paper as it is printed: a loop over tasks, a loop over steps."""
    losses = []
    for task in range(batch.n_tasks):
        one = batch[task : task + 1]
        n_outputs = one.support.n_outputs
        blocks = one.support.x.shape[2] if maml.network.encoder.per_column else 1
        phi = dict(maml.network.encoder.named_parameters())
        phi["head"] = (maml.network.head.repeat(blocks) / blocks**0.5).expand(n_outputs, -1)
        phi["bias"] = maml.network.bias.expand(n_outputs)

        def outputs(phi: dict[str, Tensor], x: Tensor, one: Episodes = one) -> Tensor:
            encoder = {name: p for name, p in phi.items() if name not in ("head", "bias")}
            z = functional_call(maml.network.encoder, encoder, (one.support, x))[0]
            return z @ phi["head"].T + phi["bias"]

        def loss(out: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(out, y) if out.shape[1] > 1 else F.mse_loss(out[:, 0], y)

        for _ in range(maml.inner_steps):
            slopes = torch.autograd.grad(
                loss(outputs(phi, one.support.x), one.support.y[0]),
                list(phi.values()),
                create_graph=not maml.first_order,
            )
            rate: float | Tensor = maml.inner_lr
            if maml.inner_clip is not None:
                norm = torch.cat([slope.flatten() for slope in slopes]).norm()
                rate = maml.inner_lr * maml.inner_clip / norm.clamp(min=maml.inner_clip)
            phi = {k: p - rate * s for (k, p), s in zip(phi.items(), slopes, strict=True)}
        losses.append(loss(outputs(phi, one.query_x), one.query_y[0]))
    return torch.stack(losses).mean()


def gradient(maml: MAML, loss: Tensor) -> Tensor:
    slopes = torch.autograd.grad(loss, list(maml.parameters()))
    return torch.cat([slope.flatten() for slope in slopes])


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_meta_gradient_equals_hand_loop(
    kind: Kind, encoder: str, first_order: bool, clip: float | None
) -> None:
    changes = {"first_order": first_order, "inner_lr": 0.1, "inner_steps": 3, "inner_clip": clip}
    maml = built_method("maml", encoder, **changes)
    maml.double()
    torch.nn.init.normal_(maml.network.bias)
    batch = episodes(kind, n_tasks=3, dtype=torch.float64)
    ours, theirs = maml.loss(batch), by_hand(maml, batch)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    difference = gradient(maml, ours) - gradient(maml, theirs)
    assert difference.abs().max() < 1e-10


def test_orders_differ() -> None:
    batch = episodes(dtype=torch.float64)
    gradients = [
        gradient(maml, maml.loss(batch))
        for order in (False, True)
        for maml in [built_method("maml", "mlp", first_order=order).double()]
    ]
    assert (gradients[0] - gradients[1]).abs().max() > 1e-4


def test_gradient_is_the_slope_of_the_loss() -> None:
    """Finite differences along a random direction: second derivatives are really there."""
    maml = built_method("maml", "columnwise", inner_lr=0.1, inner_steps=2).double()
    batch = episodes(dtype=torch.float64)
    slope = gradient(maml, maml.loss(batch))
    start = torch.nn.utils.parameters_to_vector(maml.parameters()).detach()
    direction = torch.randn_like(start) / len(start) ** 0.5
    values = []
    for step in (1e-6, -1e-6):
        torch.nn.utils.vector_to_parameters(start + step * direction, maml.parameters())
        values.append(maml.loss(batch).item())
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(float(slope @ direction), rel=1e-4)


def test_unadapted_is_at_chance() -> None:
    batch = episodes()
    logits = built_method("maml", "mlp", inner_steps=0).predict(batch.support, batch.query_x)
    assert torch.allclose(logits.softmax(dim=-1), torch.full_like(logits, 1 / 3))
