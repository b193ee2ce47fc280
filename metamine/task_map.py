"""Which tables are alike, and places for them in the plane."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from metamine.methods.metric.similarity import TaskSimilarity

SHOWN = 3  # nearest tables of each


@torch.no_grad()
def similarities(similarity: TaskSimilarity, d_NED: Float[Tensor, "N E D"]) -> np.ndarray:
    """Mean s over the pairs of sub-batches of two tables; of one table, over different ones."""
    n_tables, n_batches, _ = d_NED.shape
    d_NED = d_NED.double()
    s_NN = torch.zeros(n_tables, n_tables, dtype=torch.float64)
    for table, d_ED in enumerate(d_NED):
        s_EV = similarity(d_ED, d_NED.flatten(0, 1)).sigmoid()
        s_NN[table] = s_EV.unflatten(1, (n_tables, n_batches)).mean(dim=(0, 2))
        s_EE = similarity(d_ED, d_ED).sigmoid()
        pairs = n_batches * (n_batches - 1)
        s_NN[table, table] = (s_EE.sum() - s_EE.diagonal().sum()) / pairs
    return s_NN.clamp(min=torch.finfo(torch.float64).tiny).numpy()


def scaled_to_plane(distance_NN: np.ndarray) -> np.ndarray:
    """Classical multidimensional scaling: points in the plane about as far apart as given.

    The largest coordinate along each axis is positive; an axis that distances have no use for is 0.
    """
    off_NN = distance_NN - np.diag(np.diag(distance_NN))
    centre_NN = np.eye(len(off_NN)) - 1 / len(off_NN)
    value_N, axis_NN = np.linalg.eigh(-0.5 * centre_NN @ off_NN**2 @ centre_NN)
    place_N2 = axis_NN[:, ::-1][:, :2] * np.sqrt(value_N[::-1][:2].clip(min=0))
    furthest_2 = place_N2[np.abs(place_N2).argmax(axis=0), [0, 1]]
    return np.asarray(place_N2 * np.where(furthest_2 < 0, -1, 1))


def nearest(similarity: pd.DataFrame) -> Iterator[str]:
    """A line for each table: the others most similar to it."""
    width = max(map(len, ["table", *similarity.index]))
    yield f"{'table':{width}}  itself  nearest"
    for name in similarity.index:
        row = similarity.loc[name]
        others = row.drop(name).sort_values(ascending=False, kind="stable")[:SHOWN]
        told = ", ".join(f"{other} {value:.3f}" for other, value in others.items())
        yield f"{name:{width}}  {row[name]:6.3f}  {told}"
