"""A learned optimizer against tuned ones, on random quadratics.

    python scripts/bench_learned_optimizer.py [--steps N] [--updates N] [--seed N]

The first experiment of Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient
descent" (section 3.1): functions ||W theta - y||^2 of 10 coordinates, W and y Gaussian, minimised
from theta = 0. The coordinate-wise LSTM of metamine.methods.optimization trains on functions of its
own; the learning rate of each other optimizer is the best of a grid on yet others. All are compared
on the same fresh ones. Shown is the mean value after the last step (that at the start, where an
optimizer made it worse), and the mean of the paired differences to the LSTM, each with its 95%
interval.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from metamine.methods.optimization.coordinatewise_lstm import CoordinatewiseLSTM

N = 10  # coordinates
UNROLL = 20  # steps that the loss is differentiated through
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "SGD": SGD,
    "SGD, Nesterov": partial(SGD, momentum=0.9, nesterov=True),
    "RMSprop": RMSprop,
    "Adam": Adam,
}
RATES = [10 ** (-exponent / 4) for exponent in range(17)]  # 1 to 0.0001


@dataclass(frozen=True)
class Quadratics:
    """T functions ||W theta - y||^2."""

    w_TNN: Tensor
    y_TN: Tensor

    @classmethod
    def drawn(cls, n_functions: int, generator: torch.Generator) -> Quadratics:
        w_TNN = torch.randn(n_functions, N, N, generator=generator)
        return cls(w_TNN, torch.randn(n_functions, N, generator=generator))

    def values(self, theta_TN: Tensor) -> Tensor:
        return self._misfit(theta_TN).square().sum(dim=1)

    def reached(self, theta_TN: Tensor) -> Tensor:
        """The values, or those at the start where they are better: a few that diverge, be it with
        a rate tuned on thousands of others, would decide every mean.
        """
        return self.values(theta_TN).nan_to_num(torch.inf).minimum(self.values(self.start()))

    def slopes(self, theta_TN: Tensor) -> Tensor:
        return 2 * (self.w_TNN.mT @ self._misfit(theta_TN)[..., None])[..., 0]

    def start(self) -> Tensor:
        return torch.zeros_like(self.y_TN)

    def _misfit(self, theta_TN: Tensor) -> Tensor:
        return (self.w_TNN @ theta_TN[..., None])[..., 0] - self.y_TN


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--updates", type=int, default=2000, help="of the LSTM's weights")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    finals, rates = compared(given.steps, given.updates, given.seed)
    print(f"{given.updates} updates of the LSTM; {time.monotonic() - started:.0f} s in all\n")
    print(f"{'after ' + str(given.steps) + ' steps':16} {'rate':>7}  {'value':>15}  above the LSTM")
    for name, final_T in finals.items():
        rate = f"{rates[name]:.4f}" if name in rates else "learned"
        print(f"{name:16} {rate:>7}  {interval(final_T)}", end="")
        print("" if name == "LSTM" else f"  {interval(final_T - finals['LSTM'])}")


def compared(
    steps: int, updates: int, seed: int, n_functions: int = 2000
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """What each optimizer reaches on the same fresh functions, and the rates chosen on others."""
    torch.manual_seed(seed)
    training, tuning, fresh = (torch.Generator().manual_seed(3 * seed + k) for k in range(3))
    lstm = trained(steps, updates, training)
    others, functions = (Quadratics.drawn(n_functions, each) for each in (tuning, fresh))
    finals, rates = {"LSTM": learned(lstm, functions, steps)}, {}
    for name, optimizer in OPTIMIZERS.items():
        reached = {rate: descended(optimizer, rate, others, steps).mean() for rate in RATES}
        rates[name] = min(reached, key=lambda rate: float(reached[rate]))
        finals[name] = descended(optimizer, rates[name], functions, steps)
    return finals, rates


def trained(steps: int, updates: int, generator: torch.Generator) -> CoordinatewiseLSTM:
    """Minimise the mean value over all steps, by truncated backpropagation through time."""
    lstm = CoordinatewiseLSTM(hidden=20, scale=0.1)
    meta = Adam(lstm.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(meta, updates)
    taken = 0
    while taken < updates:
        functions, state = Quadratics.drawn(32, generator), None
        theta_TN = functions.start()
        for _ in range(0, steps, UNROLL):
            loss = torch.zeros(())
            for _ in range(UNROLL):
                changes, state = lstm({"theta": functions.slopes(theta_TN.detach())}, state)
                theta_TN = theta_TN + changes["theta"]
                loss = loss + functions.values(theta_TN).mean() / UNROLL
            meta.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(lstm.parameters(), 1.0)
            meta.step()
            schedule.step()
            taken += 1
            theta_TN, state = theta_TN.detach(), [(h.detach(), c.detach()) for h, c in state or []]
    return lstm


@torch.no_grad()
def learned(lstm: CoordinatewiseLSTM, functions: Quadratics, steps: int) -> Tensor:
    """The value of each function after the LSTM's steps."""
    theta_TN, state = functions.start(), None
    for _ in range(steps):
        changes, state = lstm({"theta": functions.slopes(theta_TN)}, state)
        theta_TN = theta_TN + changes["theta"]
    return functions.reached(theta_TN)


def descended(
    optimizer: Callable[..., Optimizer], rate: float, functions: Quadratics, steps: int
) -> Tensor:
    """The same, of an optimizer of PyTorch; each coordinate is on its own with all of them."""
    theta_TN = functions.start().requires_grad_()
    stepping = optimizer([theta_TN], lr=rate)
    for _ in range(steps):
        theta_TN.grad = functions.slopes(theta_TN.detach())
        stepping.step()
    return functions.reached(theta_TN.detach())


def interval(value_T: Tensor) -> str:
    half = 1.96 * float(value_T.std()) / len(value_T) ** 0.5
    return f"{float(value_T.mean()):7.3f} ± {half:5.3f}"


if __name__ == "__main__":
    main()
