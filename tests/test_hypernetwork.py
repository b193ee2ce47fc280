"""The hypernetwork against loops in NumPy, and the models it writes against their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from making import built_method, episodes, padded
from running import config
from torch import nn

from metamine.encoders.columnwise import Columnwise
from metamine.episode import Episodes, Kind
from metamine.errors import UsageError
from metamine.methods.model.emitted import EmittedModel
from metamine.methods.model.hypernetwork import Hypernetwork
from metamine.run import train_job
from metamine.trained import trained_method

kinds = pytest.mark.parametrize("kind", ["classification", "regression"])


def network(net: nn.Sequential, x: np.ndarray) -> np.ndarray:
    """Linear layers with ReLU in between."""
    for index, layer in enumerate(layer for layer in net if isinstance(layer, nn.Linear)):
        x = (np.maximum(x, 0) if index else x) @ layer.weight.detach().numpy().T
        x = x + layer.bias.detach().numpy()
    return x


def read_alone(path: Path, x: np.ndarray) -> np.ndarray:
    """A saved model's answers, with NumPy alone."""
    file = np.load(path)
    inputs = np.concatenate([np.nan_to_num(x), np.isnan(x)], axis=1)
    hidden = np.maximum(inputs @ file["inward"].T + file["shift"], 0)
    return hidden @ file["outward"].T + file["bias"]


def with_holes(batch: Episodes) -> Episodes:
    """Missing cells in support and query, and a column of categories."""
    support_x, query_x = batch.support.x.clone(), batch.query_x.clone()
    support_x[:, ::3, 0], query_x[:, 1::2, 1:3] = torch.nan, torch.nan
    categorical = batch.support.categorical.clone()
    categorical[:, 4] = True
    support = replace(batch.support, x=support_x, categorical=categorical)
    return replace(batch, support=support, query_x=query_x)


def written_by_hand(
    method: Any, x: np.ndarray, z: np.ndarray, y: np.ndarray, categorical: np.ndarray, kind: Kind
) -> list[tuple[np.ndarray, ...]]:
    """A, r, w and b of each class of one task."""
    n_columns, units = x.shape[1], method.units
    target = y if kind == "regression" else np.zeros(len(y))
    cells = np.array(
        [
            [
                [np.nan_to_num(x[n, i]), np.isnan(x[n, i]), categorical[i], target[n], *z[n]]
                for i in range(n_columns)
            ]
            for n in range(len(x))
        ]
    )
    f = network(method.cell, cells)
    classes = (
        [np.arange(len(y))] if kind == "regression" else [np.where(y == c)[0] for c in range(3)]
    )
    m = np.stack([f[rows].mean(axis=0) for rows in classes])
    mean = m.mean(axis=0)
    v = np.stack(
        [
            [
                network(method.part, np.array([*m[c, i], *mean[i], np.log1p(len(rows))]))
                for i in range(n_columns)
            ]
            for c, rows in enumerate(classes)
        ]
    )
    models = []
    for c, rows in enumerate(classes):
        told = [v[c].mean(axis=0), v.mean(axis=(0, 1)), z[rows].mean(axis=0), [np.log(n_columns)]]
        s = network(method.klass, np.concatenate(told))
        inward = [network(method.inward, np.concatenate([v[c, i], s])) for i in range(n_columns)]
        out = network(method.outward, s)
        shape = (n_columns, units, 2)
        A = np.stack(inward).reshape(shape) / np.sqrt(n_columns)
        models.append((A, out[:units], out[units : 2 * units], out[-1]))
    return models


@kinds
def test_equals_numpy(kind: Kind) -> None:
    method = built_method("hypernetwork", "mlp", hidden=8, units=4).double()
    batch = with_holes(episodes(kind, dtype=torch.float64))
    support = batch.support
    with torch.no_grad():
        answer = method.predict(support, batch.query_x).numpy()
        z = method.encoder(support, None).numpy()
    for task in range(batch.n_tasks):
        models = written_by_hand(
            method,
            support.x[task].numpy(),
            z[task],
            support.y[task].numpy(),
            support.categorical[task].numpy(),
            kind,
        )
        for row, x in enumerate(batch.query_x[task].numpy()):
            for c, (A, r, w, b) in enumerate(models):
                hidden = r.copy()
                for i, value in enumerate(x):
                    hidden += A[i] @ np.array([np.nan_to_num(value), np.isnan(value)])
                expected = w @ np.maximum(hidden, 0) + b
                assert answer[task, row, c] == pytest.approx(expected, abs=1e-10)


