"""Layers whose parameters may differ between the tasks of a batch.

Adapting a network to each of T tasks gives it T sets of weights. These layers take a parameter with
a leading task axis, put there by `torch.func.functional_call`, in place of the shared one; then a
whole batch of adapted networks is one batched matrix product, and needs neither a loop nor vmap.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Linear(nn.Linear):
    """A linear layer; its weight is (out, in), or (T, out, in) where tasks differ."""

    def forward(self, x: Float[Tensor, "T ... I"]) -> Float[Tensor, "T ... O"]:
        if self.weight.dim() == 2:
            return F.linear(x, self.weight, self.bias)
        rows, turned = x.flatten(1, -2), self.weight.mT
        bias = self.bias
        out = rows @ turned if bias is None else torch.baddbmm(bias[:, None], rows, turned)
        return out.unflatten(1, x.shape[1:-1])


class LayerNorm(nn.LayerNorm):
    """Layer normalisation; its weight is (D,), or (T, D) where tasks differ."""

    def forward(self, x: Float[Tensor, "T ... D"]) -> Float[Tensor, "T ... D"]:
        if self.weight.dim() == 1:
            return super().forward(x)
        per_task = (-1,) + (1,) * (x.dim() - 2) + self.normalized_shape
        normal = F.layer_norm(x, self.normalized_shape, eps=self.eps)
        return normal * self.weight.view(per_task) + self.bias.view(per_task)


def mlp(*widths: int, layer_norm: bool = False) -> nn.Sequential:
    """Linear layers of the given widths, first to last, with ReLU (and LayerNorm) in between."""
    layers: list[nn.Module] = []
    for depth, (n_in, n_out) in enumerate(pairwise(widths)):
        if depth:
            layers += [LayerNorm(n_in)] * layer_norm + [nn.ReLU()]
        layers.append(Linear(n_in, n_out))
    return nn.Sequential(*layers)
