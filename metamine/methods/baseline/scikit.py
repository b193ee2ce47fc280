"""Baselines that scikit-learn fits, one task after the other, in parallel processes."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from jaxtyping import Bool, Float
from joblib import Parallel, delayed, parallel_config
from pydantic import PositiveInt
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import Baseline, complete, log_probability, one_class
from metamine.methods.baseline.worker import Estimator, fit_and_answer

# Seconds until a worker without work ends. Workers outlive a killed run by as much; new ones take
# a few seconds to start.
IDLE = 30


class ScikitBaseline(Baseline):
    """A scikit-learn estimator, fitted to every task anew. Abstract.

    Tasks are looped over here, as nowhere else: the library has no batched form. Categories are
    given by their codes. The answers are the same for any number of workers.
    Falls back with one class.

    workers: processes; null for one on each core.
    """

    def __init__(self, workers: PositiveInt | None) -> None:
        super().__init__()
        self.workers = workers

    @abstractmethod
    def estimator(self, kind: Kind) -> Estimator:
        """An unfitted estimator whose `random_state` is a fixed number."""

    def falls_back(self, support: Support) -> Bool[Tensor, " T"]:
        return one_class(support)

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        left_out_T = self.falls_back(support)
        return fitted(self.estimator(support.kind), support, query_x, left_out_T, self.workers)


def fitted(
    estimator: Estimator,
    support: Support,
    query_x: Float[Tensor, "T Q F"],
    left_out_T: Bool[Tensor, " T"],
    workers: int | None,
) -> Float[Tensor, "T Q C"]:
    """The answers of an estimator fitted to each task; of no account where a task is left out."""
    x_TSF, x_TQF = complete(support.x, support), complete(query_x, support)
    tensors = (x_TSF, support.y, x_TQF, support.feature_mask, left_out_T)
    tasks = zip(*(tensor.cpu().numpy() for tensor in tensors), strict=True)
    with parallel_config("loky", inner_max_num_threads=1, idle_worker_timeout=IDLE):
        answers_TQC = Parallel(n_jobs=workers or -1)(
            delayed(fit_and_answer)(
                None if left_out else estimator,
                x_SF[:, real_F],
                y_S,
                x_QF[:, real_F],
                support.way,
            )
            for x_SF, y_S, x_QF, real_F, left_out in tasks
        )
    answer_TQC = torch.from_numpy(np.stack(answers_TQC)).to(query_x.device)
    return answer_TQC if support.kind == "regression" else log_probability(answer_TQC)
