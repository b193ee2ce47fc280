"""One task at a time, written out by hand: what methods that adapt by gradients are held to."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from metamine.episode import Support
from metamine.methods.base import Method
from metamine.methods.optimization.network import Network

Weights = dict[str, Tensor]


def start(network: Network, one: Support) -> Weights:
    """The weights that a task begins with: those of the encoder, and a row of the head a class."""
    blocks = one.x.shape[2] if network.encoder.per_column else 1
    phi = {f"encoder.{name}": p for name, p in network.encoder.named_parameters()}
    phi["head"] = (network.head.repeat(blocks) / blocks**0.5).expand(one.n_outputs, -1)
    phi["bias"] = network.bias.expand(one.n_outputs)
    return phi


def answers(network: Network, phi: Weights, one: Support, x: Tensor) -> Tensor:
    """Of a single task: rows by outputs."""
    encoder = {
        name.removeprefix("encoder."): p for name, p in phi.items() if name.startswith("encoder.")
    }
    z = functional_call(network.encoder, encoder, (one, x))[0]
    return z @ phi["head"].T + phi["bias"]


def mean_loss(out: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy, or mean squared error where there is one output."""
    return F.cross_entropy(out, y) if out.shape[1] > 1 else F.mse_loss(out[:, 0], y)


def slopes(loss: Tensor, weights: Weights, create_graph: bool, clip: float | None) -> Weights:
    """The gradient, no longer than `clip` over all weights."""
    found = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph)
    share: float | Tensor = 1.0
    if clip is not None:
        norm = torch.cat([each.flatten() for each in found]).norm()
        share = clip / norm.clamp(min=clip)
    return {name: share * each for name, each in zip(weights, found, strict=True)}


def meta_gradient(method: Method, loss: Tensor) -> Tensor:
    """Of the loss by all parameters, in one vector."""
    parameters: Iterable[nn.Parameter] = method.parameters()
    found = torch.autograd.grad(loss, list(parameters), materialize_grads=True)
    return torch.cat([each.flatten() for each in found])
