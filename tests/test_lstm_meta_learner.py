"""The LSTM meta-learner against a loop written out by hand, one weight at a time, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hand_loops import Weights, answers, mean_loss, meta_gradient, slopes, start
from making import built_method, episodes
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.encoders.columnwise import Columnwise
from metamine.encoders.mlp import MLP
from metamine.episode import Episodes, Kind
from metamine.methods.optimization.lstm_meta_learner import LSTMMetaLearner


def read(number: float) -> tuple[float, float]:
    """Appendix A of Andrychowicz et al. 2016, which the paper takes over, with p = 10."""
    if abs(number) >= math.exp(-10):
        return math.log(abs(number)) / 10, math.copysign(1.0, number)
    return -1.0, math.exp(10) * number


def by_hand(method: Any, one: Episodes) -> Tensor:
    """The query loss of one task."""
    phi = start(method.network, one.support)
    last: dict[tuple[str, int], list[Tensor]] = {}
    for _ in range(method.inner_steps):
        loss = mean_loss(answers(method.network, phi, one.support, one.support.x), one.support.y[0])
        slope = slopes(loss, phi, False, method.inner_clip)
        stepped: Weights = {}
        for name, weights in phi.items():
            cells = []
            for place, weight in enumerate(weights.flatten()):
                grad = float(slope[name].flatten()[place])
                told = torch.tensor([*read(grad), *read(float(loss.detach()))], dtype=weight.dtype)
                gates = []
                for gate in range(2):
                    logit = method.inputs[gate] @ torch.cat([told, weight[None]])
                    logit = logit + method.bias[gate]
                    if (name, place) in last:
                        logit = logit + method.recurrent[gate] * last[name, place][gate]
                    gates.append(1 / (1 + torch.exp(-logit)))
                last[name, place] = gates
                cells.append(gates[0] * weight - gates[1] * grad)
            stepped[name] = torch.stack(cells).view_as(weights)
        phi = stepped
    return mean_loss(answers(method.network, phi, one.support, one.query_x), one.query_y[0])


ENCODERS: list[Callable[[], Encoder]] = [
    lambda: MLP(max_features=2, hidden=3, depth=1, width=3, layer_norm=True),
    lambda: Columnwise(hidden=2, width=2),
]


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("encoder", ENCODERS, ids=["mlp", "columnwise"])
@pytest.mark.parametrize("clip", [0.1, None])
def test_meta_gradient_equals_hand_loop(
    clip: float | None, encoder: Callable[[], Encoder], kind: Kind
) -> None:
    torch.manual_seed(0)
    method = LSTMMetaLearner(encoder(), inner_lr=0.2, inner_steps=3, inner_clip=clip).double()
    for parameter in method.parameters():  # lest a wrong use of what starts at 0 goes unseen
        parameter.data += 0.1 * torch.randn_like(parameter)
    batch = episodes(kind, n_tasks=2, shot=2, n_features=2, dtype=torch.float64)
    ours = method.loss(batch)
    theirs = torch.stack([by_hand(method, batch[task : task + 1]) for task in range(2)]).mean()
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    difference = meta_gradient(method, ours) - meta_gradient(method, theirs)
    assert difference.abs().max() < 1e-10


@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
def test_is_gradient_descent_where_the_gates_stand_still(encoder: str) -> None:
    """f = 1 and i = alpha, whatever they read."""
    learner = built_method("lstm_meta_learner", encoder, inner_lr=0.1, inner_steps=3).double()
    descent = built_method("fomaml", encoder, inner_lr=0.1, inner_steps=3).double()
    descent.network.load_state_dict(learner.network.state_dict())
    learner.bias.data[0] = 50.0
    batch = episodes(dtype=torch.float64)
    ours, theirs = learner.loss(batch), descent.loss(batch)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-7)  # alpha went through a float32
    gradients = [
        torch.cat([each.flatten() for each in torch.autograd.grad(loss, parameters)])
        for loss, parameters in (
            (ours, list(learner.network.parameters())),
            (theirs, list(descent.network.parameters())),
        )
    ]
    assert (gradients[0] - gradients[1]).abs().max() < 1e-6


def test_begins_near_gradient_descent() -> None:
    learner = built_method("lstm_meta_learner", inner_lr=0.1)
    forget, rate = learner.bias.sigmoid().tolist()
    assert 0.99 < forget < 1
    assert rate == pytest.approx(0.1)
    assert not learner.inputs.any()
    assert not learner.recurrent.any()
