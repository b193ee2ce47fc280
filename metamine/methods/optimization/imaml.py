"""MAML with implicit gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.episode import Episodes, Support
from metamine.methods.base import Method, only_present, query_loss
from metamine.methods.optimization.inner_loop import clipped, descend
from metamine.methods.optimization.network import Network, Weights, support_losses

Product = Callable[[Float[Tensor, "T P"]], Float[Tensor, "T P"]]  # v -> A v


class IMAML(Method):
    """Aravind Rajeswaran, Chelsea Finn, Sham Kakade, Sergey Levine: "Meta-Learning with Implicit
    Gradients" (2019), algorithms 1 and 2.

    Each task is learned under a pull towards theta. Where that has converged, the gradient by theta
    follows from the solution alone, whatever steps have led there:

        phi = argmin of L_support(phi) + lambda/2 ||phi - theta||^2
        d L_query(phi) / d theta = (I + G / lambda)^-1 grad L_query(phi)

    K steps of gradient descent stand for the argmin, M of the conjugate gradient method, from the
    gradient of L_query, for the inverse. The loss has the value of L_query and the slope above.

    In the paper, G is the Hessian of L_support. Here it is its Gauss-Newton part J' B J, with the
    Jacobian J of the answers and the Hessian B of the loss by the answers. K steps do not reach a
    minimum in every task, and there the network's own curvature has eigenvalues near -lambda or
    below: its inverse lengthens or turns such gradients, and meta-training unlearns. J' B J has
    no negative eigenvalues, so its inverse only shortens.

    encoder: with a linear head, the network.
    inner_lr: step length of the descent.
    inner_steps: K.
    inner_clip: bound on the norm of each task's gradient; null is the paper's algorithm.
    strength: lambda.
    cg_steps: M; 0 is first order.

    Good for many inner steps with a meta-gradient that knows them: memory does not grow with them.
    """

    def __init__(
        self,
        encoder: Encoder,
        inner_lr: PositiveFloat,
        inner_steps: NonNegativeInt,
        inner_clip: PositiveFloat | None,
        strength: PositiveFloat,
        cg_steps: NonNegativeInt,
    ) -> None:
        super().__init__()
        self.network = Network(encoder)
        self.inner_lr, self.inner_steps, self.inner_clip = inner_lr, inner_steps, inner_clip
        self.strength, self.cg_steps = strength, cg_steps

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        phi = self._learned(self.network.initial(support), support)
        return only_present(self.network.outputs(phi, support, query_x), support)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        support, theta = episodes.support, self.network.initial(episodes.support)
        phi = self._learned(theta, support)
        with torch.enable_grad():
            phi = {name: weight.requires_grad_() for name, weight in phi.items()}
            answers_TQC = self.network.outputs(phi, support, episodes.query_x)
            value = query_loss(only_present(answers_TQC, support), episodes)
            slope_TP = _slope(value, phi.values())
            implicit_TP = conjugate_gradient(self._pulled(phi, support), slope_TP, self.cg_steps)
        theta_TP = _flat(theta.values())
        return value.detach() + ((theta_TP - theta_TP.detach()) * implicit_TP).sum()

    def _pulled(self, phi: Weights, support: Support) -> Product:
        """v -> (I + G / lambda) v; A: a task's answers in one vector."""
        answers_TSC = self.network.outputs(phi, support, None)
        free_TSC = answers_TSC.detach().requires_grad_()
        losses_T = support_losses(free_TSC, support)
        slope_TA = _slope(losses_T.sum(), [free_TSC], create_graph=True)
        u_TA = torch.zeros_like(slope_TA, requires_grad=True)
        answers_TA = answers_TSC.flatten(1)
        back_TP = _slope((answers_TA * u_TA).sum(), phi.values(), create_graph=True)  # J' u

        def product(v_TP: Float[Tensor, "T P"]) -> Float[Tensor, "T P"]:
            moved_TA = _slope((back_TP * v_TP).sum(), [u_TA])  # J v
            bent_TA = _slope((slope_TA * moved_TA).sum(), [free_TSC])  # B J v
            return v_TP + _slope((answers_TA * bent_TA).sum(), phi.values()) / self.strength

        return product

    @torch.no_grad()
    def _learned(self, theta: Weights, support: Support) -> Weights:
        """phi: after K steps."""

        def losses(phi: Weights) -> Float[Tensor, " T"]:
            away_T = (_flat(phi.values()) - _flat(theta.values())).square().sum(dim=1)
            return self.network.losses(phi, support) + self.strength / 2 * away_T

        theta = {name: weight.detach() for name, weight in theta.items()}
        return descend(losses, theta, self._step, self.inner_steps, second_order=False)

    def _step(self, step: int, phi: Weights, slopes: Weights) -> Weights:
        slopes = clipped(slopes, self.inner_clip)
        return {name: weight - self.inner_lr * slopes[name] for name, weight in phi.items()}


def conjugate_gradient(
    product: Product, right_TP: Float[Tensor, "T P"], steps: int
) -> Float[Tensor, "T P"]:
    """x with A x = right, each task's own, for A - I without negative eigenvalues; from right."""
    tiny = torch.finfo(right_TP.dtype).tiny  # a task that is solved stays where it is
    x_TP = right_TP
    rest_TP = direction_TP = right_TP - product(right_TP)
    for _ in range(steps):
        turned_TP = product(direction_TP)
        size_T1 = _dot(rest_TP, rest_TP)
        length_T1 = size_T1 / _dot(direction_TP, turned_TP).clamp(min=tiny)
        x_TP = x_TP + length_T1 * direction_TP
        rest_TP = rest_TP - length_T1 * turned_TP
        share_T1 = _dot(rest_TP, rest_TP) / size_T1.clamp(min=tiny)
        direction_TP = rest_TP + share_T1 * direction_TP
    return x_TP


def _dot(a_TP: Float[Tensor, "T P"], b_TP: Float[Tensor, "T P"]) -> Float[Tensor, "T 1"]:
    return (a_TP * b_TP).sum(dim=1, keepdim=True)


def _flat(weights: Iterable[Tensor]) -> Float[Tensor, "T P"]:
    """All weights of a task in one vector."""
    return torch.cat([each.flatten(1) for each in weights], dim=1)


def _slope(
    value: Float[Tensor, ""], by: Iterable[Tensor], create_graph: bool = False
) -> Float[Tensor, "T P"]:
    """The gradient by all of them, in one vector a task. The graph is kept."""
    slopes = torch.autograd.grad(
        value, list(by), retain_graph=True, create_graph=create_graph, materialize_grads=True
    )
    return _flat(slopes)
