"""The algorithm selector against its equations, and on tasks whose best baseline is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from making import built, built_method, episodes
from torch.nn.functional import cross_entropy

from metamine.episode import Episodes, Kind
from metamine.errors import UsageError
from metamine.methods.data.selector import Selector

KINDS = pytest.mark.parametrize("kind", ["classification", "regression"])


def selector(**changes: Any) -> Selector:
    """With weights that make a difference."""
    made = built_method("selector", **changes).double()
    for parameter in made.net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def answers(of: Selector, batch: Episodes) -> list[torch.Tensor]:
    """Of each baseline that can do the kind."""
    able = [each for each in of.baselines.values() if batch.support.kind in each.kinds]
    return [each.predict(batch.support, batch.query_x) for each in able]


def places(of: Selector, kind: Kind) -> list[int]:
    return [i for i, each in enumerate(of.baselines.values()) if kind in each.kinds]


@KINDS
def test_answers_are_weighted_means(kind: Kind) -> None:
    batch, made = episodes(kind, dtype=torch.float64), selector()
    ours = made.predict(batch.support, batch.query_x).detach()
    weights = made.foretold(batch.support)[1].exp().detach()
    each = answers(made, batch)
    assert len(each) == (6 if kind == "classification" else 2)
    for t in range(batch.n_tasks):
        if kind == "regression":
            mean = sum(w * answer[t] for w, answer in zip(weights[t], each, strict=True))
            assert torch.allclose(ours[t], mean)
        else:
            mean = sum(w * answer[t].exp() for w, answer in zip(weights[t], each, strict=True))
            assert torch.allclose(ours[t].softmax(dim=1), mean)


def by_hand(made: Selector, batch: Episodes) -> float:
    """The loss of the docstring, a task and a baseline at a time."""
    kind = batch.support.kind
    each = [answer.numpy() for answer in answers(made, batch)]
    y = batch.query_y.numpy()
    weights = made.foretold(batch.support)[1].exp().detach().numpy()
    foretold = made.foretold(batch.support)[0].detach().numpy()
    of_advantage, of_answer = [], []
    for t in range(batch.n_tasks):
        if kind == "regression":
            errors = np.array([np.mean((answer[t, :, 0] - y[t]) ** 2) for answer in each])
            scores = -errors / errors.mean()
            mixed = sum(w * answer[t, :, 0] for w, answer in zip(weights[t], each, strict=True))
            of_answer.append(np.mean((mixed - y[t]) ** 2) / errors.mean())
        else:
            scores = np.array([np.mean(answer[t].argmax(axis=1) == y[t]) for answer in each])
            mixed = sum(w * np.exp(answer[t]) for w, answer in zip(weights[t], each, strict=True))
            of_answer.append(np.mean(-np.log(mixed[np.arange(len(y[t])), y[t]])))
        of_advantage.append(np.mean((foretold[t] - (scores - scores.mean())) ** 2))
    return float(np.mean(of_advantage) + np.mean(of_answer))


@KINDS
def test_the_loss_is_that_of_the_equations(kind: Kind) -> None:
    batch, made = episodes(kind, dtype=torch.float64), selector()
    assert made.loss(batch).item() == pytest.approx(by_hand(made, batch), rel=1e-9)


def test_the_advantage_learns_from_scores_alone() -> None:
    """What the answer's loss teaches reaches tau and the gate, but not r'."""
    batch, made = episodes(dtype=torch.float64), selector()
    last, n_baselines = made.net[-1], len(made.baselines)
    logits = made.predict(batch.support, batch.query_x)
    cross_entropy(logits.flatten(0, 1), batch.query_y.flatten()).backward()
    assert not last.weight.grad[:n_baselines].any()
    assert last.weight.grad[n_baselines:].any()
    assert made.log_tau.grad.abs() > 0


@KINDS
def test_a_new_selector_counts_all_alike(kind: Kind) -> None:
    batch, made = episodes(kind, dtype=torch.float64), built_method("selector").double()
    advantage, log_weight = made.foretold(batch.support)
    assert not advantage.any()
    n_able = len(places(made, kind))
    assert torch.allclose(log_weight.exp(), torch.full_like(log_weight, 1 / n_able))


@KINDS
def test_picking_gives_the_answer_of_the_best_foretold(kind: Kind) -> None:
    batch, made = episodes(kind, n_tasks=20, dtype=torch.float64), selector(pick=True)
    usual = made.foretold(batch.support)[0].mean(dim=0)
    made.net[-1].bias.data[places(made, kind)] -= usual  # so that tasks differ in what is best
    ours = made.predict(batch.support, batch.query_x)
    best = made.foretold(batch.support)[0].argmax(dim=1)
    for t, place in enumerate(best.tolist()):
        assert torch.allclose(ours[t], answers(made, batch)[place][t])
    assert len(best.unique()) > 1


def test_only_the_support_describes_a_task() -> None:
    batch, made = episodes(dtype=torch.float64), selector()
    one_row = made.predict(batch.support, batch.query_x[:, :1])
    assert torch.allclose(made.predict(batch.support, batch.query_x)[:, :1], one_row)


def two_kinds_of_tasks(seed: int, n_tasks: int = 16) -> Episodes:
    """By halves: blobs for the nearest mean, and two classes that alternate along a line.

    Along the line the means are the same, and only neighbours tell.
    """
    g = torch.Generator().manual_seed(seed)
    batch = episodes(n_tasks=n_tasks, way=2, shot=10, n_query=30, n_features=10, seed=seed)
    y = torch.cat([batch.support.y, batch.query_y], dim=1)
    stripe = 2 * torch.randint(-2, 3, y.shape, generator=g) + y
    line = torch.zeros(*y.shape, 10)
    line[..., 0] = stripe + 0.1 * torch.randn(y.shape, generator=g)
    blobs = torch.randn(line.shape, generator=g) + 0.7 * y[..., None]
    x = torch.where((torch.arange(n_tasks) % 2 == 0)[:, None, None], blobs, line)
    return replace(batch, support=replace(batch.support, x=x[:, :20]), query_x=x[:, 20:])


def test_it_learns_which_baseline_suits_which_task() -> None:
    baselines = {name: built("baseline", name) for name in ("nearest_centroid", "knn")}
    torch.manual_seed(0)
    made = Selector(baselines, hidden=16, temperature=0.1, pick=False)
    held_out = two_kinds_of_tasks(1000, 100)

    def accuracy(logits: torch.Tensor) -> float:
        return (logits.argmax(dim=2) == held_out.query_y).double().mean().item()

    with torch.no_grad():
        single = [accuracy(answer) for answer in answers(made, held_out)]
    optimizer = torch.optim.Adam(made.parameters(), lr=5e-3)
    for step in range(60):
        optimizer.zero_grad()
        made.loss(two_kinds_of_tasks(step)).backward()
        optimizer.step()
    with torch.no_grad():
        foretold = made.foretold(held_out.support)[0].argmax(dim=1)
        weighted = accuracy(made.predict(held_out.support, held_out.query_x))
        made.pick = True
        picked = accuracy(made.predict(held_out.support, held_out.query_x))
    wanted = torch.arange(100) % 2
    assert (foretold == wanted).double().mean() > 0.9
    assert min(weighted, picked) > max(single) + 0.02


def test_it_beats_the_mean_of_its_baselines_on_synthetic_tables() -> None:
    """Held-out tables of the synthetic source, by the cross-entropy that it is trained on."""
    from running import config

    from metamine.config import build
    from metamine.randomness import stream
    from metamine.sampler import sample

    plain = config("source=synthetic")
    source, protocol = build(plain["source"]), build(plain["protocol"])
    made = built_method("selector")
    optimizer = torch.optim.Adam(made.parameters(), lr=5e-3)
    for step in range(25):
        batch = sample(source, "train", protocol, 8, stream(0, "training tasks", step))
        optimizer.zero_grad()
        made.loss(batch).backward()
        optimizer.step()
    losses, of_baselines, untrained = [], [], []
    new = built_method("selector")
    with torch.no_grad():
        for step in range(8):
            held_out = sample(source, "test", protocol, 8, stream(0, "test tasks", step))
            y = held_out.query_y.flatten()
            for learner, into in ((made, losses), (new, untrained)):
                logits = learner.predict(held_out.support, held_out.query_x)
                into.append(cross_entropy(logits.flatten(0, 1), y).item())
            each = answers(made, held_out)
            of_baselines.append([cross_entropy(a.flatten(0, 1), y).item() for a in each])
    assert np.mean(losses) < np.mean(of_baselines)
    assert np.mean(losses) < np.mean(untrained)
    assert np.mean(losses) < np.mean(of_baselines, axis=0).min()


def test_each_kind_needs_a_baseline() -> None:
    node = {"_target_": "metamine.methods.baseline.ridge.Ridge", "alpha": 1.0}
    with pytest.raises(UsageError, match=r"none of \['ridge'\] can do classification"):
        built_method("selector", baselines={"ridge": node})
