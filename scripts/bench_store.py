"""How long a run takes to open a store of the size of OpenML-CC18, filled with made-up tables.

30 tables have the shapes of its largest ones, 42 have 1,500 rows and 20 columns.

    python scripts/bench_store.py FOLDER [SHARE]

FOLDER is filled first, if it is empty (2 GB and some minutes; SHARE=0.1 takes a tenth of the rows).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from metamine.openml.store import entry_folder
from metamine.openml.suites import resolve
from metamine.prefetch.datafile import Column, Feature
from metamine.prefetch.entries import write_dataset, write_task
from metamine.protocol import Protocol
from metamine.sampler import sample
from metamine.sources.openml import OpenML
from metamine.sources.split import Shares

# Rows and columns (with the target) of the tables of CC18, largest first.
SHAPES = [(60000, 3073), (92000, 1025), (70000, 785), (70000, 785), (10299, 562), (3751, 1777)]
SHAPES += [(3279, 1559), (7797, 618), (34465, 119), (96320, 22), (67557, 43), (45211, 17)]
SHAPES += [(48842, 15), (45312, 9), (44819, 7), (2600, 501), (11055, 31), (10992, 17)]
SHAPES += [(2000, 217), (2000, 241), (1593, 257), (1080, 857), (3186, 181), (6118, 52)]
SHAPES += [(5500, 41), (6430, 37), (9873, 33), (10885, 22), (20000, 17), (5620, 65)]
SHAPES += [(1500, 20)] * 42


def fill(store: Path, share: float) -> None:
    """Write tables of those shapes under the ids of the suite."""
    for number, (entry, (n_rows, width)) in enumerate(
        zip(resolve("OpenML-CC18", store).entries, SHAPES, strict=True)
    ):
        assert entry.dataset is not None
        assert entry.task is not None
        rng = np.random.default_rng(number)
        n = max(200, int(n_rows * share))
        columns = [
            Column(Feature(f"f{i}", "numeric", ()), _values(rng, n)) for i in range(width - 1)
        ]
        labels = np.array([str(i % 5) for i in range(n)], dtype=object)
        columns.append(Column(Feature("class", "nominal", ()), labels))
        folder = entry_folder(store, "datasets", entry.dataset)
        folder.mkdir(parents=True)
        write_dataset(folder, columns, ["class"], {}, {"id": entry.dataset, "name": "made"})
        folder = entry_folder(store, "tasks", entry.task)
        folder.mkdir(parents=True)
        facts = {"id": entry.task, "dataset": entry.dataset, "target": "class"}
        write_task(folder, None, facts)


def _values(rng: np.random.Generator, n: int) -> np.ndarray:
    """A column as tables have them: skewed or not, with gaps, rounded, or of a few values."""
    values = rng.gamma(rng.uniform(0.2, 5), size=n) ** rng.uniform(0.3, 2)
    values[rng.random(n) < rng.choice([0, 0, rng.uniform(0, 0.9)])] = 0.0
    if rng.random() < 0.4:
        few = rng.integers(2, 12)
        return rng.choice(few, n, p=rng.dirichlet(np.ones(few))).astype(np.float64)
    return values.round(rng.integers(0, 6))


def opened(store: Path) -> OpenML:
    return OpenML(
        suite="OpenML-CC18",
        tasks=None,
        datasets=None,
        store=str(store),
        kind="classification",
        tables=None,
        targets=None,
        classes="all",
        groups=None,
        leakage="refuse",
        split=Shares(0.6, 0.2, 0.2, 0),
        respect_splits=False,
        repeat=0,
        fold=0,
    )


def main() -> None:
    torch.set_num_threads(1)
    store = Path(sys.argv[1])
    if not (store / "tasks").exists():
        fill(store, float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
    protocol = Protocol(5, 5, None, 15, "balanced", "redraw", False, None)
    os.environ["METAMINE_CACHE"] = tempfile.mkdtemp()  # in which no twins are remembered
    start = time.perf_counter()
    opened(store)
    print(f"{'open, first time':20}{time.perf_counter() - start:8.2f} s (tables are compared)")
    seconds: dict[str, list[float]] = {"open, later": [], "first batch": [], "100 batches": []}
    for _ in range(5):
        generator = torch.Generator().manual_seed(0)
        start = time.perf_counter()
        source = opened(store)
        seconds["open, later"].append(time.perf_counter() - start)
        start = time.perf_counter()
        sample(source, "train", protocol, 16, generator)
        seconds["first batch"].append(time.perf_counter() - start)
        start = time.perf_counter()
        for _ in range(100):
            sample(source, "train", protocol, 16, generator)
        seconds["100 batches"].append(time.perf_counter() - start)
    for what, values in seconds.items():
        print(
            f"{what:20}{statistics.median(values):8.2f} s (median of {len(values)}; batches of 16)"
        )


if __name__ == "__main__":
    main()
