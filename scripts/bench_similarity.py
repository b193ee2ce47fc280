"""Does the learned similarity tell whether two parts come from one table, on tables never seen?

    python scripts/bench_similarity.py [--steps N] [KEY=VALUE ...]

Trains the similarity of method=nearest_task alone on the training tables of a source, with the
optimiser and the protocol of `metamine train`; KEY=VALUE are its overrides, such as
source=tables path=FOLDER, or source=mix path=FOLDER for synthetic tables too. Shown is, for each
source, the area under the ROC curve on its test tables, pairs of parts of one table against pairs
of two, with the 95% bootstrap interval over tables, beside the untrained similarity and plain
meta-features (Euclidean distance, standardised on training tables). Parts share no rows. "columns
drawn": each part has half to all of the columns, as in training; "all columns": there the number of
columns alone, which meta-features have and d has not, tells many tables apart.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metamine.config import build
from metamine.episode import Episodes, Support
from metamine.hydra_app.composed import composed
from metamine.methods.data.meta_features import meta_features
from metamine.methods.metric.similarity import halves
from metamine.plan import Plan
from metamine.randomness import seed_of, stream
from metamine.sampler import sample

TABLES, DRAWS, RESAMPLES = 100, 4, 200  # tables of an endless source; pairs of parts of each table

Embedding = Callable[[Support], Float[Tensor, "T K"]]
Score = Callable[[Tensor, Tensor], Float[Tensor, "I J"]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    # Two classes, so that every table takes part, and the same number of rows of each.
    sizes = ["protocol.way=2", "protocol.shot=5", "protocol.query=20"]
    config = composed(["method=nearest_task", *sizes, *given.overrides])
    source, protocol = build(config["source"]), build(config["protocol"])
    torch.manual_seed(seed_of(config["seed"], "initialisation"))
    similarity = build(config["method"]["similarity"])
    settings = build(config["optimizer"])
    optimizer, schedule = settings.over(similarity.parameters(), given.steps)

    def batch(step: int) -> Episodes:
        torch.manual_seed(seed_of(config["seed"], "method", step))
        generator = stream(config["seed"], "training tasks", step)
        return sample(source, "train", protocol, config["meta_batch"], generator)

    plans = [Plan(part, "test", "few_shot", protocol, DRAWS, TABLES, 0) for part in source.parts]
    features_KF = torch.cat([meta_features(halves(batch(step))[0]) for step in range(1, 31)])
    sd_F, mean_F = torch.std_mean(features_KF, dim=0)

    def plain(support: Support) -> Tensor:
        return (meta_features(support) - mean_F) / sd_F.clamp(min=1e-6)

    def closeness(first_IK: Tensor, second_JK: Tensor) -> Tensor:
        return -torch.cdist(first_IK, second_JK)

    for plan in plans:
        show("meta-features", plan, plain, closeness)
        show("untrained", plan, similarity.embed, similarity)
    started, losses = time.monotonic(), []
    for step in range(1, given.steps + 1):
        optimizer.zero_grad()
        loss = similarity.loss(batch(step))
        loss.backward()
        if settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(similarity.parameters(), settings.clip)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    taken = time.monotonic() - started
    print(f"{given.steps} steps in {taken:.0f} s, loss {np.mean(losses[-50:]):.3f} (chance 1.386)")
    for plan in plans:
        show("trained", plan, similarity.embed, similarity)


@torch.no_grad()
def show(name: str, plan: Plan, embed: Embedding, score: Score) -> None:
    for columns, all_columns in (("columns drawn", False), ("all columns", True)):
        first_NEK, second_NEK = parts(plan, embed, all_columns)
        score_ENN = np.stack(
            [score(first_NEK[:, e], second_NEK[:, e]).numpy() for e in range(first_NEK.shape[1])]
        )
        auc, low, high = interval(score_ENN)
        print(
            f"{plan.source.name:10} {name:14} {columns:14} {score_ENN.shape[1]:4} tables  "
            f"AUC {auc:.3f}  {low:.3f} to {high:.3f}",
            flush=True,
        )


def parts(plan: Plan, embed: Embedding, all_columns: bool) -> tuple[Tensor, Tensor]:
    """Embeddings of the first and the second parts: tables, pairs of parts, numbers."""
    torch.manual_seed(0)
    pairs = defaultdict(list)
    for table, first_K, second_K in embedded(plan, embed, all_columns):
        pairs[table].append(torch.stack([first_K, second_K]))
    pairs_NEPK = torch.stack([torch.stack(each) for each in pairs.values()])
    return pairs_NEPK[:, :, 0], pairs_NEPK[:, :, 1]


def embedded(
    plan: Plan, embed: Embedding, all_columns: bool
) -> Iterator[tuple[str, Tensor, Tensor]]:
    for planned in plan:
        for _ in range(DRAWS if plan.source.endless else 1):  # there: one episode of each table
            first, second = halves(planned.episodes, all_columns)
            yield from zip(planned.tables, embed(first), embed(second), strict=True)


def interval(score_ENN: np.ndarray) -> tuple[float, float, float]:
    """AUC of the diagonals against the rest, and its 95% bootstrap interval over tables."""
    n_tables = score_ENN.shape[1]
    same_NN = np.eye(n_tables, dtype=bool)
    order = score_ENN.ravel().argsort(kind="stable")
    same = np.broadcast_to(same_NN, score_ENN.shape).ravel()[order]

    def auc(times_N: np.ndarray) -> float:
        """With each table so many times; it is never compared with itself as if with another."""
        weight_NN = np.where(same_NN, times_N, times_N[:, None] * times_N)
        weight = np.broadcast_to(weight_NN, score_ENN.shape).ravel()[order]
        below = np.cumsum(weight * ~same)
        return float((below * weight)[same].sum() / weight[same].sum() / below[-1])

    rng = np.random.default_rng(0)
    chosen = rng.integers(n_tables, size=(RESAMPLES, n_tables))
    resampled = [auc(np.bincount(each, minlength=n_tables).astype(float)) for each in chosen]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return auc(np.ones(n_tables)), float(low), float(high)


if __name__ == "__main__":
    main()
