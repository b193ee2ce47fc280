"""Several sources in one run: each meta-batch is drawn from one of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import NonNegativeFloat
from torch import Generator

from metamine.errors import UsageError
from metamine.sources.base import Shape, Source, Split
from metamine.sources.split import EmptySplit
from metamine.sources.table import Pack


class Mix(Source):
    """Each batch comes from one source, chosen by weight; each is judged under its own name.

    name: as results call the mix.
    sources, weights: name -> source, and how often a batch is drawn from it relative to the
        others; with weight 0 it serves validation and test only.

    Raises ValueError if sources and weights do not name the same, or no weight is above 0;
    UsageError if the sources differ in kind or in whether episodes are standardised, or if two
    have the same name in results.
    """

    def __init__(
        self, name: str, sources: dict[str, Source], weights: dict[str, NonNegativeFloat]
    ) -> None:
        if set(weights) != set(sources):
            raise ValueError(f"weights name {sorted(weights)}, but sources {sorted(sources)}")
        if not any(weights.values()):
            raise ValueError("all weights are 0: give one source at least a positive weight")
        self.name = name
        self.sources = sources
        self.weights = weights
        _check_same("kind", {key: each.kind for key, each in sources.items()})
        _check_same("standardise", {key: each.standardise for key, each in sources.items()})
        first = next(iter(sources.values()))
        self.kind = first.kind
        self.standardise = first.standardise
        names = [part.name for part in self.parts]
        for each in names:
            if names.count(each) > 1:
                raise UsageError(
                    f"source.sources has two sources that results would call '{each}'; "
                    "give one another name (a folder: rename it), or leave it out"
                )

    @property
    def parts(self) -> tuple[Source, ...]:
        """The sources mixed; of a mix among them, its own."""
        return tuple(part for source in self.sources.values() for part in source.parts)

    @property
    def training_parts(self) -> tuple[Source, ...]:
        """Those of the sources of a weight above 0."""
        trained = [self.sources[key] for key, weight in self.weights.items() if weight]
        return tuple(part for source in trained for part in source.training_parts)

    @property
    def endless(self) -> bool:
        """True if all the sources are."""
        return all(source.endless for source in self.sources.values())

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: Generator) -> Pack:
        """What one of the sources gives, chosen by weight among those that have the split.

        Raises EmptySplit if none has.
        """
        # Nothing is kept between calls, so that a run which goes on draws what it would have.
        left = [key for key, weight in self.weights.items() if weight]
        reasons = []
        while left:
            weight = torch.tensor([self.weights[key] for key in left], dtype=torch.float64)
            key = left.pop(int(weight.multinomial(1, generator=generator)))
            try:
                return self.sources[key].pack(split, shape, n_tasks, generator)
            except EmptySplit as error:
                reasons.append(f"{key}: {error}")
        raise EmptySplit(f"no source of {self.name} has a {split} split: {'; '.join(reasons)}")


def _check_same(what: str, of: Mapping[str, object]) -> None:
    """Raise UsageError, naming the sources, if they differ in `what`: source -> what it has."""
    if len(set(of.values())) > 1:
        each = ", ".join(f"{key}: {value}" for key, value in of.items())
        raise UsageError(f"source.sources differ in {what} ({each}); mix only sources that agree")
