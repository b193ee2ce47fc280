"""Score learners on evaluation plans, all on the same episodes, into one table of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from tqdm import tqdm

from metamine import engine
from metamine.interruption import Interruption
from metamine.methods.base import Method
from metamine.plan import Plan

Role = Literal["meta", "from scratch", "baseline"]


@dataclass(frozen=True)
class Learner:
    """A learner under the name and in the role that results give it."""

    name: str
    role: Role
    method: Method


def judge(
    learners: Sequence[Learner],
    plans: Sequence[Plan],
    chunk_size: int,
    seed: int,
    interruption: Interruption,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """One row for each learner x source x protocol x table x episode; and what they cost.

    Columns: method, role, source, protocol, table, episode, seed (of the run), fallback,
    column_subsets, and the metrics of `metrics.score`. The cost is each learner's mean time for a
    task, in milliseconds; no part of the rows, which are the same whenever they are made.
    Raises Interrupted between batches.
    """
    total = len(learners) * len(plans)
    frames = []
    with tqdm(total=total, desc="evaluation", disable=None) as bar:
        for plan in plans:
            for learner in learners:
                bar.set_postfix_str(f"{learner.name} on {plan.source.name}")
                for columns in engine.evaluate(learner.method, plan, chunk_size):
                    interruption.check()
                    frames.append(
                        pd.DataFrame(columns).assign(
                            method=learner.name,
                            role=learner.role,
                            source=plan.source.name,
                            protocol=plan.protocol_name,
                            seed=seed,
                        )
                    )
                bar.update()
    first = ["method", "role", "source", "protocol", "table", "episode", "seed"]
    first += ["fallback", "column_subsets"]
    results = pd.concat(frames, ignore_index=True)
    seconds = results.pop("seconds").groupby(results["method"], sort=False).mean()
    milliseconds = {str(name): round(1000 * value, 3) for name, value in seconds.items()}
    return results[first + [name for name in results.columns if name not in first]], milliseconds
