"""Learned optimizers against loops written out by hand, in float64, and against hand-made ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_loops import Weights, answers, mean_loss, meta_gradient, slopes, start
from making import built_method, episodes
from torch import Tensor, nn

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


def learned_optimizer(method: Any, one: Episodes) -> Tensor:
    """The head takes steps; at each, the LSTM reads all the gradients that a weight has had."""
    phi = start(method.network, one.support)
    lstm, out = as_torch_lstm(method.optimizer), method.optimizer.out
    weights = dict(zip(lstm.state_dict(), lstm_parameters(method), strict=True))
    history: dict[str, list[Tensor]] = {"head": [], "bias": []}
    for _ in range(method.inner_steps):
        head = {name: phi[name] for name in history}
        slope = support_slopes(method, phi, head, one, None)
        for name in history:
            history[name].append(slope[name].flatten())
            seen = preprocessed(torch.stack(history[name]))
            outputs, _ = torch.func.functional_call(lstm, weights, (seen,))
            change = method.optimizer.scale * (outputs[-1] @ out.weight[0] + out.bias)
            phi[name] = phi[name] + change.view_as(phi[name])
    return query_loss(method, phi, one)


def lstm_parameters(method: Any) -> list[nn.Parameter]:
    """In the order of those of `nn.LSTM`."""
    return [each for cell in method.optimizer.cells for each in cell.parameters()]


def lstm_meta_learner(method: Any, one: Episodes) -> Tensor:
    """All weights take steps, each with its own two gates."""
    phi = start(method.network, one.support)
    last: dict[str, list[Tensor]] = {name: [torch.zeros(()), torch.zeros(())] for name in phi}
    for _ in range(method.inner_steps):
        loss = mean_loss(answers(method.network, phi, one.support, one.support.x), one.support.y[0])
        slope = support_slopes(method, phi, phi, one, method.inner_clip)
        for name, weight in phi.items():
            numbers = (*preprocessed(slope[name]).unbind(-1), *preprocessed(loss.detach()), weight)
            for gate in (0, 1):
                total = method.bias[gate] + method.recurrent[gate] * last[name][gate]
                for number, factor in zip(numbers, method.inputs[gate], strict=True):
                    total = total + factor * number
                last[name][gate] = 1 / (1 + (-total).exp())
        phi = {name: last[name][0] * phi[name] - last[name][1] * slope[name] for name in phi}
    return query_loss(method, phi, one)


def support_slopes(
    method: Any, phi: Weights, adapting: Weights, one: Episodes, clip: float | None
) -> Weights:
    out = answers(method.network, phi, one.support, one.support.x)
    loss = mean_loss(out, one.support.y[0])
    return slopes(loss, adapting, False, clip)


def query_loss(method: Any, phi: Weights, one: Episodes) -> Tensor:
    return mean_loss(answers(method.network, phi, one.support, one.query_x), one.query_y[0])


HAND_LOOPS = {"learned_optimizer": learned_optimizer, "lstm_meta_learner": lstm_meta_learner}


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
@pytest.mark.parametrize("name", HAND_LOOPS)
def test_meta_gradient_equals_hand_loop(name: str, encoder: str, kind: Kind) -> None:
    clip = {"inner_clip": 0.1} if name == "lstm_meta_learner" else {}
    method = built_method(name, encoder, inner_steps=3, **clip).double()
    for parameter in method.parameters():  # lest a wrong use of a zero go unseen
        parameter.data += 0.02 * torch.randn_like(parameter)
    batch = episodes(kind, n_tasks=2, dtype=torch.float64)
    ours = method.loss(batch)
    each_task = [batch[task : task + 1] for task in range(batch.n_tasks)]
    theirs = torch.stack([HAND_LOOPS[name](method, one) for one in each_task]).mean()
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    difference = meta_gradient(method, ours) - meta_gradient(method, theirs)
    assert difference.abs().max() < 1e-10


def test_gates_begin_as_gradient_descent() -> None:
    """With f at 1 rather than near it, the answers are those of first-order MAML."""
    batch = episodes(dtype=torch.float64)
    gated, maml = (
        built_method(name, "mlp", inner_lr=0.05, inner_steps=3, inner_clip=None).double()
        for name in ("lstm_meta_learner", "fomaml")
    )
    gated.bias.data[0] = 100.0
    expected = maml.predict(batch.support, batch.query_x)
    assert torch.allclose(gated.predict(batch.support, batch.query_x), expected, atol=1e-6)


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
    """Trained briefly, over a short horizon."""
    finals, rates = bench.compared(steps=20, updates=100, seed=0, n_functions=500)
    for name in ("SGD", "Adam"):
        assert min(bench.RATES) < rates[name] < max(bench.RATES)
        more = finals[name] - finals["LSTM"]
        assert more.mean() > 4 * more.std() / len(more) ** 0.5, name
