"""An inner loop whose steps an LSTM takes."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.episode import Episodes, Support
from metamine.methods.base import Method, only_present, query_loss
from metamine.methods.optimization.coordinatewise_lstm import CoordinatewiseLSTM, State
from metamine.methods.optimization.inner_loop import descend
from metamine.methods.optimization.linear_model import LinearModel
from metamine.methods.optimization.network import Network, Weights, support_losses


class LearnedOptimizer(Method):
    """Marcin Andrychowicz, Misha Denil, Sergio Gomez, Matthew W. Hoffman, David Pfau, Tom Schaul,
    Brendan Shillingford, Nando de Freitas: "Learning to learn by gradient descent by gradient
    descent" (2016), section 2.

    An LSTM m, the same for all weights, reads the log-magnitude and sign of a weight's gradient
    and says how to change that weight; it keeps a state h for each:

        g_j, h_(j+1) = m(grad L_support(phi_j), h_j),    phi_0 = theta,    phi_(j+1) = phi_j + s g_j
        min over theta, m of sum over j > 0 of v_j L_query(phi_j)

    Inner gradients count as inputs: as in the paper, nothing is differentiated through them. There
    the loss is that of all steps on the same data (every_step: 1, and query rows that are the
    support rows), from a random start; here theta is learned too. The head alone adapts, to which
    the rows are embedded once: an LSTM for each weight of an encoder would cost a hundred times as
    much.

    encoder: the body; the head is linear. null: no body, and a linear function that begins at 0.
    hidden: width of the two layers of m.
    scale: s.
    inner_steps: K.
    every_step: share of v that is spread over all steps; the last has the rest.

    Good for learning how to step from how steps went; needs more training than MAML.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        hidden: PositiveInt,
        scale: PositiveFloat,
        inner_steps: NonNegativeInt,
        every_step: Annotated[float, Field(ge=0, le=1)],
    ) -> None:
        super().__init__()
        self.network = LinearModel() if encoder is None else Network(encoder)
        self.optimizer = CoordinatewiseLSTM(hidden, scale)
        self.inner_steps, self.every_step = inner_steps, every_step

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        return self._answers(self._path(support)[-1:], support, query_x)[-1]

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        path = self._path(episodes.support)
        path = path[1:] if self.every_step and self.inner_steps else path[-1:]
        answers = self._answers(path, episodes.support, episodes.query_x)
        losses = torch.stack([query_loss(each, episodes) for each in answers])
        return losses.mean().lerp(losses[-1], 1 - self.every_step)

    def _answers(
        self, path: list[Weights], support: Support, query_x: Float[Tensor, "T Q F"]
    ) -> list[Tensor]:
        """With each of the heads in turn."""
        z_TQD = self.network.embed({}, support, query_x)
        return [only_present(self.network.read(head, z_TQD), support) for head in path]

    def _path(self, support: Support) -> list[Weights]:
        """phi_0 to phi_K, of the head."""
        theta, z_TSD = self.network.initial(support), self.network.embed({}, support, None)
        path: list[Weights] = [{k: theta[k] for k in theta if k in ("head", "bias")}]
        state: State | None = None
        tracked = torch.is_grad_enabled()

        def update(step: int, head: Weights, slopes: Weights) -> Weights:
            nonlocal state
            with torch.set_grad_enabled(tracked):  # the state would hold on to all steps
                changes, state = self.optimizer(slopes, state)
                path.append({name: weight + changes[name] for name, weight in head.items()})
            return path[-1]

        descend(
            lambda head: support_losses(self.network.read(head, z_TSD), support),
            path[0],
            update,
            self.inner_steps,
            second_order=False,
        )
        return path
