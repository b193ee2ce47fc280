"""Adapting to tasks by steps along the gradient of the support loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from metamine.methods.optimization.network import Weights

# (number of the step from 0, weights, their gradient) -> new weights
Update = Callable[[int, Weights, Weights], Weights]


def descend(
    losses: Callable[[Weights], Float[Tensor, " T"]],
    phi: Weights,
    update: Update,
    steps: int,
    second_order: bool,
) -> Weights:
    """phi after `steps` updates by the gradient of each task's loss.

    While gradients are tracked, the result can be differentiated back to what phi was made of;
    `second_order`: through the inner gradients too. Elsewhere every step is on its own, and memory
    does not grow with `steps`.
    """
    tracked = torch.is_grad_enabled()
    with torch.enable_grad():  # adapting takes gradients, also where answering needs none
        for step in range(steps):
            if not tracked:
                phi = {name: weight.detach().requires_grad_() for name, weight in phi.items()}
            slopes = torch.autograd.grad(
                losses(phi).sum(),
                list(phi.values()),
                create_graph=tracked and second_order,
                materialize_grads=True,  # 0 for weights that read the other kind's labels only
            )
            phi = update(step, phi, dict(zip(phi, slopes, strict=True)))
    return phi


def clipped(slopes: Weights, limit: float | None) -> Weights:
    """The slopes, shortened for tasks where their norm over all weights is beyond `limit`.

    On tables of any kind some task soon diverges, and takes the meta-gradient along.
    """
    if limit is None:
        return slopes
    square_T = torch.stack([each.flatten(1).square().sum(dim=1) for each in slopes.values()]).sum(0)
    share_T = (square_T / limit**2).clamp(min=1).rsqrt()
    return {name: per_task(share_T, slope) * slope for name, slope in slopes.items()}


def per_task(value_T: Float[Tensor, " T"], like: Tensor) -> Tensor:
    """One number for each task, shaped to multiply what has a leading task axis."""
    return value_T.view(-1, *[1] * (like.dim() - 1))
