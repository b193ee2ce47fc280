"""What a run is judged on: held-out sources, protocols, and the baselines beside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import NonNegativeInt, PositiveInt

from metamine.methods.base import Method
from metamine.methods.baseline.base import Baseline
from metamine.plan import Plan
from metamine.protocol import Protocol
from metamine.sources.base import Source, Split
from metamine.sources.split import EmptySplit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a run; the same episodes for all methods and runs that agree on it.

    seed: of the episodes; the run's own seed plays no part.
    protocols: name -> how episodes are cut.
    episodes: from each held-out table; tasks: from an endless source.
    validation_episodes, validation_tasks: likewise, for choosing the best checkpoint; the first
        protocol and the run's own source are used.
    also: held-out sources beside the test split of the run's own; those of another kind are left
    out. baselines: what every method is compared with; those that cannot do the kind are left out,
        and those that lack something on this machine.
    """

    seed: NonNegativeInt
    protocols: dict[str, Protocol]
    episodes: PositiveInt
    tasks: PositiveInt
    validation_episodes: PositiveInt
    validation_tasks: PositiveInt
    also: dict[str, Source]
    baselines: dict[str, Method]

    def __post_init__(self) -> None:
        if not self.protocols:
            raise ValueError("protocols is empty; name one at least")

    def plans(self, own: Source) -> list[Plan]:
        """The test plans: every protocol on the run's own source, then on the others.

        Of an own source of several parts, each part counts as a source.
        """
        parts = self._tested(own.parts)
        taken = {part.name for part in parts}
        others = [each for each in self.also.values() if each.kind == own.kind]
        for other in others:
            if other.name in taken:
                log.info(
                    "the held-out source %s is left out: so is the run's own called", other.name
                )
        sources = [*parts, *(other for other in others if other.name not in taken)]
        return [
            Plan(source, "test", name, protocol, self.episodes, self.tasks, self.seed)
            for source in sources
            for name, protocol in self.protocols.items()
        ]

    def validation_plans(self, own: Source) -> list[Plan]:
        """The plans by which the best checkpoint is chosen, one for each part of the source.

        A part may have no table for it.
        """
        name, protocol = next(iter(self.protocols.items()))
        episodes, tasks = self.validation_episodes, self.validation_tasks
        split: Split = "validation"
        return [Plan(part, split, name, protocol, episodes, tasks, self.seed) for part in own.parts]

    def baselines_for(self, own: Source) -> Mapping[str, Method]:
        """The baselines that can do the source's kind, and can do it here."""
        absent = self.absent_for(own)
        return {name: each for name, each in self._able(own).items() if name not in absent}

    def absent_for(self, own: Source) -> Mapping[str, str]:
        """What the other baselines that can do the source's kind lack on this machine."""
        lacking = {
            name: each.missing(own.kind)
            for name, each in self._able(own).items()
            if isinstance(each, Baseline)
        }
        return {name: reason for name, reason in lacking.items() if reason is not None}

    def _able(self, own: Source) -> Mapping[str, Method]:
        return {name: each for name, each in self.baselines.items() if own.kind in each.kinds}

    def _tested(self, parts: Sequence[Source]) -> Sequence[Source]:
        """The parts with a test split; all of them, for the plans to complain, if none has one."""
        if len(parts) == 1:
            return parts
        protocol = next(iter(self.protocols.values()))
        found, missing = [], []
        for part in parts:
            try:
                if not part.endless:
                    g = torch.Generator()
                    part.pack("test", protocol.shape(part.kind, g), 0, g)
                found.append(part)
            except EmptySplit as error:
                missing.append(error)
        if not found:
            return parts
        for each in missing:
            log.info("not tested: %s", each)
        return found
