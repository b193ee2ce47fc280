"""The evaluation plan: fixed, hashed, and the same for a table whatever stands beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from making import built, protocol, table
from torch import Generator

from metamine.errors import MetamineError
from metamine.plan import Plan
from metamine.sources.base import Shape, Source, Split
from metamine.sources.table import Pack, Table


class Fixed(Source):
    """Tables given by the test."""

    name = "fixed"
    endless = False

    def __init__(self, *tables: Table) -> None:
        self.kind = tables[0].kind
        self._pack = Pack.of(tables)

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: Generator) -> Pack:
        return self._pack


def plan(*tables: Table, **changes: object) -> Plan:
    start = Plan(Fixed(*tables), "test", "2-shot", protocol(), episodes=6, tasks=70, seed=0)
    return replace(start, **changes)  # type: ignore[arg-type]


A, B = table("a", n_classes=5), table("b", n_features=7, n_classes=2, seed=1)


def test_drawn_again_is_the_same() -> None:
    one = plan(A, B)
    for first, second in zip(one, one, strict=True):
        assert torch.equal(first.episodes.query_x, second.episodes.query_x)
    assert one.digest() == plan(A, B).digest()


def test_digest_tells_plans_apart() -> None:
    changed = table("a", n_classes=5, seed=9)
    digests = {
        each.digest()
        for each in (
            plan(A, B),
            plan(A),
            plan(changed, B),
            plan(A, B, seed=1),
            plan(A, B, episodes=5),
            plan(A, B, protocol=protocol(transductive=True)),
        )
    }
    assert len(digests) == 6


def test_a_table_keeps_its_episodes() -> None:
    alone, beside = list(plan(B)), list(plan(A, B))
    assert torch.equal(alone[0].episodes.query_x, beside[1].episodes.query_x)


def test_way_is_what_the_table_has() -> None:
    batches = list(plan(A, B, protocol=protocol(way=4)))
    assert [batch.episodes.support.way for batch in batches] == [4, 2]
    assert batches[0].tables == ("a",) * 6
    assert batches[0].numbers == tuple(range(6))


def test_small_tables_are_named() -> None:
    small = table("small", n_rows=12)
    assert plan(A, small).skipped() == {"small": "needs 7 rows in two classes"}
    assert [batch.tables[0] for batch in plan(A, small)] == ["a"]
    with pytest.raises(MetamineError, match=r"no test table of fixed is large enough.*small needs"):
        list(plan(small))


def test_labelled_rows() -> None:
    rows = protocol(shot=None, rows=10, query=5, way=10)
    (batch,) = plan(A, protocol=rows)
    assert batch.episodes.support.y.shape == (6, 10)
    assert batch.episodes.query_y.shape == (6, 5)
    small = table("small", n_rows=12)
    assert plan(A, small, protocol=rows).skipped() == {"small": "needs 15 rows and two classes"}


def test_regression_tables() -> None:
    (batch,) = plan(table("r", kind="regression"))
    assert batch.episodes.support.kind == "regression"
    assert batch.episodes.support.y.shape == (6, 2)


def test_endless_tasks_are_each_a_table() -> None:
    endless = plan(A, source=built("source", "sinusoid"), tasks=70)
    names = [name for batch in endless for name in batch.tables]
    assert len(names) == len(set(names)) == 70
    assert endless.digest() == replace(endless).digest()
    assert endless.digest() != replace(endless, split="validation").digest()
