"""The only two loops of the project: train across tasks, evaluate on held-out tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from metamine.episode import Episodes
from metamine.methods.base import Method
from metamine.metrics import score
from metamine.plan import Planned


def train(
    method: Method,
    optimizer: Optimizer,
    schedule: LRScheduler,
    batches: Iterable[tuple[int, Episodes]],
    clip: float | None,
    chunk_size: int,
    after_step: Callable[[int, Tensor], None],
) -> None:
    """One optimiser step for each numbered batch of tasks.

    A batch is computed `chunk_size` tasks at a time and gradients are added up: memory stays that
    of a chunk. After each step `after_step(step, loss)` is called; the loss is a tensor on the
    method's device, since reading it would make the host wait.

    clip: greatest norm of the gradient; None: any.
    """
    device = device_of(method)
    for step, batch in batches:
        optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=device)
        for chunk in batch.chunks(chunk_size):
            loss = method.loss(chunk.to(device)) * (chunk.n_tasks / batch.n_tasks)
            loss.backward()
            total += loss.detach()
        if clip is not None:
            nn.utils.clip_grad_norm_(method.parameters(), clip)
        optimizer.step()
        schedule.step()
        after_step(step, total)


@torch.no_grad()
def evaluate(
    method: Method, planned: Iterable[Planned], chunk_size: int
) -> Iterator[dict[str, list]]:  # type: ignore[type-arg]
    """Adapt to and answer each planned batch; yield its scores as columns, one value an episode.

    Columns: `table`, `episode`, `seconds` (its share of what adapting and answering took),
    `fallback`, `column_subsets`, and those of `metrics.score`.
    """
    device = device_of(method)
    method.eval()
    for batch in planned:
        for start in range(0, batch.episodes.n_tasks, chunk_size):
            tasks = slice(start, start + chunk_size)
            episodes = batch.episodes[tasks]
            support = episodes.support.to(device)
            query_x = episodes.query_x.to(device)
            started = time.perf_counter()
            prediction_TQC = method.predict(support, query_x).cpu()  # waits for the device
            seconds = (time.perf_counter() - started) / episodes.n_tasks
            scores = score(prediction_TQC, episodes, method.spread(support, query_x))
            yield {
                "table": list(batch.tables[tasks]),
                "episode": list(batch.numbers[tasks]),
                "seconds": [seconds] * episodes.n_tasks,
                "fallback": method.falls_back(support).tolist(),
                "column_subsets": method.column_subsets(support).tolist(),
                **{name: value.tolist() for name, value in scores.items()},
            }
    method.train()


def device_of(method: Method) -> torch.device:
    """Where a method computes: where its parameters are; one without any, on the CPU."""
    return next((parameter.device for parameter in method.parameters()), torch.device("cpu"))
