"""How near neural processes come to the exact Gaussian process, in a few minutes of training.

    python scripts/bench_neural_processes.py [--minutes N] [--methods NAME ...] [KEY=VALUE ...]

Each method trains on one thread as `metamine train experiment=cnp_gp` does, on functions of one
kernel, for so many minutes; KEY=VALUE are further overrides, such as 'source.lengthscale=[0.1,0.6]'
for functions of many kernels. Shown is the mean log-likelihood of a query row, with a 95% interval
over the held-out functions, which are the same for all: of the process that has seen no row
(prior), of each method before and after training, and of the process given the support rows
(exact GP). The last knows the kernel of every function: nothing is likelier on average.
"""

from __future__ import annotations

import argparse
import math

import torch
from bench_learning import train
from torch import Tensor
from torch.distributions import Normal

from metamine.config import build
from metamine.episode import Episodes, Support
from metamine.hydra_app.composed import composed
from metamine.methods.base import Method
from metamine.randomness import seed_of
from metamine.sources.gaussian_process import GaussianProcess, Kernel

ROWS = (3, 10, 30)  # of the support
N_QUERY, N_TASKS = 50, 500
KERNEL = ["source.lengthscale=[1.0,1.0]", "source.scale=[1.0,1.0]", "source.noise=[0.2,0.2]"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="for each method")
    parser.add_argument("--methods", nargs="+", default=["cnp", "anp"], metavar="NAME")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'support rows':28}" + "".join(f"{rows:>16}" for rows in ROWS))
    held_out: list[tuple[Kernel, Episodes]] = []
    for name in given.methods:
        config = composed(["experiment=cnp_gp", f"method={name}", *KERNEL, *given.overrides])
        source = build(config["source"], where="source")
        if not held_out:
            held_out = [drawn(source, rows) for rows in ROWS]
            show("prior", [prior(*each) for each in held_out])
        torch.manual_seed(seed_of(config["seed"], "initialisation"))
        method = build(config["method"], where="method")
        protocol = build(config["protocol"], where="protocol")
        show(f"{name}, untrained", [predicted(method, each) for _, each in held_out])
        steps = train(method, source, protocol, config, 60 * given.minutes)
        show(f"{name}, {steps} steps", [predicted(method, each) for _, each in held_out])
    show("exact GP", [posterior(*each) for each in held_out])


def drawn(source: GaussianProcess, n_support: int) -> tuple[Kernel, Episodes]:
    """Functions that no training run sees, and what they were drawn with."""
    generator = torch.Generator().manual_seed(seed_of(0, "held out", n_support))
    kernel, x_TN, y_TN = source.draw(N_TASKS, n_support + N_QUERY, generator)
    support = Support(
        x=x_TN[:, :n_support, None].float(),
        y=y_TN[:, :n_support].float(),
        feature_mask=torch.ones(N_TASKS, 1, dtype=torch.bool),
        categorical=torch.zeros(N_TASKS, 1, dtype=torch.bool),
        n_classes=torch.zeros(N_TASKS, dtype=torch.int64),
        way=0,
    )
    episodes = Episodes(
        support=support,
        query_x=x_TN[:, n_support:, None].float(),
        query_y=y_TN[:, n_support:].float(),
        target_scale=torch.ones(N_TASKS),
    )
    return kernel, episodes


def prior(kernel: Kernel, episodes: Episodes) -> Tensor:
    """Log-likelihood of every query row, by the process that has seen none."""
    sd_T = (kernel.scale_T.square() + kernel.noise_T.square()).sqrt()
    return Normal(0.0, sd_T[:, None]).log_prob(episodes.query_y.double())


def posterior(kernel: Kernel, episodes: Episodes) -> Tensor:
    """Log-likelihood of every query row, by the process given the support rows."""
    x_TS, x_TQ = episodes.support.x[..., 0].double(), episodes.query_x[..., 0].double()
    noise_T1 = kernel.noise_T[:, None].square()
    covariance_TSS = kernel(x_TS, x_TS) + noise_T1.expand_as(x_TS).diag_embed()
    across_TSQ = kernel(x_TS, x_TQ)
    weight_TSQ = torch.linalg.solve(covariance_TSS, across_TSQ)
    mean_TQ = torch.einsum("tsq,ts->tq", weight_TSQ, episodes.support.y.double())
    explained_TQ = (weight_TSQ * across_TSQ).sum(dim=1)
    variance_TQ = kernel.scale_T[:, None].square() - explained_TQ + noise_T1
    return Normal(mean_TQ, variance_TQ.sqrt()).log_prob(episodes.query_y.double())


@torch.no_grad()
def predicted(method: Method, episodes: Episodes) -> Tensor:
    """Log-likelihood of every query row, by a neural process."""
    mean_TQ, sigma_TQ = method.distribution(episodes.support, episodes.query_x)
    return Normal(mean_TQ.double(), sigma_TQ.double()).log_prob(episodes.query_y.double())


def show(name: str, likelihoods: list[Tensor]) -> None:
    cells = []
    for value_TQ in likelihoods:
        value_T = value_TQ.mean(dim=1)
        half = 1.96 * float(value_T.std()) / math.sqrt(len(value_T))
        cells.append(f"{float(value_T.mean()):+.3f} ± {half:.3f}")
    print(f"{name:28}" + "".join(f"{each:>16}" for each in cells), flush=True)


if __name__ == "__main__":
    main()
