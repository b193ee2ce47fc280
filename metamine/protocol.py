"""How episodes are cut from tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Generator

from metamine.episode import Kind
from metamine.sources.base import Shape

# A fixed number, or [lowest, highest] to draw from (both ends count).
Sizes = PositiveInt | tuple[PositiveInt, PositiveInt]


@dataclass(frozen=True)
class Protocol:
    """How episodes are cut from tables; every published protocol is a choice of these.

    way: classes of an episode; a table with fewer usable classes gives what it has (two at least).
    shot: labelled rows of each class (regression: of the task). Exactly one of `shot` and `rows`.
    rows: labelled rows altogether, whatever their classes.
    query: query rows of each class with `shot`, altogether with `rows`; "support": the support
        rows themselves, of tasks that are optimisation problems.
    draw: with `rows`: "balanced" makes every class equally likely for each row, "natural" takes
        rows as they come, "even" labels as many rows of each class as of any other, as nearly as
        their number allows, and takes query rows as they come.
    one_class: with `rows`: what becomes of a support of one class: "redraw" draws it again, until
        it holds two, "keep" keeps it.
    transductive: standardise on support and query rows together, instead of the support alone.
    columns: keep a random subset of that many columns in each episode (augmentation); null: all.
    """

    way: Annotated[int, Field(ge=2)] | tuple[Annotated[int, Field(ge=2)], PositiveInt]
    shot: Sizes | None
    rows: Sizes | None
    query: PositiveInt | Literal["support"]
    draw: Literal["balanced", "natural", "even"]
    one_class: Literal["redraw", "keep"]
    transductive: bool
    columns: Sizes | None

    def __post_init__(self) -> None:
        if (self.shot is None) == (self.rows is None):
            raise ValueError(
                f"exactly one of shot ({self.shot}) and rows ({self.rows}) must be a number; "
                "set the other to null"
            )
        for name in ("way", "shot", "rows", "columns"):
            sizes = getattr(self, name)
            if isinstance(sizes, (tuple, list)) and sizes[0] > sizes[1]:
                raise ValueError(
                    f"{name} runs from {sizes[0]} to {sizes[1]}: put the smaller first"
                )

    def of_batch(self, generator: Generator) -> Self:
        """The protocol that a batch is cut by: always this one."""
        return self

    def shape(self, kind: Kind, generator: Generator) -> Shape:
        """The sizes of one batch, drawn from the ranges."""
        way = _pick(self.way, generator)
        return Shape(
            way=way if kind == "classification" else 0,
            shot=None if self.shot is None else _pick(self.shot, generator),
            rows=None if self.rows is None else _pick(self.rows, generator),
            query=0 if self.query == "support" else self.query,
        )


@dataclass(frozen=True)
class ProtocolMix:
    """Each meta-batch is cut by one of several protocols, chosen by weight.

    protocols, weights: name -> protocol, and how often a batch is cut by it relative to the others.

    Raises ValueError if protocols and weights do not name the same, or no weight is above 0.
    """

    protocols: dict[str, Protocol]
    weights: dict[str, NonNegativeFloat]

    def __post_init__(self) -> None:
        if set(self.weights) != set(self.protocols):
            raise ValueError(
                f"weights name {sorted(self.weights)}, but protocols {sorted(self.protocols)}"
            )
        if not any(self.weights.values()):
            raise ValueError("all weights are 0: give one protocol at least a positive weight")

    def of_batch(self, generator: Generator) -> Protocol:
        """The protocol that a batch is cut by."""
        names = list(self.protocols)
        weight = torch.tensor([self.weights[name] for name in names], dtype=torch.float64)
        return self.protocols[names[int(weight.multinomial(1, generator=generator))]]


def _pick(sizes: int | tuple[int, int], generator: Generator) -> int:
    if isinstance(sizes, int):
        return sizes
    return int(torch.randint(sizes[0], sizes[1] + 1, (), generator=generator))
