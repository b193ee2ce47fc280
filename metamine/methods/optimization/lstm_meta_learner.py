"""Gradient descent with learned gates for forgetting and for stepping."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.episode import Support
from metamine.methods.base import Method, only_present
from metamine.methods.optimization.coordinatewise_lstm import preprocessed
from metamine.methods.optimization.inner_loop import clipped, descend, per_task
from metamine.methods.optimization.network import Network, Weights


class LSTMMetaLearner(Method):
    """Sachin Ravi, Hugo Larochelle: "Optimization as a Model for Few-Shot Learning" (2017),
    section 3.

    A step of gradient descent is what an LSTM does with its cell, if the cell is the weights. So
    let it learn when to forget a weight (f) and how far to step (i), from what it sees there:

        i_j = sigmoid(W_i (grad, L, phi_(j-1), i_(j-1)) + b_i),    f_j likewise
        phi_0 = theta,    phi_j = f_j * phi_(j-1) - i_j * grad L_support(phi_(j-1))
        min over theta, W, b of L_query(phi_K)

    W and b are shared by all weights; gradients and losses are read as log-magnitude and sign, and
    count as inputs, through which nothing is differentiated. As in the paper, f begins near 1 and i
    small, which is gradient descent; there, another LSTM layer comes before the gates.

    encoder: with a linear head, the network.
    inner_lr: i at the start.
    inner_steps: K.
    inner_clip: bound on the norm of each task's gradient; null is the paper's algorithm.

    Good for rates that follow the course of adapting, without second derivatives; more than twice
    the cost of first-order MAML.
    """

    def __init__(
        self,
        encoder: Encoder,
        inner_lr: Annotated[float, Field(gt=0, lt=1)],
        inner_steps: NonNegativeInt,
        inner_clip: PositiveFloat | None,
    ) -> None:
        super().__init__()
        self.network = Network(encoder)
        # What the gates f and i make of two numbers each for gradient and loss, and of the weight.
        self.inputs = nn.Parameter(torch.zeros(2, 5))
        self.recurrent = nn.Parameter(torch.zeros(2))  # and of their own last values
        self.bias = nn.Parameter(torch.tensor([5.0, math.log(inner_lr / (1 - inner_lr))]))
        self.inner_steps, self.inner_clip = inner_steps, inner_clip

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        tracked = torch.is_grad_enabled()
        loss_T = support.x.new_zeros(support.n_tasks)
        gates: Weights = {}  # f and i of all weights of a tensor, flat

        def losses(phi: Weights) -> Float[Tensor, " T"]:
            nonlocal loss_T
            loss_T = self.network.losses(phi, support)
            return loss_T

        def update(step: int, phi: Weights, slopes: Weights) -> Weights:
            slopes, changed = clipped(slopes, self.inner_clip), {}
            with torch.set_grad_enabled(tracked):  # else the gates would hold on to all steps
                for name, weight in phi.items():
                    seen = (slopes[name], per_task(loss_T.detach(), weight))
                    numbers = [number for each in seen for number in preprocessed(each).unbind(-1)]
                    told = torch.stack(torch.broadcast_tensors(*numbers, weight)).flatten(1)
                    logits = self.inputs @ told + self.bias[:, None]
                    if step:
                        logits = logits + self.recurrent[:, None] * gates[name]
                    gates[name] = logits.sigmoid()
                    forget, rate = gates[name].view(2, *weight.shape)
                    changed[name] = forget * weight - rate * slopes[name]
            return changed

        phi = descend(
            losses, self.network.initial(support), update, self.inner_steps, second_order=False
        )
        return only_present(self.network.outputs(phi, support, query_x), support)
