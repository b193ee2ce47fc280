"""SimpleShot against ten lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from making import built_method, episodes


def transformed(z: np.ndarray, centre: np.ndarray, transform: str) -> np.ndarray:
    if transform == "CL2N":
        z = z - centre
    return z if transform == "UN" else z / np.linalg.norm(z, axis=1, keepdims=True)


@pytest.mark.parametrize("encoder", ["mlp", "columnwise"])
@pytest.mark.parametrize("transform", ["UN", "L2N", "CL2N"])
def test_equals_numpy(encoder: str, transform: str) -> None:
    method = built_method("simple_shot", encoder, transform=transform).double()
    batch = episodes(dtype=torch.float64)
    with torch.no_grad():
        ours = method.predict(batch.support, batch.query_x).softmax(dim=-1).numpy()
        z_support = method.encoder(batch.support, batch.support.x).numpy()
        z_query = method.encoder(batch.support, batch.query_x).numpy()
    scale = method.log_scale.exp().item()
    for task in range(batch.n_tasks):
        y, centre = batch.support.y[task].numpy(), z_support[task].mean(axis=0)
        z, query = (transformed(each[task], centre, transform) for each in (z_support, z_query))
        means = np.stack([z[y == k].mean(axis=0) for k in range(3)])
        likelihood = np.exp(-scale * ((query[:, None] - means) ** 2).sum(axis=-1))
        expected = likelihood / likelihood.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(ours[task], expected, atol=1e-10)


def test_a_shift_of_all_rows_is_taken_out() -> None:
    method, batch = built_method("simple_shot", "mlp").double(), episodes(dtype=torch.float64)
    before = method.predict(batch.support, batch.query_x)
    method.encoder.register_forward_hook(lambda _, __, z_TND: z_TND + 100)
    assert torch.allclose(before, method.predict(batch.support, batch.query_x), atol=1e-9)


def test_an_unknown_transform_is_refused() -> None:
    with pytest.raises(Exception, match="transform"):
        built_method("simple_shot", transform="L1N")
