"""An optimizer that is an LSTM, the same one for every coordinate."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metamine.methods.optimization.network import Weights

P = 10.0  # gradients below exp(-P) count as small
State = list[tuple[Tensor, Tensor]]  # h and c of each layer, a row for every coordinate


class CoordinatewiseLSTM(nn.Module):
    """Marcin Andrychowicz et al.: "Learning to learn by gradient descent by gradient descent"
    (2016), section 2.1.

    Two LSTM layers and a linear one read what became of the gradient of a coordinate so far, and
    say how to change that coordinate. Weights are shared by all coordinates, of whatever tensor
    and task; the state is each one's own:

        g_t, h_(t+1) = m(preprocessed(slope_t), h_t),    theta_(t+1) = theta_t + scale g_t

    hidden: width of the LSTM layers.
    scale: of the outputs; small, so that an untrained optimizer stays near the start.
    """

    def __init__(self, hidden: int, scale: float) -> None:
        super().__init__()
        self.cells = nn.ModuleList([nn.LSTMCell(2, hidden), nn.LSTMCell(hidden, hidden)])
        self.out = nn.Linear(hidden, 1)
        self.scale = scale

    def forward(self, slopes: Weights, state: State | None) -> tuple[Weights, State]:
        """What to add to tensors with these gradients, and the state (None: before any step)."""
        x = preprocessed(torch.cat([slope.flatten() for slope in slopes.values()]))
        states: State = []
        for layer, cell in enumerate(self.cells):
            states.append(cell(x, None if state is None else state[layer]))
            x = states[-1][0]
        changes = (self.scale * self.out(x)[:, 0]).split([each.numel() for each in slopes.values()])
        return {
            name: change.view_as(slopes[name]) for name, change in zip(slopes, changes, strict=True)
        }, states


def preprocessed(slope: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape 2"]:
    """Log-magnitude and sign (appendix A), for gradients come in all magnitudes.

        (log |g| / p, sgn g) where |g| >= exp(-p), else (-1, exp(p) g)

    Both numbers are continuous in g, and lie within [-1, 1] for |g| <= exp(p).
    """
    log = slope.abs().clamp(min=math.exp(-P)).log() / P
    return torch.stack([log, (math.exp(P) * slope).clamp(-1, 1)], dim=-1)
