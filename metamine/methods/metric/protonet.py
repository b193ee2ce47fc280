"""Prototypical networks."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.episode import Kind, Support
from metamine.methods.base import Method, only_present


class ProtoNet(Method):
    """Jake Snell, Kevin Swersky, Richard Zemel: "Prototypical Networks for Few-shot Learning"
    (2017).

    A class is the mean of its embedded support rows, a row belongs to the nearest (equations 1, 2):

        c_k = mean of f(x_i) over y_i = k,    p(y = k | x) = softmax_k(-||f(x) - c_k||^2)

    The squared distance is the paper's; ||f(x)||^2 is left out, being the same for every class.

    encoder: f.

    Good for fast training and answers at any number of classes; the first to try.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        z_TSD, z_TQD = self.encoder(support, None), self.encoder(support, query_x)
        member_TSC = support.member_TSC.to(z_TSD)
        share_TSC = member_TSC / member_TSC.sum(dim=1, keepdim=True).clamp(min=1)
        prototype_TCD = share_TSC.mT @ z_TSD
        logits_TQC = 2 * z_TQD @ prototype_TCD.mT - prototype_TCD.square().sum(dim=-1)[:, None]
        return only_present(logits_TQC, support)
