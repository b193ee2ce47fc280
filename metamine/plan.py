"""A fixed evaluation plan: the same episodes for every method, run and day, with a hash."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from metamine.episode import Episodes
from metamine.errors import MetamineError
from metamine.protocol import Protocol
from metamine.randomness import stream
from metamine.sampler import choose_tables, draw, eligible, fitting
from metamine.sources.base import Shape, Source, Split
from metamine.sources.table import Pack

# Tasks of an endless source are planned this many at a time.
BATCH = 64


@dataclass(frozen=True)
class Planned:
    """A batch of planned episodes: which table each is about, and its number within that table."""

    tables: tuple[str, ...]  # T
    numbers: tuple[int, ...]  # T
    episodes: Episodes


@dataclass(frozen=True)
class Plan:
    """The evaluation episodes of one source under one protocol; iterating draws them anew.

    Each table gets `episodes` episodes from a stream of its own, so that what one table is asked
    does not depend on which others are there. An endless source gives `tasks` tasks, one episode
    each.
    """

    source: Source
    split: Split
    protocol_name: str
    protocol: Protocol
    episodes: int
    tasks: int
    seed: int

    def __iter__(self) -> Iterator[Planned]:
        return self._of_fresh_tasks() if self.source.endless else self._of_tables()

    def digest(self) -> str:
        """Sixteen hex digits; two results are comparable exactly when theirs agree."""
        digest = hashlib.sha256()
        for planned in self:
            digest.update(repr((planned.tables, planned.numbers)).encode())
            support = planned.episodes.support
            for tensor in (
                support.x,
                support.y,
                support.categorical,
                planned.episodes.query_x,
                planned.episodes.query_y,
            ):
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def skipped(self) -> dict[str, str]:
        """Tables of the split that are too small for the protocol, with the reason."""
        if self.source.endless:
            return {}
        shape = self._shape()
        pack = self._pack(shape)
        taken = {int(table) for table in eligible(pack, _of_two_classes(shape))}
        needs = (
            f"needs {shape.rows_of_class} rows in two classes"
            if shape.rows is None
            else f"needs {shape.rows + shape.query} rows and two classes"
        )
        return {name: needs for table, name in enumerate(pack.names) if table not in taken}

    def _of_fresh_tasks(self) -> Iterator[Planned]:
        for first in range(0, self.tasks, BATCH):
            n_tasks = min(BATCH, self.tasks - first)
            generator = self._stream(first)
            shape = self.protocol.shape(self.source.kind, generator)
            pack = self.source.pack(self.split, shape, n_tasks, generator)
            tables_T = choose_tables(pack, shape, n_tasks, generator)
            yield Planned(
                tables=tuple(
                    f"{pack.names[table]} {first + number}"
                    for number, table in enumerate(tables_T.tolist())
                ),
                numbers=(0,) * n_tasks,
                episodes=self._draw(pack, tables_T, shape, generator),
            )

    def _of_tables(self) -> Iterator[Planned]:
        pack = self._pack(self._shape())
        found = False
        for table, name in enumerate(pack.names):
            generator = self._stream(zlib.crc32(name.encode()))
            shape = self.protocol.shape(self.source.kind, generator)
            alone = pack.only(table)
            if not len(eligible(alone, _of_two_classes(shape))):
                continue
            found = True
            tables_T = torch.zeros(self.episodes, dtype=torch.int64)
            yield Planned(
                tables=(name,) * self.episodes,
                numbers=tuple(range(self.episodes)),
                episodes=self._draw(alone, tables_T, fitting(alone, shape), generator),
            )
        if not found:
            table_name, reason = next(iter(self.skipped().items()))
            raise MetamineError(
                f"no {self.split} table of {self.source.name} is large enough for "
                f"{self.protocol_name}: {table_name} {reason}; lower "
                f"evaluation.protocols.{self.protocol_name}.query or its shot"
            )

    def _draw(
        self, pack: Pack, tables_T: torch.Tensor, shape: Shape, generator: torch.Generator
    ) -> Episodes:
        return draw(pack, tables_T, shape, self.protocol, self.source.standardise, generator)

    def _pack(self, shape: Shape) -> Pack:
        return self.source.pack(self.split, shape, 0, self._stream())

    def _shape(self) -> Shape:
        return self.protocol.shape(self.source.kind, self._stream())

    def _stream(self, *index: int) -> torch.Generator:
        return stream(self.seed, f"{self.source.name}/{self.split}/{self.protocol_name}", *index)


def _of_two_classes(shape: Shape) -> Shape:
    """The least that a table must offer: of an N-way shape, two of the classes."""
    return replace(shape, way=2) if shape.way and shape.rows is None else shape
