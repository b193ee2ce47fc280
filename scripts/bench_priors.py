"""What the priors draw, and how fast: accuracy of standard learners at 5 shots, tables a second.

A prior is of use if its tasks are neither hopeless nor trivial, and no one learner wins them all.

    python scripts/bench_priors.py [--tasks N]
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any, cast

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from metamine.confdir import conf_dir
from metamine.config import build
from metamine.episode import Episodes
from metamine.protocol import Protocol
from metamine.sampler import sample
from metamine.sources.base import Shape, Source

SOURCES = ("random_network", "gaussian_clusters", "linear", "synthetic")
LEARNERS = {
    "LR": LogisticRegression(max_iter=300),
    "1NN": KNeighborsClassifier(1),
    "RF": RandomForestClassifier(50, random_state=0),
}


def source_of(name: str) -> Source:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(overrides=[f"+source={name}"])
    source: Source = build(cast(dict[str, Any], OmegaConf.to_container(config.source)))
    return source


def accuracies(episodes: Episodes, learner: ClassifierMixin) -> np.ndarray:
    support_x, query_x = (x.nan_to_num(0.0).numpy() for x in (episodes.support.x, episodes.query_x))
    support_y, query_y = episodes.support.y.numpy(), episodes.query_y.numpy()
    return np.array(
        [
            (
                learner.fit(support_x[task], support_y[task]).predict(query_x[task])
                == query_y[task]
            ).mean()
            for task in range(episodes.n_tasks)
        ]
    )


def describe(name: str, way: int, n_tasks: int) -> None:
    protocol = Protocol(
        way=way,
        shot=5,
        rows=None,
        query=15,
        draw="balanced",
        one_class="redraw",
        transductive=False,
        columns=None,
    )
    episodes = sample(source_of(name), "train", protocol, n_tasks, torch.Generator().manual_seed(0))
    of = {learner: accuracies(episodes, LEARNERS[learner]) for learner in LEARNERS}
    means = "".join(f"{accuracy.mean():9.2f}" for accuracy in of.values())
    best = np.max(list(of.values()), axis=0)
    spread = "".join(f"{value:6.2f}" for value in np.percentile(best, [5, 25, 50, 75, 95]))
    wins = [(of[one] > of[other] + 0.05).mean() for one, other in (("LR", "RF"), ("RF", "LR"))]
    print(f"{name:18s}{way:4d}{means}   {spread}   {wins[0]:5.0%} {wins[1]:5.0%}")


def speed(name: str, n_tasks: int, runs: int = 9) -> None:
    source = source_of(name)
    shape = Shape(way=5, shot=5, rows=None, query=15)
    generator = torch.Generator().manual_seed(0)
    calls = max(1, 256 // n_tasks)
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        for _ in range(calls):
            source.pack("train", shape, n_tasks, generator)
        seconds.append((time.process_time() - start) / calls)
    print(f"{name:18s}{n_tasks:6d}{n_tasks / median(seconds):12,.0f}{median(seconds) * 1e3:10.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'prior':18s} way" + "".join(f"{name:>9s}" for name in LEARNERS), end="")
    print("   best learner: 5, 25, 50, 75, 95%   LR>RF RF>LR (by 0.05)")
    for name in SOURCES:
        for way in (2, 5):
            describe(name, way, arguments.tasks)
    print(f"\n{'prior':18s}{'batch':>6s}{'tables/s':>12s}{'ms/call':>10s}")
    for name in SOURCES:
        for n_tasks in (16, 256):
            speed(name, n_tasks)


if __name__ == "__main__":
    main()
