"""How latent variables become the columns of a real table."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Generator, Tensor

from metamine.sources.synthetic.drawing import (
    Counts,
    LogRange,
    Probability,
    Range,
    in_order,
    integers,
    log_uniform,
    standardise_,
    uniform,
)


class Columns:
    """What measuring does to a table: columns that say nothing, bent scales, levels, codes, gaps.

    irrelevant: most of a table's columns that are replaced by noise, as a share.
    tails, skew: a column z becomes sinh(tails * z + skew) (Johnson's S_U curves, Biometrika 1949):
        near-linear for small tails, else with long tails, on one side if skewed.
    discrete: share of tables that have columns of levels; what share of columns is uniform.
    levels: how many levels such a column has.
    alike: share of tables in which no column has more levels than a number drawn for the table, on
        a logarithmic scale: some tables hold little but yes and no.
    bend: a column's quantiles are raised to this power before they are cut into levels; far from 1,
        most cells hold the lowest or the highest.
    categorical: share of the columns of levels whose order is lost: their codes are shuffled.
    told: probability that a column of codes is said to be one; else it passes for numbers.
    gappy: share of tables that have missing cells.
    missing: the largest share of cells that a column of these lacks.
    """

    def __init__(
        self,
        irrelevant: Annotated[float, Field(ge=0, lt=1)],
        tails: LogRange,
        skew: Range,
        discrete: Probability,
        levels: Counts,
        alike: Probability,
        bend: LogRange,
        categorical: Probability,
        told: Probability,
        gappy: Probability,
        missing: Annotated[float, Field(ge=0, lt=1)],
    ) -> None:
        in_order(tails=tails, skew=skew, levels=levels, bend=bend)
        self.irrelevant = irrelevant
        self.tails = tails
        self.skew = skew
        self.discrete = discrete
        self.levels = levels
        self.alike = alike
        self.bend = bend
        self.categorical = categorical
        self.told = told
        self.gappy = gappy
        self.missing = missing

    def measure(
        self, x_TFM: Float[Tensor, "T F M"], generator: Generator
    ) -> tuple[Float[Tensor, "T F M"], Bool[Tensor, "T F"]]:
        """The columns as measured (in place), and which of them hold category codes."""
        n_tasks, width, _ = x_TFM.shape
        standardise_(x_TFM)
        self._blot_out(x_TFM, generator)
        leveled_TF = _some_columns(self.discrete, 1.0, n_tasks, width, generator)
        categorical_TF = leveled_TF & (
            torch.rand(n_tasks, width, generator=generator) < self.categorical
        )
        most_TF = self._most_levels(n_tasks, generator).expand(-1, width)
        level_PM = self._levels(
            x_TFM[leveled_TF], most_TF[leveled_TF], categorical_TF[leveled_TF], generator
        )
        tails_TF1 = log_uniform(self.tails, (n_tasks, width, 1), generator)
        skew_TF1 = uniform(self.skew, (n_tasks, width, 1), generator)
        x_TFM.mul_(tails_TF1).add_(skew_TF1).sinh_()
        x_TFM[leveled_TF] = level_PM
        self._lose(x_TFM, generator)
        if self.told < 1:
            categorical_TF &= torch.rand(n_tasks, width, generator=generator) < self.told
        return x_TFM, categorical_TF

    def _blot_out(self, x_TFM: Tensor, generator: Generator) -> None:
        irrelevant_TF = _some_columns(1.0, self.irrelevant, len(x_TFM), x_TFM.shape[1], generator)
        x_TFM[irrelevant_TF] = torch.randn(
            int(irrelevant_TF.sum()), x_TFM.shape[2], generator=generator
        )

    def _most_levels(self, n_tasks: int, generator: Generator) -> Int64[Tensor, "T 1"]:
        """How many levels the columns of each table have at most."""
        least, most = self.levels
        if not self.alike:
            return torch.full((n_tasks, 1), most)
        drawn_T1 = log_uniform((least, most + 1), (n_tasks, 1), generator).long().clamp(max=most)
        alike_T1 = torch.rand(n_tasks, 1, generator=generator) < self.alike
        return torch.where(alike_T1, drawn_T1, most)

    def _levels(
        self,
        x_PM: Float[Tensor, "P M"],
        most_P: Int64[Tensor, " P"],
        shuffled_P: Bool[Tensor, " P"],
        generator: Generator,
    ) -> Float[Tensor, "P M"]:
        """Cut columns into levels 0, 1, ..., unevenly filled; the order of some is shuffled."""
        least, most = self.levels
        n_levels_P1 = integers(self.levels, (len(x_PM), 1), generator)
        # Fewer in proportion where the table's most are fewer.
        n_levels_P1 = least + (n_levels_P1 - least) * (most_P[:, None] + 1 - least) // (
            most + 1 - least
        )
        bend_P1 = log_uniform(self.bend, (len(x_PM), 1), generator)
        quantile_PM = (1.7 * x_PM).sigmoid_()  # nearly the normal distribution's
        level_PM = (quantile_PM.pow_(bend_P1) * n_levels_P1).long().minimum(n_levels_P1 - 1)
        key_PL = torch.rand(len(x_PM), self.levels[1], generator=generator)
        place_L = torch.arange(self.levels[1])
        key_PL = torch.where(shuffled_P[:, None] & (place_L < n_levels_P1), key_PL, 1.0 + place_L)
        return key_PL.argsort(dim=1).gather(1, level_PM).float()

    def _lose(self, x_TFM: Tensor, generator: Generator) -> None:
        gappy_TF = _some_columns(self.gappy, 1.0, len(x_TFM), x_TFM.shape[1], generator)
        x_PM = x_TFM[gappy_TF]
        rate_P1 = uniform((0.0, self.missing), (len(x_PM), 1), generator)
        lost_PM = torch.rand(x_PM.shape, generator=generator) < rate_P1
        x_TFM[gappy_TF] = x_PM.masked_fill_(lost_PM, float("nan"))


def _some_columns(
    tables: float, most: float, n_tasks: int, width: int, generator: Generator
) -> Bool[Tensor, "T F"]:
    """A share, uniform in [0, most], of the columns of that share of tables."""
    affected_T1 = torch.rand(n_tasks, 1, generator=generator) < tables
    share_T1 = torch.rand(n_tasks, 1, generator=generator) * most * affected_T1
    return torch.rand(n_tasks, width, generator=generator) < share_T1
