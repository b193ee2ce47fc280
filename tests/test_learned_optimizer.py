"""The learned optimizer against PyTorch's LSTM, in float64, and against tuned optimizers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_loops import answers, mean_loss, meta_gradient, slopes, start
from making import built, built_method, episodes
from torch import Tensor, nn
from torch.func import functional_call

from metamine.episode import Episodes, Kind
from metamine.methods.baseline.gradient_descent import GradientDescent
from metamine.methods.optimization.coordinatewise_lstm import CoordinatewiseLSTM, preprocessed
from metamine.methods.optimization.learned_optimizer import LearnedOptimizer
from metamine.randomness import stream
from metamine.sampler import sample

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


def by_hand(method: Any, one: Episodes) -> list[Tensor]:
    """Query losses of one task, before the first step and after each; at each the LSTM reads all
    gradients that a weight has had.
    """
    phi = start(method.network, one.support)
    lstm, out = as_torch_lstm(method.optimizer), method.optimizer.out
    parameters = [each for cell in method.optimizer.cells for each in cell.parameters()]
    weights = dict(zip(lstm.state_dict(), parameters, strict=True))
    history: dict[str, list[Tensor]] = {"head": [], "bias": []}

    def query_loss() -> Tensor:
        return mean_loss(answers(method.network, phi, one.support, one.query_x), one.query_y[0])

    losses = [query_loss()]
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
        losses.append(query_loss())
    return losses


def perturbed(encoder: str, **changes: Any) -> Any:
    """In float64, and with no weight at 0, lest a wrong use of a zero go unseen."""
    method = built_method("learned_optimizer", encoder, **changes).double()
    for parameter in method.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return method


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize(
    ("encoder", "every_step"), [("mlp", 0.0), ("columnwise", 0.0), ("columnwise", 0.6)]
)
def test_meta_gradient_equals_hand_loop(encoder: str, every_step: float, kind: Kind) -> None:
    method = perturbed(encoder, inner_steps=3, every_step=every_step)
    batch = episodes(kind, n_tasks=2, dtype=torch.float64)
    ours = method.loss(batch)
    share = every_step / 3
    weights = torch.tensor([0.0, share, share, 1 - every_step + share], dtype=torch.float64)
    of_tasks = [torch.stack(by_hand(method, batch[task : task + 1])) for task in range(2)]
    theirs = torch.stack(of_tasks).mean(dim=0) @ weights
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    difference = meta_gradient(method, ours) - meta_gradient(method, theirs)
    assert difference.abs().max() < 1e-10


def test_without_steps_the_loss_is_that_of_the_start() -> None:
    method = perturbed("columnwise", inner_steps=0, every_step=1.0)
    batch = episodes(n_tasks=1, dtype=torch.float64)
    assert torch.allclose(method.loss(batch), by_hand(method, batch)[0])


# A linear function in the place of a network


def linear(inner_steps: int, every_step: float = 0.0) -> LearnedOptimizer:
    torch.manual_seed(0)
    return LearnedOptimizer(None, 20, 0.1, inner_steps, every_step)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_without_an_encoder_a_linear_function_adapts_from_0(kind: Kind) -> None:
    """Every weight by itself, along gradients that PyTorch finds; missing cells are 0."""
    method, batch = linear(inner_steps=3).double(), episodes(kind, dtype=torch.float64)
    batch.support.x[:, 2, 1] = batch.query_x[:, 0, 3] = torch.nan
    assert not any(name.startswith("network") for name in method.state_dict())
    with torch.no_grad():
        ours = method.predict(batch.support, batch.query_x)
    lstm, out = as_torch_lstm(method.optimizer), method.optimizer.out
    for task in range(batch.n_tasks):
        w = torch.zeros(batch.support.n_outputs, 5, dtype=torch.float64, requires_grad=True)
        history: list[Tensor] = []
        for _ in range(3):
            rows = batch.support.x[task].nan_to_num()
            loss = mean_loss(rows @ w.T, batch.support.y[task])
            history.append(torch.autograd.grad(loss, w)[0].flatten())
            outputs, _ = lstm(preprocessed(torch.stack(history)))
            w = w + 0.1 * (outputs[-1] @ out.weight[0] + out.bias).view_as(w)
        assert torch.allclose(ours[task], batch.query_x[task].nan_to_num() @ w.T, atol=1e-12)


def test_without_steps_a_linear_function_answers_0() -> None:
    method, batch = linear(inner_steps=0), episodes("regression")
    with torch.no_grad():
        assert not method.predict(batch.support, batch.query_x).any()
    assert torch.allclose(method.loss(batch), batch.query_y.square().mean())


# Random quadratics


@pytest.fixture
def tune(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    import tune_optimizers

    return tune_optimizers


def test_rates_of_the_tuned_optimizers_are_of_the_grid_that_is_searched(tune: Any) -> None:
    shipped = built("evaluation", "tuned_optimizers", "+protocol=few_shot").baselines
    assert {each.optimizer for each in shipped.values()} == {*tune.RULES}
    assert {each.lr for each in shipped.values()} <= {*tune.RATES[1:-1]}


def test_beats_tuned_optimizers_on_fresh_quadratics(tune: Any) -> None:
    """After 10 steps, a short horizon, for which brief training is enough."""
    fresh, _ = tune.problem("test", 192, [])
    others, _ = tune.problem("validation", 192, [])
    method = linear(inner_steps=10, every_step=1.0)
    meta = torch.optim.Adam(method.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(meta, 70)
    for step in range(70):
        batch = sample(fresh.source, "train", fresh.protocol, 32, stream(0, "training tasks", step))
        meta.zero_grad()
        method.loss(batch).backward()
        nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        meta.step()
        schedule.step()
    learned_T = tune.reached(method, fresh)
    for optimizer in ("sgd", "adam"):
        rate = tune.best(tune.tried(optimizer, 10, others))
        assert min(tune.RATES) < rate < max(tune.RATES)
        more_T = tune.reached(GradientDescent(optimizer, rate, 10), fresh) - learned_T
        assert more_T.mean() > 4 * more_T.std() / 192**0.5, optimizer
