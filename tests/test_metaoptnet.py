"""MetaOptNet's support vector machines against scipy's and their optimality conditions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from making import built_method, episodes
from scipy.optimize import minimize
from torch import Tensor

from metamine.methods.optimization.metaoptnet import dual, on_simplex

ROWS = np.kron(np.eye(6), np.ones(3))  # sums the rows of alpha, 6 by 3


def problem(way: int = 3, shot: int = 2, n_tasks: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Kernel, membership and present classes of tasks whose classes overlap."""
    support = episodes(way=way, shot=shot, n_tasks=n_tasks, dtype=torch.float64).support
    x = support.x / 2 - support.x.mean(dim=1, keepdim=True) / 2
    return x @ x.mT, support.member_TSC, support.present_TC


@pytest.mark.parametrize("cost", [0.05, 0.3, 2.0])
def test_dual_equals_scipy(cost: float) -> None:
    kernel_TSS, member_TSC, present_TC = problem()
    alpha_TSC = dual(kernel_TSS, member_TSC, present_TC, cost, 1000)
    for kernel, member, ours in zip(
        kernel_TSS.numpy(), member_TSC.double().numpy(), alpha_TSC.numpy(), strict=True
    ):

        def negative(a: np.ndarray, kernel=kernel, member=member) -> float:  # type: ignore[no-untyped-def]
            alpha = a.reshape(member.shape)
            return float(np.sum(alpha * (kernel @ alpha)) / 2 - np.sum(alpha * member))

        def slope(a: np.ndarray, kernel=kernel, member=member) -> np.ndarray:  # type: ignore[no-untyped-def]
            return (kernel @ a.reshape(member.shape) - member).ravel()

        solved = minimize(
            negative,
            np.zeros(member.size),
            jac=slope,
            method="SLSQP",
            bounds=[(None, bound) for bound in (cost * member).ravel()],
            constraints={"type": "eq", "fun": lambda a: ROWS @ a, "jac": lambda _: ROWS},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        theirs = solved.x.reshape(member.shape)
        assert negative(ours.ravel()) == pytest.approx(negative(solved.x), abs=1e-7)
        # The planes are unique, also where alpha is not.
        assert np.abs(kernel @ ours - kernel @ theirs).max() < 1e-4


@pytest.mark.parametrize("cost", [0.05, 0.3, 2.0])
def test_dual_equals_primal(cost: float) -> None:
    """1/2 sum ||w_k||^2 + C sum of hinges is no less than the dual, and equal at the solution."""
    kernel_TSS, member_TSC, present_TC = problem(shot=5)
    alpha_TSC = dual(kernel_TSS, member_TSC, present_TC, cost, 1000)
    assert alpha_TSC.sum(dim=2).abs().max() < 1e-12
    assert (alpha_TSC <= cost * member_TSC.double() + 1e-12).all()
    margin_TSC = kernel_TSS @ alpha_TSC
    size_T = (alpha_TSC * margin_TSC).sum(dim=(1, 2)) / 2
    dual_T = (alpha_TSC * member_TSC).sum(dim=(1, 2)) - size_T
    own_TS = (margin_TSC * member_TSC).sum(dim=2)
    hinge_TS = (margin_TSC + 1 - member_TSC.double()).amax(dim=2) - own_TS
    primal_T = size_T + cost * hinge_TS.sum(dim=1)
    assert (primal_T - dual_T).abs().max() < 1e-6


def test_projection_onto_the_simplex() -> None:
    """Sum and signs hold, and x - p is the same number where p > 0, no more elsewhere."""
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = on_simplex(x, 0.7)
    assert torch.allclose(p.sum(dim=1), torch.full_like(p[:, 0], 0.7))
    assert (p >= 0).all()
    excess = x - p
    common = excess.where(p > 0, -torch.inf).amax(dim=1, keepdim=True)
    assert torch.allclose(excess.where(p > 0, common), common.expand_as(p))
    assert (excess <= common + 1e-12).all()


def test_answers_are_the_planes_of_the_solution() -> None:
    """gamma <w_k, f(x)>, with w_k written out; no class that lacks support rows."""
    method = built_method("metaoptnet", "mlp").double()
    batch = episodes(dtype=torch.float64)
    z, query = (method.encoder(batch.support, x) for x in (batch.support.x, batch.query_x))
    for task in range(batch.n_tasks):
        rows = z[task] - z[task].mean(dim=0)
        kernel = rows @ rows.T / method.encoder.width
        one = batch.support[task : task + 1]
        alpha = dual(
            kernel[None], one.member_TSC, one.present_TC, method.slack_cost, method.iterations
        )[0]
        planes = torch.stack([torch.outer(a, r) for a, r in zip(alpha, rows, strict=True)]).sum(0)
        logits = (query[task] - z[task].mean(dim=0)) @ planes.T / method.encoder.width
        ours = method.predict(one, batch.query_x[task : task + 1])[0]
        assert torch.allclose(ours, method.log_scale.exp() * logits)


@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
def test_gradient_is_the_slope_of_the_loss(encoder: str) -> None:
    """Finite differences along a random direction, through a solution that knows no step length."""
    method = built_method("metaoptnet", encoder, slack_cost=2.0, iterations=300).double()
    batch = episodes(dtype=torch.float64)
    loss = method.loss(batch)
    found = torch.autograd.grad(loss, list(method.parameters()), materialize_grads=True)
    slope = torch.cat([each.flatten() for each in found])
    beginning = torch.nn.utils.parameters_to_vector(method.parameters()).detach()
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(len(beginning), generator=generator, dtype=torch.float64)
    values = []
    for step in (1e-6, -1e-6):
        torch.nn.utils.vector_to_parameters(beginning + step * direction, method.parameters())
        values.append(method.loss(batch).item())
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(float(slope @ direction), rel=1e-3)


def test_gradient_goes_through_the_solution() -> None:
    """Of planes by the scale of the kernel, where nothing but the dual is between."""
    kernel_TSS, member_TSC, present_TC = problem(n_tasks=1)
    weight = torch.randn(member_TSC.shape, generator=torch.Generator().manual_seed(1)).double()

    def planes(scale: Tensor) -> Tensor:
        scaled_TSS = scale * kernel_TSS
        alpha_TSC = dual(scaled_TSS, member_TSC, present_TC, 0.15, 300)
        return (weight * (scaled_TSS @ alpha_TSC)).sum()

    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(planes(scale), scale)
    with torch.no_grad():
        rise = float(planes(scale + 1e-5) - planes(scale - 1e-5))
    assert abs(rise / 2e-5) > 1e-2
    assert rise / 2e-5 == pytest.approx(float(slope), rel=1e-3, abs=1e-6)
