"""Gaussian-process regression with a kernel that is given."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import PositiveFloat
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import Baseline
from metamine.methods.baseline.geometry import distances


class GaussianProcess(Baseline):
    """The posterior of `y = f(x) + noise`, with f from a Gaussian process of mean 0:

        cov(f(x), f(x')) = scale^2 exp(-||x - x'||^2 / (2 lengthscale^2))

    Nothing is fitted. Where tasks are drawn from this very process, nothing can be likelier on
    average. Equals `sklearn.gaussian_process.GaussianProcessRegressor` without an optimizer.

    noise: standard deviation. All three in the units of the rows and targets that it is shown.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"regression"})

    def __init__(
        self, lengthscale: PositiveFloat, scale: PositiveFloat, noise: PositiveFloat
    ) -> None:
        super().__init__()
        self.lengthscale, self.scale, self.noise = lengthscale, scale, noise

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q 1"]:
        root_TSS, across_TSQ = self._whitened(support, query_x)
        y_TS1 = support.y[..., None].double()
        return across_TSQ.mT @ torch.linalg.solve_triangular(root_TSS, y_TS1, upper=False)

    def spread(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q"]:
        _, across_TSQ = self._whitened(support, query_x)
        prior = self.scale**2 + self.noise**2
        return (prior - across_TSQ.square().sum(dim=1)).clamp(min=self.noise**2).sqrt()

    def _whitened(
        self, support: Support, query_x: Float[Tensor, "T Q F"]
    ) -> tuple[Float[Tensor, "T S S"], Float[Tensor, "T S Q"]]:
        """L of K + noise^2 I = L L', and L^-1 k(X, x)."""
        kernel_TSS = self._kernel(support.x, support)
        noise_TS = torch.full_like(kernel_TSS[:, 0], self.noise**2)
        root_TSS = torch.linalg.cholesky_ex(kernel_TSS + noise_TS.diag_embed()).L
        across_TSQ = self._kernel(query_x, support).mT
        return root_TSS, torch.linalg.solve_triangular(root_TSS, across_TSQ, upper=False)

    def _kernel(self, x_TNF: Float[Tensor, "T N F"], support: Support) -> Float[Tensor, "T N S"]:
        apart_TNS = distances(x_TNF, support, p=2.0) / (math.sqrt(2) * self.lengthscale)
        return self.scale**2 * (-apart_TNS.square()).exp()
