"""The cache of prepared tables: equal, checked, safe for many processes, and never in the way."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from metamine.sources.prepared import Prepared, prepared
from metamine.sources.table import Table


def table(name: str, rows: int, width: int, kind: str = "classification") -> Table:
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, width)).astype(np.float32)
    x[0, 0] = np.nan
    regression = kind == "regression"
    return Table(
        name=name,
        group=name,
        kind="regression" if regression else "classification",
        x=x,
        y=rng.normal(size=rows).astype(np.float32) if regression else rng.integers(0, 2, rows),
        categorical=rng.random(width) < 0.5,
        features=tuple(f"f{i} é" for i in range(width)),
        classes=() if regression else ("no", "yes"),
        target_mean=0.1 * regression,
        target_sd=1 + 1e-9 * regression,
    )


def same(one: Prepared, other: Prepared) -> bool:
    for left, right in zip(one.tables, other.tables, strict=True):
        for field in fields(Table):
            a, b = getattr(left, field.name), getattr(right, field.name)
            if isinstance(a, np.ndarray):
                if a.dtype != b.dtype or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                    return False
            elif a != b:
                return False
    return one.notes == other.notes


FRESH = Prepared((table("a", 7, 3), table("b", 5, 1)), ("a.csv: something is left out",))


def never() -> Prepared:
    raise AssertionError("the cache should have served")


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_second_start_gets_equal_tables(kind: str) -> None:
    fresh = Prepared((table("a", 7, 3, kind), table("b", 5, 1, kind)), ("note",))
    assert prepared("place", "stamp", lambda: fresh) is fresh
    assert same(prepared("place", "stamp", never), fresh)


def test_another_stamp_is_prepared_anew_in_the_same_file(cache: Path) -> None:
    other = Prepared((table("c", 4, 2),), ())
    prepared("place", "stamp", lambda: FRESH)
    assert prepared("place", "later", lambda: other) is other
    assert same(prepared("place", "later", never), other)
    assert len(list(cache.iterdir())) == 1
    prepared("elsewhere", "stamp", lambda: FRESH)
    assert len(list(cache.iterdir())) == 2


def flip(position: float) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[int(position * (len(content) - 1))] ^= 1
        file.write_bytes(content)

    return damage


def cut(length: int) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(file.read_bytes()[:length])


@pytest.mark.parametrize(
    "damage", [*map(flip, (0, 0.1, 0.4, 0.7, 1)), *map(cut, (0, 10, 32, 200, -1))]
)
def test_damage_is_noticed_logged_and_mended(
    damage: Callable[[Path], None], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared("place", "stamp", lambda: FRESH)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    damage(file)
    assert prepared("place", "stamp", lambda: FRESH) is FRESH
    assert "is damaged: preparing the tables anew" in caplog.text
    assert file.read_bytes() == whole
    assert same(prepared("place", "stamp", never), FRESH)


def test_a_cache_that_cannot_be_used_stops_nothing(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where the folder should be")
    assert prepared("place", "stamp", lambda: FRESH) is FRESH
    assert "will be read again next time" in caplog.text


def test_a_full_disk_stops_nothing_and_leaves_no_litter(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert prepared("place", "stamp", lambda: FRESH) is FRESH
    assert "No space left on device" in caplog.text
    assert not list(cache.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_stops_nothing(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.mkdir(mode=0o500)
    assert prepared("place", "stamp", lambda: FRESH) is FRESH
    assert "will be read again next time" in caplog.text


def start(barrier: multiprocessing.synchronize.Barrier, seed: int, results: object) -> None:
    logging.disable()
    fresh = replace(FRESH, notes=("x" * 200_000,))
    barrier.wait()
    for _ in range(20):
        result = prepared("place", f"stamp {seed % 2}", lambda: fresh)
        if not same(result, fresh):
            results.put("differs")  # type: ignore[attr-defined]
            return
    results.put("equal")  # type: ignore[attr-defined]


def test_four_processes_at_once(cache: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["metamine.sources.prepared"])  # torch is imported once
    barrier, results = context.Barrier(4), context.Queue()
    started = [context.Process(target=start, args=(barrier, seed, results)) for seed in range(4)]
    for process in started:
        process.start()
    assert [results.get(timeout=60) for _ in started] == ["equal"] * 4
    for process in started:
        process.join()
        assert process.exitcode == 0
    assert [file.suffix for file in cache.iterdir()] == [".tables"]
