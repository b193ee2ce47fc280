"""One-dimensional Gaussian processes, the toy problem of neural processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Generator, Tensor

from metamine.sources.base import Shape, Source, Split
from metamine.sources.synthetic.drawing import LogRange, Range, Scale, in_order, uniform
from metamine.sources.table import Pack

JITTER = 1e-9  # share of the variance added to the diagonal, for the Cholesky factor to exist


@dataclass(frozen=True)
class Kernel:
    """What the functions of T tasks are drawn with."""

    lengthscale_T: Float64[Tensor, " T"]
    scale_T: Float64[Tensor, " T"]
    noise_T: Float64[Tensor, " T"]  # standard deviation

    def __call__(
        self, a_TN: Float64[Tensor, "T N"], b_TM: Float64[Tensor, "T M"]
    ) -> Float64[Tensor, "T N M"]:
        """cov(f(a), f(b))"""
        apart_TNM = (a_TN[:, :, None] - b_TM[:, None]) / self.lengthscale_T[:, None, None]
        return self.scale_T[:, None, None].square() * (-0.5 * apart_TNM.square()).exp()


class GaussianProcess(Source):
    """y = f(x) + noise, with f from a Gaussian process whose kernel is an RBF:

        cov(f(x), f(x')) = scale^2 exp(-(x - x')^2 / (2 lengthscale^2))

    Lengthscale, scale and the noise's standard deviation are uniform over their ranges, one of each
    for a task; x is uniform over its range. Kim et al., "Attentive Neural Processes" (2019),
    section 4.1, as in their published code. Errors are in the units of y.
    """

    name = "gaussian_process"
    kind = "regression"
    standardise = False
    endless = True

    def __init__(self, lengthscale: LogRange, scale: LogRange, noise: Scale, x: Range) -> None:
        in_order(lengthscale=lengthscale, scale=scale, noise=noise, x=x)
        self.lengthscale = lengthscale
        self.scale = scale
        self.noise = noise
        self.x = x

    def pack(self, split: Split, shape: Shape, n_tasks: int, generator: Generator) -> Pack:
        """`n_tasks` new functions, with exactly the rows that an episode needs."""
        n_rows = max(shape.rows_of_class, shape.rows_of_table)
        _, x_TM, y_TM = self.draw(n_tasks, n_rows, generator)
        return Pack.of_batch(
            names=["gaussian_process"] * n_tasks,
            x=x_TM[..., None].float(),
            y=y_TM.float(),
            n_features=torch.ones(n_tasks, dtype=torch.int64),
            categorical=torch.zeros(n_tasks, 1, dtype=torch.bool),
            way=0,
        )

    def draw(
        self, n_tasks: int, n_rows: int, generator: Generator
    ) -> tuple[Kernel, Float64[Tensor, "T M"], Float64[Tensor, "T M"]]:
        """Kernels, and x and y of rows: what an exact Gaussian process needs to know."""
        kernel = Kernel(
            *(
                uniform(bounds, (n_tasks,), generator).double()
                for bounds in (self.lengthscale, self.scale, self.noise)
            )
        )
        x_TM = uniform(self.x, (n_tasks, n_rows), generator).double()
        jitter_TM = JITTER * kernel.scale_T[:, None].square().expand_as(x_TM)
        root_TMM = torch.linalg.cholesky(kernel(x_TM, x_TM) + jitter_TM.diag_embed())
        of_f_TM, of_noise_TM = torch.randn(
            2, n_tasks, n_rows, generator=generator, dtype=torch.float64
        )
        f_TM = (root_TMM @ of_f_TM[..., None])[..., 0]
        return kernel, x_TM, f_TM + kernel.noise_T[:, None] * of_noise_TM
