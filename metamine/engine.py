"""The only two loops of the project: train across tasks, evaluate on held-out tasks."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

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
    parallel_chunks: int = 1,
) -> None:
    """One optimiser step for each numbered batch of tasks.

    A batch is computed `chunk_size` tasks at a time and gradients are added up: memory stays that
    of the chunks at work. After each step `after_step(step, loss)` is called; the loss is a tensor
    on the method's device, since reading it would make the host wait.

    clip: greatest norm of the gradient; None: any.
    parallel_chunks: chunks computed side by side, each by a thread of the host; gradients are added
        up in the same order however many, so that it changes no number.
    """
    device, weights = device_of(method), _learned(method)
    idle: SimpleQueue[Method] = SimpleQueue()
    for each in (method, *(_sharing_weights(method) for _ in range(parallel_chunks - 1))):
        idle.put(each)

    def of_chunk(chunk: Episodes, share: float) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        own = idle.get()
        loss = own.loss(chunk.to(device)) * share
        gradients = torch.autograd.grad(loss, _learned(own), allow_unused=True)
        idle.put(own)
        return loss.detach(), gradients

    with ExitStack() as stack:
        each_of: Callable[..., Iterable[tuple[Tensor, tuple[Tensor | None, ...]]]] = map
        if parallel_chunks > 1:
            each_of = stack.enter_context(ThreadPoolExecutor(parallel_chunks)).map
        for step, batch in batches:
            optimizer.zero_grad(set_to_none=True)
            total = torch.zeros((), device=device)
            chunks = [*batch.chunks(chunk_size)][::-1]  # the widest take longest: they begin
            shares = [chunk.n_tasks / batch.n_tasks for chunk in chunks]
            for loss, gradients in each_of(of_chunk, chunks, shares):
                total += loss
                _add_to(weights, gradients)
            if clip is not None:
                nn.utils.clip_grad_norm_(method.parameters(), clip)
            optimizer.step()
            schedule.step()
            after_step(step, total)


def _sharing_weights(method: Method) -> Method:
    """A copy for another thread, with the same weights in the same memory.

    A method may put other weights in its modules while it computes, which threads must not see.
    """
    twin = copy.deepcopy(method)
    for copied, weight in zip(twin.parameters(), method.parameters(), strict=True):
        copied.data = weight.data
    return twin


def _learned(method: Method) -> list[nn.Parameter]:
    return [weight for weight in method.parameters() if weight.requires_grad]


def _add_to(weights: list[nn.Parameter], gradients: tuple[Tensor | None, ...]) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        if gradient is not None:
            weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)


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