@kinds
def test_a_saved_model_answers_as_the_method_does(kind: Kind, tmp_path: Path) -> None:
    """By NumPy alone and once loaded; of tasks that were padded in their batch."""
    method, batch = built_method("hypernetwork"), with_holes(episodes(kind))
    beside = padded(batch, features=3, classes=2)
    with torch.no_grad():
        answer = method.predict(batch.support, batch.query_x)
        model = method.emit(beside.support)
    for task in range(batch.n_tasks):
        model.save(tmp_path / "model.npz", task)
        x = batch.query_x[task]
        alone = read_alone(tmp_path / "model.npz", x.numpy())
        np.testing.assert_allclose(alone, answer[task], atol=1e-5)
        loaded = EmittedModel.load(tmp_path / "model.npz")
        torch.testing.assert_close(loaded(x[None])[0], answer[task], atol=1e-5, rtol=0)


def test_a_file_holds_what_its_task_needs(tmp_path: Path) -> None:
    method = built_method("hypernetwork", units=16)
    with torch.no_grad():
        model = method.emit(padded(episodes(), features=3, classes=2).support)
    model.save(tmp_path / "model.npz")
    shapes = {name: each.shape for name, each in np.load(tmp_path / "model.npz").items()}
    assert shapes == {"inward": (48, 10), "shift": (48,), "outward": (3, 48), "bias": (3,)}
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_a_class_without_rows_is_never_answered(tmp_path: Path) -> None:
    method, batch = built_method("hypernetwork"), episodes()
    support = replace(batch.support, y=batch.support.y.clamp(max=1))
    with torch.no_grad():
        method.emit(support).save(tmp_path / "model.npz")
    out = read_alone(tmp_path / "model.npz", batch.query_x[0].numpy())
    assert (out[:, 2] == -np.inf).all()
    assert np.isfinite(out[:, :2]).all()


def test_a_class_is_answered_by_units_of_its_own() -> None:
    model = built_method("hypernetwork", units=16).emit(episodes().support)
    own = model.outward_TCU.unflatten(2, (3, 16)).abs().amax(dim=3) > 0
    assert torch.equal(own, torch.eye(3, dtype=torch.bool).expand_as(own))


def test_from_a_run_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metamine.run.write_report", str)
    settings = config("method=hypernetwork", "method.hidden=8", "method.units=4")
    train_job(settings, tmp_path / "run", [], resuming=False)
    method, batch = trained_method(tmp_path / "run"), episodes()
    with torch.no_grad():
        answer = method.predict(batch.support, batch.query_x)
        method.emit(batch.support).save(tmp_path / "model.npz")
    alone = read_alone(tmp_path / "model.npz", batch.query_x[0].numpy())
    np.testing.assert_allclose(alone, answer[0], atol=1e-5)
    weights = torch.load(tmp_path / "run" / "checkpoints" / "step-000006.pt")["method"]
    assert all(torch.equal(weights[name], value) for name, value in method.state_dict().items())


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run directory"):
        trained_method(tmp_path)


def test_learns_from_tasks_to_write_models() -> None:
    """Whose accuracy on tasks never seen is well above chance, a third."""
    torch.manual_seed(0)
    method, held_out = Hypernetwork(Columnwise(16, 4), 32, 8), episodes(n_tasks=100, seed=10_000)

    def accuracy() -> float:
        with torch.no_grad():
            answer = method.predict(held_out.support, held_out.query_x).argmax(dim=-1)
        return (answer == held_out.query_y).double().mean().item()

    assert accuracy() < 0.45
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    for step in range(150):
        optimizer.zero_grad()
        method.loss(episodes(n_tasks=8, seed=step)).backward()
        optimizer.step()
    assert accuracy() > 0.8
