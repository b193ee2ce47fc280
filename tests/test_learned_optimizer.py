"""The learned optimizer against PyTorch's LSTM, in float64, and against tuned optimizers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_loops import answers, mean_loss, meta_gradient, slopes, start
from making import built_method, episodes
from torch import Tensor, nn
from torch.func import functional_call

from metamine.episode import Episodes, Kind
from metamine.methods.optimization.coordinatewise_lstm import CoordinatewiseLSTM, preprocessed

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def test_preprocessing_is_that_of_appendix_a() -> None:
    powers = 10.0 ** np.arange(-12, 13)
    g = np.concatenate([powers, -powers, [0.0, np.exp(-9.99), -np.exp(-10.01), 3.0]])
    with np.errstate(divide="ignore"):
        log = np.log(np.abs(g)) / 10
    large = np.abs(g) >= np.exp(-10)
    expected = np.stack(
        [np.where(large, log, -1), np.where(large, np.sign(g), np.exp(10) * g)], axis=-1
    )
    ours = preprocessed(torch.from_numpy(g).view(6, 9)).view(-1, 2)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


def as_torch_lstm(optimizer: CoordinatewiseLSTM) -> nn.LSTM:
    """PyTorch's own two-layer LSTM, with the weights of the optimizer's."""
    hidden = optimizer.out.in_features
    lstm = nn.LSTM(2, hidden, num_layers=2).double()
    weights = {
        f"{name}_l{layer}": value
        for layer, cell in enumerate(optimizer.cells)
        for name, value in cell.state_dict().items()
    }
    lstm.load_state_dict(weights)
    return lstm


def test_update_equals_an_lstm_for_each_coordinate() -> None:
    """Over five steps, on tensors of several shapes, each coordinate by itself."""
    torch.manual_seed(0)
    optimizer = CoordinatewiseLSTM(hidden=20, scale=0.3).double()
    shapes = {"head": (2, 3, 4), "bias": (2, 3), "theta": (3, 2)}
    history = [
        {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}
        for _ in range(5)
    ]
    state, ours = None, []
    for gradients in history:
        changes, state = optimizer(gradients, state)
        ours.append(changes)
    lstm = as_torch_lstm(optimizer)
    for name, shape in shapes.items():
        for place in np.ndindex(shape):
            seen = torch.stack([gradients[name][place] for gradients in history])
            outputs, _ = lstm(preprocessed(seen))
            expected = 0.3 * (outputs @ optimizer.out.weight[0] + optimizer.out.bias)
            found = torch.stack([changes[name][place] for changes in ours])
            assert torch.allclose(found, expected, rtol=0, atol=1e-12), (name, place)


def by_hand(method: Any, one: Episodes) -> Tensor:
    """Query loss of one task; at each step the LSTM reads all gradients that a weight has had."""
    phi = start(method.network, one.support)
    lstm, out = as_torch_lstm(method.optimizer), method.optimizer.out
    parameters = [each for cell in method.optimizer.cells for each in cell.parameters()]
    weights = dict(zip(lstm.state_dict(), parameters, strict=True))
    history: dict[str, list[Tensor]] = {"head": [], "bias": []}
    for _ in range(method.inner_steps):
        head = {name: phi[name] for name in history}
        loss = mean_loss(answers(method.network, phi, one.support, one.support.x), one.support.y[0])
        slope = slopes(loss, head, False, None)
        for name in history:
            history[name].append(slope[name].flatten())
            seen = preprocessed(torch.stack(history[name]))
            outputs, _ = functional_call(lstm, weights, (seen,))
            change = method.optimizer.scale * (outputs[-1] @ out.weight[0] + out.bias)
            phi[name] = phi[name] + change.view_as(phi[name])
    return mean_loss(answers(method.network, phi, one.support, one.query_x), one.query_y[0])


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
def test_meta_gradient_equals_hand_loop(encoder: str, kind: Kind) -> None:
    method = built_method("learned_optimizer", encoder, inner_steps=3).double()
    for parameter in method.parameters():  # lest a wrong use of a zero go unseen
        parameter.data += 0.02 * torch.randn_like(parameter)
    batch = episodes(kind, n_tasks=2, dtype=torch.float64)
    ours = method.loss(batch)
    theirs = torch.stack([by_hand(method, batch[task : task + 1]) for task in range(2)]).mean()
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    difference = meta_gradient(method, ours) - meta_gradient(method, theirs)
    assert difference.abs().max() < 1e-10


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    import bench_learned_optimizer

    return bench_learned_optimizer


def test_slopes_of_quadratics(bench: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    functions = bench.Quadratics.drawn(3, generator)
    theta = torch.randn(functions.y_TN.shape, generator=generator).requires_grad_()
    (expected,) = torch.autograd.grad(functions.values(theta).sum(), theta)
    assert torch.allclose(functions.slopes(theta), expected, rtol=1e-4, atol=1e-4)


def test_beats_tuned_optimizers_on_fresh_quadratics(bench: Any) -> None:
    """After 20 steps, a short horizon, for which brief training is enough."""
    finals, rates = bench.compared(steps=20, updates=100, seed=0, n_functions=500)
    for name in ("SGD", "Adam"):
        assert min(bench.RATES) < rates[name] < max(bench.RATES)
        more = finals[name] - finals["LSTM"]
        assert more.mean() > 4 * more.std() / len(more) ** 0.5, name
