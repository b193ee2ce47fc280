"""Layers with a set of weights for each task equal a loop over the tasks."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from metamine.encoders.layers import LayerNorm, Linear, mlp


@pytest.mark.parametrize("layer", [Linear(5, 3), LayerNorm(5), mlp(5, 7, 2, layer_norm=True)])
@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 6, 2, 5)])
def test_weights_of_each_task(layer: torch.nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    weights = {
        name: p.detach() + torch.randn(shape[0], *p.shape) for name, p in layer.named_parameters()
    }
    together = functional_call(layer, weights, (x,))
    for task in range(shape[0]):
        alone = functional_call(
            layer, {k: w[task] for k, w in weights.items()}, (x[task : task + 1],)
        )
        assert torch.allclose(together[task : task + 1], alone, atol=1e-5)


@pytest.mark.parametrize("layer", [Linear(5, 3), LayerNorm(5), mlp(5, 7, 2, layer_norm=True)])
def test_shared_weights_are_the_same_for_all(layer: torch.nn.Module) -> None:
    x = torch.randn(4, 6, 5)
    shared = {k: p.detach().expand(4, *p.shape) for k, p in layer.named_parameters()}
    assert torch.allclose(layer(x), functional_call(layer, shared, (x,)), atol=1e-6)
