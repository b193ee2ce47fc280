"""What a minute of meta-training is worth: held-out scores before and after, for every method.

    python scripts/bench_learning.py [--seconds N] [--methods NAME ...] [KEY=VALUE ...]

Each method of conf/method trains with its own encoder on one thread; KEY=VALUE are overrides of
`metamine train`, such as source=synthetic_regression. The held-out episodes are the same for all.
Shown are the mean scores over the test tasks of the source, and the mean of the paired differences
with its 95% interval.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import torch

from metamine import engine
from metamine.confdir import conf_dir
from metamine.config import build
from metamine.episode import Episodes
from metamine.hydra_app.composed import composed
from metamine.methods.base import Method
from metamine.metrics import HEADLINE
from metamine.plan import Plan
from metamine.randomness import seed_of, stream
from metamine.sampler import sample


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    every = sorted(path.stem for path in (conf_dir() / "method").glob("*.yaml"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--methods", nargs="+", default=every, metavar="NAME")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'method':20} {'steps':>6} {'before':>7} {'after':>7} {'gain':>7}  95% interval")
    for name in given.methods:
        config = composed([f"method={name}", *given.overrides])
        source = build(config["source"], where="source")
        torch.manual_seed(seed_of(config["seed"], "initialisation"))
        method = build(config["method"], where="method")
        if source.kind not in method.kinds:
            print(f"{name:20} does no {source.kind}")
            continue
        protocol = build(config["protocol"], where="protocol")
        held_out = Plan(source, "test", "5-shot", protocol, 50, 200, 0)
        before = scores(method, held_out)
        steps = train(method, source, protocol, config, given.seconds)
        after = scores(method, held_out)
        gain = after - before
        half = 1.96 * float(gain.std()) / len(gain) ** 0.5
        mean = float(gain.mean())
        print(
            f"{name:20} {steps:6} {before.mean():7.3f} {after.mean():7.3f} {mean:+7.3f}  "
            f"{mean - half:+.3f} to {mean + half:+.3f}",
            flush=True,
        )


def scores(method: Method, plan: Plan) -> torch.Tensor:
    """The headline metric of every episode."""
    name, _ = HEADLINE[plan.source.kind]
    parts = [columns[name] for columns in engine.evaluate(method, plan, chunk_size=16)]
    return torch.tensor([value for part in parts for value in part], dtype=torch.float64)


def train(
    method: Method, source: Any, protocol: Any, config: dict[str, Any], seconds: float
) -> int:
    """Meta-train for so many seconds; returns the steps taken."""
    settings = build(config["optimizer"], where="optimizer")
    optimizer, schedule = settings.over(method.parameters(), config["steps"])
    taken = 0
    ending = time.monotonic() + seconds

    def batches() -> Iterator[tuple[int, Episodes]]:
        step = 0
        while time.monotonic() < ending:
            step += 1
            torch.manual_seed(seed_of(config["seed"], "method", step))
            generator = stream(config["seed"], "training tasks", step)
            yield step, sample(source, "train", protocol, config["meta_batch"], generator)

    def count(step: int, loss: torch.Tensor) -> None:
        nonlocal taken
        taken = step

    engine.train(method, optimizer, schedule, batches(), settings.clip, config["chunk_size"], count)
    return taken


if __name__ == "__main__":
    main()
