"""Random quadratics, the toy problem of learned optimizers."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Generator

from metamine.sources.base import Shape, Source, Split
from metamine.sources.table import Pack


class Quadratics(Source):
    """f(w) = ||X w - y||^2, with the rows of X and the targets y independent and standard normal.

    Andrychowicz et al., "Learning to learn by gradient descent by gradient descent" (2016), section
    3.1, where X has 10 rows of 10 columns. A mean squared error is f over the number of rows; at
    w = 0 it is 1 on average. No row says anything of another: there is something to learn only
    where query rows are the support rows, `query=support` in the protocol.

    dimension: columns of X.
    """

    name = "quadratics"
    kind = "regression"
    standardise = False
    endless = True

    def __init__(self, dimension: PositiveInt) -> None:
        self.dimension = dimension

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: Generator) -> Pack:
        """`n_tasks` new quadratics, with exactly the rows that an episode needs."""
        n_rows = max(shape.rows_of_class, shape.rows_of_table)
        return Pack.of_batch(
            names=["quadratics"] * n_tasks,
            x=torch.randn(n_tasks, n_rows, self.dimension, generator=generator),
            y=torch.randn(n_tasks, n_rows, generator=generator),
            n_features=torch.full((n_tasks,), self.dimension),
            categorical=torch.zeros(n_tasks, self.dimension, dtype=torch.bool),
            way=0,
        )
