"""What a run is judged on: held-out sources, protocols, and the baselines beside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import NonNegativeInt, PositiveInt

from metamine.methods.base import Method
from metamine.plan import Plan
from metamine.protocol import Protocol
from metamine.sources.base import Source, Split

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
    out. baselines: what every method is compared with; those that cannot do the kind are left out.
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
        """The test plans: every protocol on the run's own source, then on the others."""
        others = [each for each in self.also.values() if each.kind == own.kind]
        for other in others:
            if other.name == own.name:
                log.info("the held-out source %s is left out: so is the run's own called", own.name)
        sources = [own, *(other for other in others if other.name != own.name)]
        return [
            Plan(source, "test", name, protocol, self.episodes, self.tasks, self.seed)
            for source in sources
            for name, protocol in self.protocols.items()
        ]

    def validation_plan(self, own: Source) -> Plan:
        """The plan by which the best checkpoint is chosen."""
        name, protocol = next(iter(self.protocols.items()))
        split: Split = "validation"
        return Plan(
            own, split, name, protocol, self.validation_episodes, self.validation_tasks, self.seed
        )

    def baselines_for(self, own: Source) -> Mapping[str, Method]:
        """The baselines that can do the source's kind."""
        return {name: each for name, each in self.baselines.items() if own.kind in each.kinds}
