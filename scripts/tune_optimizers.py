"""Learning rates for the optimizers of conf/evaluation/tuned_optimizers.yaml: the best of 17.

    python scripts/tune_optimizers.py [--tasks N] [KEY=VALUE ...]

Each optimizer of the baseline gradient_descent minimises the same validation functions of `metamine
train experiment=learned_optimizer_quadratic`, in as many steps as the learned one has there;
KEY=VALUE are further overrides. Shown is the mean squared error after the last step for the best
rate and its neighbours, with a 95% interval. It is the plain mean: a rate with which one function
in a thousand diverges is not best.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from metamine import engine
from metamine.config import build
from metamine.hydra_app.composed import composed
from metamine.methods.base import Method
from metamine.methods.baseline.gradient_descent import RULES, GradientDescent
from metamine.plan import Plan
from metamine.sources.base import Split

RATES = [round(10 ** (-exponent / 4), 5) for exponent in range(17)]  # 1 to 0.0001


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=2000, metavar="N", help="functions to tune on")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    plan, steps = problem("validation", given.tasks, given.overrides)
    print(f"after {steps} steps on {given.tasks} functions\n")
    for optimizer in RULES:
        errors = tried(optimizer, steps, plan)
        found = RATES.index(best(errors))
        for rate in RATES[max(found - 1, 0) : found + 2]:
            half = 1.96 * float(errors[rate].std()) / given.tasks**0.5
            star = "  best" if rate == RATES[found] else ""
            print(f"{optimizer:10} {rate:8} {errors[rate].mean():10.4g} ± {half:.2g}{star}")


def problem(split: Split, n_tasks: int, overrides: list[str]) -> tuple[Plan, int]:
    """Functions of the experiment, and the steps that an optimizer has for them."""
    config = composed(["experiment=learned_optimizer_quadratic", *overrides])
    source = build(config["source"], where="source")
    protocol = build(config["protocol"], where="protocol")
    plan = Plan(source, split, "as_trained", protocol, 0, n_tasks, 0)
    return plan, config["method"]["inner_steps"]


def tried(optimizer: str, steps: int, plan: Plan) -> dict[float, Tensor]:
    """By rate, the error of every task after the last step."""
    return {rate: reached(GradientDescent(optimizer, rate, steps), plan) for rate in RATES}


def best(errors: dict[float, Tensor]) -> float:
    """The rate with the least mean."""
    return min(errors, key=lambda rate: float(errors[rate].mean()))


def reached(method: Method, plan: Plan) -> Tensor:
    """The error of every task; infinite where the method fell back on an answer without steps."""
    parts = list(engine.evaluate(method, plan, chunk_size=plan.tasks))
    errors, fallbacks = ([v for part in parts for v in part[key]] for key in ("mse", "fallback"))
    error_T = torch.tensor(errors, dtype=torch.float64)
    return error_T.masked_fill(torch.tensor(fallbacks), torch.inf)


if __name__ == "__main__":
    main()
