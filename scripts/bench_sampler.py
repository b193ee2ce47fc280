"""How many episodes the sampler draws in a second of one core: 5-way 5-shot, 15 queries a class.

    python scripts/bench_sampler.py [--path FOLDER] [--columns N]

FOLDER holds tables (CSV, Parquet, ARFF); without it, 60 of 1000 rows and 20 columns are made.
N: draw that many columns of each table.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from sklearn.datasets import make_classification

from metamine.confdir import conf_dir
from metamine.config import build
from metamine.protocol import Protocol
from metamine.sampler import choose_tables, draw, eligible, fitting
from metamine.sources.table import Pack, Table

PROTOCOL = Protocol(
    way=5,
    shot=5,
    rows=None,
    query=15,
    draw="balanced",
    one_class="redraw",
    transductive=False,
    columns=None,
)


def made(seed: int) -> Table:
    x, y = make_classification(1000, 20, n_informative=8, n_classes=5, random_state=seed)
    return Table(
        name=f"made {seed}",
        group=f"made {seed}",
        kind="classification",
        x=x.astype("float32"),
        y=y.astype("int64"),
        categorical=torch.zeros(20, dtype=torch.bool).numpy(),
        features=tuple(f"f{i}" for i in range(20)),
        classes=tuple("abcde"),
    )


def read(folder: Path) -> list[Table]:
    """All tables of a folder, whatever their split."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(overrides=["+source=tables", f"+path={folder.resolve()}"])
    source = build(cast(dict[str, Any], OmegaConf.to_container(config.source, resolve=True)))
    return [table for side in source.tables.values() for table in side]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--path", type=Path)
    parser.add_argument("--columns", type=int)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64, 256, 1024])
    parser.add_argument("--runs", type=int, default=9, help="the median of so many is shown")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    pack = Pack.of(read(arguments.path) if arguments.path else [made(seed) for seed in range(60)])
    protocol = replace(PROTOCOL, columns=arguments.columns)
    shape = fitting(pack, protocol.shape("classification", generator))
    print(f"{len(eligible(pack, shape))} of {len(pack)} tables are large enough")
    print("tasks at once   episodes/s   ms/call")
    for n_tasks in arguments.batches:
        calls = max(1, 1024 // n_tasks)
        seconds = []
        for _ in range(arguments.runs):
            start = time.process_time()
            for _ in range(calls):
                tables = choose_tables(pack, shape, n_tasks, generator)
                draw(pack, tables, shape, protocol, True, generator)
            seconds.append((time.process_time() - start) / calls)
        typical = median(seconds)
        print(f"{n_tasks:13d}{n_tasks / typical:13,.0f}{typical * 1e3:10.2f}")


if __name__ == "__main__":
    main()
