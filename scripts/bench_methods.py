"""What a step of meta-training costs with each method, relative to ProtoNet.

    python scripts/bench_methods.py [--rounds N] [--methods NAME ...]

Writes docs/method_costs.csv, which docs/methods.md shows; with --methods only these of its rows.
A step is the loss, its gradient and the optimiser's update, on one synthetic batch of 16 tasks and
one thread, with each method's own encoder. Steps of the method and of ProtoNet take turns, so that
whatever else the machine does falls on both; the ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from metamine.confdir import conf_dir
from metamine.config import build
from metamine.episode import Episodes
from metamine.hydra_app.composed import composed
from metamine.randomness import stream
from metamine.sampler import sample

COSTS = Path(__file__).resolve().parent.parent / "docs/method_costs.csv"
COLUMNS = ("method", "ratio", "milliseconds")
SOURCES = {"classification": "synthetic", "regression": "synthetic_regression"}
REFERENCE = "protonet"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    every = sorted(path.stem for path in (conf_dir() / "method").glob("*.yaml"))
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--methods", nargs="+", default=every, metavar="NAME")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores of {platform.machine()}, torch {torch.__version__}, one thread")
    batches = {kind: batch(source) for kind, source in SOURCES.items()}
    reference = stepper(REFERENCE, batches)
    costs = {name: row for name, row in known().items() if name in every}
    for name in given.methods:
        step, ratios, times = stepper(name, batches), [], []
        reference(), step()  # the first are slower
        for _ in range(given.rounds):
            theirs, ours = reference(), step()
            ratios.append(ours / theirs)
            times.append(ours)
        costs[name] = (f"{median(ratios):.2f}", f"{1000 * median(times):.1f}")
        print(f"{name:20} {costs[name][0]:>7} x {costs[name][1]:>8} ms", flush=True)
    with COSTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((name, *costs[name]) for name in sorted(costs))


def known() -> dict[str, tuple[str, str]]:
    """The rows that an earlier call wrote."""
    if not COSTS.exists():
        return {}
    with COSTS.open(newline="") as file:
        return {row["method"]: (row["ratio"], row["milliseconds"]) for row in csv.DictReader(file)}


def stepper(name: str, batches: dict[str, Episodes]) -> Callable[[], float]:
    """A function that takes one step and says how many seconds it took."""
    config = composed([f"method={name}"])
    torch.manual_seed(0)
    method = build(config["method"])
    episodes = next(each for kind, each in batches.items() if kind in method.kinds)
    settings = build(config["optimizer"])
    optimizer, _ = settings.over(method.parameters(), config["steps"])

    def step() -> float:
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        method.loss(episodes).backward()
        optimizer.step()
        return time.perf_counter() - started

    return step


def batch(source: str) -> Episodes:
    config = composed([f"source={source}"])
    protocol = build(config["protocol"])
    generator = stream(0, "training tasks", 1)
    return sample(build(config["source"]), "train", protocol, config["meta_batch"], generator)


if __name__ == "__main__":
    main()
