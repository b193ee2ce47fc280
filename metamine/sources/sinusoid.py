"""Sinusoid regression, the toy problem of meta-learning."""

from __future__ import annotations

import torch
from torch import Generator

from metamine.sources.base import Shape, Source, Split
from metamine.sources.synthetic.drawing import Range, in_order, uniform
from metamine.sources.table import Pack


class Sinusoid(Source):
    """y = A sin(x - phase), with A, phase and x uniform over their ranges; no noise.

    Finn et al., "Model-Agnostic Meta-Learning" (ICML 2017), section 5.1, as in their published
    code. Errors are in the units of y, in which the literature gives them. Over the published
    ranges, predicting 0 has a mean squared error of 4.25, and no function of x alone one below 3.0.
    """

    name = "sinusoid"
    kind = "regression"
    standardise = False
    endless = True

    def __init__(self, amplitude: Range, phase: Range, x: Range) -> None:
        in_order(amplitude=amplitude, phase=phase, x=x)
        self.amplitude = amplitude
        self.phase = phase
        self.x = x

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: Generator) -> Pack:
        """`n_tasks` new sinusoids, with exactly the rows that an episode needs."""
        n_rows = max(shape.rows_of_class, shape.rows_of_table)
        amplitude_T1 = uniform(self.amplitude, (n_tasks, 1), generator)
        phase_T1 = uniform(self.phase, (n_tasks, 1), generator)
        x_TM = uniform(self.x, (n_tasks, n_rows), generator)
        return Pack.of_batch(
            names=["sinusoid"] * n_tasks,
            x=x_TM[..., None],
            y=amplitude_T1 * (x_TM - phase_T1).sin(),
            n_features=torch.ones(n_tasks, dtype=torch.int64),
            categorical=torch.zeros(n_tasks, 1, dtype=torch.bool),
            way=0,
        )
