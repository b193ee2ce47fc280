"""Meta-training that can be stopped at any moment and goes on as if it had not been."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from metamine import checkpoint, engine
from metamine.checkpoint import Checkpoint
from metamine.episode import Episodes
from metamine.errors import MetamineError
from metamine.interruption import Interruption
from metamine.methods.base import Method
from metamine.metrics import HEADLINE
from metamine.plan import Plan
from metamine.protocol import Protocol, ProtocolMix
from metamine.randomness import seed_of, stream
from metamine.rundir import Journal, RunDirectory
from metamine.sampler import sample
from metamine.sources.base import Source


@dataclass(frozen=True)
class Schedule:
    """How long to train, on how much at a time, and how often to look up.

    averaging: the weights that are judged and kept are a moving average of those of the steps, in
        which one step's weigh that many times as much as the next one's; None: the latest alone.
    """

    steps: int
    meta_batch: int
    chunk_size: int
    log_every: int
    checkpoint_every: int
    parallel_chunks: int = 1
    averaging: float | None = None


@dataclass
class Progress:
    """Where training stands; with the weights and the optimiser, all that a checkpoint holds."""

    step: int = 0
    losses: list[float] = field(default_factory=list)  # since the last line of the journal
    best_step: int = 0
    best_score: float = -math.inf
    seconds: float = 0.0


class MetaTraining:
    """One method's way through the training tasks of one source, in one run directory."""

    def __init__(
        self,
        run: RunDirectory,
        method: Method,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        clip: float | None,
        source: Source,
        protocol: Protocol | ProtocolMix,
        validation: Sequence[Plan],
        schedule: Schedule,
        seed: int,
    ) -> None:
        self.method, self.optimizer, self.scheduler = method, optimizer, scheduler
        self.clip, self.source, self.protocol = clip, source, protocol
        self.validation, self.schedule, self.seed = validation, schedule, seed
        self.folder = run / "checkpoints"
        self.device = engine.device_of(method)
        self.average = None
        if schedule.averaging is not None:
            update = get_ema_multi_avg_fn(schedule.averaging)
            self.average = AveragedModel(method, multi_avg_fn=update)
        self.progress = Progress()
        self._unread: list[Tensor] = []  # losses still on the device: reading makes the host wait
        journal_size = self._restore() if checkpoint.exists(self.folder) else 0
        self.journal = Journal(run / "metrics.jsonl", journal_size)

    def train(self, interruption: Interruption) -> None:
        """Go on to the last step; leave the best checkpoint's weights in the method.

        Raises Interrupted after saving a checkpoint; MetamineError for a loss that is not finite.
        """
        steps = self.schedule.steps
        bar = tqdm(total=steps, initial=self.progress.step, desc="meta-training", disable=None)
        started = time.monotonic() - self.progress.seconds

        def after_step(step: int, loss: Tensor) -> None:
            if self.average is not None:
                self.average.update_parameters(self.method)
            self.progress.step = step
            self.progress.seconds = time.monotonic() - started
            self._unread.append(loss)
            bar.update()
            at_end = step == steps
            stopping = interruption.signum is not None  # one that comes later waits a step
            if step % self.schedule.log_every == 0 or at_end:
                self._log()
                bar.set_postfix(self._postfix, refresh=False)
            if step % self.schedule.checkpoint_every == 0 or at_end:
                self._validate()
                self._save()
            elif stopping:
                self._save()
            if stopping:
                interruption.check()

        with bar:
            self._postfix: dict[str, str] = {}
            engine.train(
                self.method,
                self.optimizer,
                self.scheduler,
                self._batches(),
                self.clip,
                self.schedule.chunk_size,
                after_step,
                self.schedule.parallel_chunks,
            )
        best = checkpoint.load(self.folder, "best", self.device)
        self.method.load_state_dict(best.method)

    @property
    def judged(self) -> Method:
        """The method with the weights that are validated and kept."""
        return self.method if self.average is None else cast(Method, self.average.module)

    def _batches(self) -> Iterator[tuple[int, Episodes]]:
        for step in range(self.progress.step + 1, self.schedule.steps + 1):
            torch.manual_seed(seed_of(self.seed, "method", step))  # dropout and the like
            generator = stream(self.seed, "training tasks", step)
            meta_batch = self.schedule.meta_batch
            yield step, sample(self.source, "train", self.protocol, meta_batch, generator)

    def _log(self) -> None:
        losses = self._read_losses()
        mean = math.fsum(losses) / len(losses)
        rate = float(self.scheduler.get_last_lr()[0])
        self.journal.write(event="train", step=self.progress.step, loss=mean, lr=rate)
        self._postfix["loss"] = f"{mean:.3f}"
        self.progress.losses = []

    def _validate(self) -> None:
        """Score the weights on the validation tasks; without any, the latest are the best.

        Every table counts the same, whichever plan it is of.
        """
        progress = self.progress
        if not self.validation:
            progress.best_step = progress.step
            return
        name, sign = HEADLINE[self.source.kind]
        by_table: dict[tuple[str, str], list[float]] = {}
        for plan in self.validation:
            for columns in engine.evaluate(self.judged, plan, self.schedule.chunk_size):
                for table, value in zip(columns["table"], columns[name], strict=True):
                    by_table.setdefault((plan.source.name, table), []).append(value)
        mean = math.fsum(math.fsum(v) / len(v) for v in by_table.values()) / len(by_table)
        self.journal.write(event="validate", step=progress.step, **{name: mean})
        self._postfix[f"validation {name}"] = f"{mean:.3f}"
        if sign * mean > progress.best_score:
            progress.best_step, progress.best_score = progress.step, sign * mean

    def _save(self) -> None:
        losses = self._read_losses()
        progress = self.progress
        best_step = progress.best_step or progress.step
        state = Checkpoint(
            step=progress.step,
            method=self.judged.state_dict(),
            latest=None if self.average is None else self.method.state_dict(),
            optimizer=self.optimizer.state_dict(),
            schedule=self.scheduler.state_dict(),
            journal=self.journal.size,
            losses=losses,
            best_step=best_step,
            best_score=progress.best_score,
            seconds=progress.seconds,
        )
        checkpoint.save(self.folder, state)

    def _restore(self) -> int:
        """Go back to the last checkpoint; returns the size that the journal had."""
        last = checkpoint.load(self.folder, "last", self.device)
        self.method.load_state_dict(last.latest or last.method)
        if self.average is not None:
            self.average.module.load_state_dict(last.method)
            self.average.n_averaged.fill_(last.step)
        # The optimiser keeps the tensors it is given.
        self.optimizer.load_state_dict(copy.deepcopy(last.optimizer))
        self.scheduler.load_state_dict(last.schedule)
        self.progress = Progress(
            last.step, last.losses, last.best_step, last.best_score, last.seconds
        )
        return last.journal

    def _read_losses(self) -> list[float]:
        """All losses since the last line of the journal, as numbers; stops at one that is none."""
        first = self.progress.step - len(self._unread) + 1
        values = torch.stack(self._unread).tolist() if self._unread else []
        self._unread = []
        for step, loss in enumerate(values, start=first):
            if not math.isfinite(loss):
                raise MetamineError(
                    f"the loss is {loss} at step {step} (its batch has seed "
                    f"{seed_of(self.seed, 'training tasks', step)}); lower optimizer.lr or "
                    "optimizer.clip, or the method's own step size, and start anew"
                )
        self.progress.losses += values
        return self.progress.losses
