"""An inner loop whose steps an LSTM takes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.episode import Support
from metamine.methods.base import Method, only_present
from metamine.methods.optimization.coordinatewise_lstm import CoordinatewiseLSTM, State
from metamine.methods.optimization.inner_loop import descend
from metamine.methods.optimization.network import Network, Weights, support_losses


class LearnedOptimizer(Method):
    """Marcin Andrychowicz, Misha Denil, Sergio Gomez, Matthew W. Hoffman, David Pfau, Tom Schaul,
    Brendan Shillingford, Nando de Freitas: "Learning to learn by gradient descent by gradient
    descent" (2016), section 2.

    An LSTM m, the same for all weights, reads the log-magnitude and sign of a weight's gradient
    and says how to change that weight; it keeps a state h for each:

        g_j, h_(j+1) = m(grad L_support(phi_j), h_j),    phi_0 = theta,    phi_(j+1) = phi_j + s g_j
        min over theta, m of L_query(phi_K)

    Inner gradients count as inputs: as in the paper, nothing is differentiated through them. There
    the loss is that of all steps on the same data, from a random start; here it is that of the
    query rows after the last, and theta is learned too. The head alone adapts, to which the rows
    are embedded once: an LSTM for each weight of an encoder would cost a hundred times as much.

    encoder: the body; the head is linear.
    hidden: width of the two layers of m.
    scale: s.
    inner_steps: K.

    Good for learning how to step from how steps went; needs more training than MAML.
    """

    def __init__(
        self,
        encoder: Encoder,
        hidden: PositiveInt,
        scale: PositiveFloat,
        inner_steps: NonNegativeInt,
    ) -> None:
        super().__init__()
        self.network = Network(encoder)
        self.optimizer = CoordinatewiseLSTM(hidden, scale)
        self.inner_steps = inner_steps

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        encoder, theta = self.network.encoder, self.network.initial(support)
        z_TSD, z_TQD = encoder(support, None), encoder(support, query_x)
        state: State | None = None
        tracked = torch.is_grad_enabled()

        def update(step: int, head: Weights, slopes: Weights) -> Weights:
            nonlocal state
            with torch.set_grad_enabled(tracked):  # the state would hold on to all steps
                changes, state = self.optimizer(slopes, state)
                return {name: weight + changes[name] for name, weight in head.items()}

        head = descend(
            lambda head: support_losses(self.network.read(head, z_TSD), support),
            {name: theta[name] for name in ("head", "bias")},
            update,
            self.inner_steps,
            second_order=False,
        )
        return only_present(self.network.read(head, z_TQD), support)
