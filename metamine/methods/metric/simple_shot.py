"""SimpleShot."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.episode import Kind, Support
from metamine.methods.base import Method, only_present
from metamine.methods.metric.class_means import class_means


class SimpleShot(Method):
    """Yan Wang, Wei-Lun Chao, Kilian Weinberger, Laurens van der Maaten: "SimpleShot: Revisiting
    Nearest-Neighbor Classification for Few-Shot Learning" (2019), section 3.

    The nearest class mean, after embeddings are centred (C) and put on the unit sphere (L2N):

        z = (f(x) - m) / ||f(x) - m||,    c_k = mean of z_i over y_i = k
        p(y = k | x) = softmax_k(-s ||z - c_k||^2)

    In the paper m is the mean of the training classes, and f is trained as a plain classifier of
    them. Tables have no classes in common, so m is the mean of the support, and f is trained on
    episodes, for which the learned scale s is needed; it changes no answer.

    encoder: f.
    transform: CL2N as above; L2N does not centre; UN leaves embeddings alone.

    Good for embeddings whose length tells nothing; as cheap as ProtoNet.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})

    def __init__(self, encoder: Encoder, transform: Literal["UN", "L2N", "CL2N"]) -> None:
        super().__init__()
        self.encoder, self.transform = encoder, transform
        self.log_scale = nn.Parameter(torch.tensor(1.0))

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        z_TSD, z_TQD = self.encoder(support, None), self.encoder(support, query_x)
        centre_T1D = z_TSD.mean(dim=1, keepdim=True)
        z_TSD, z_TQD = self._transformed(z_TSD, centre_T1D), self._transformed(z_TQD, centre_T1D)
        mean_TCD = class_means(z_TSD, support)
        similarity_TQC = 2 * z_TQD @ mean_TCD.mT - mean_TCD.square().sum(dim=-1)[:, None]
        return only_present(self.log_scale.exp() * similarity_TQC, support)

    def _transformed(
        self, z_TND: Float[Tensor, "T N D"], centre_T1D: Float[Tensor, "T 1 D"]
    ) -> Float[Tensor, "T N D"]:
        if self.transform == "UN":
            return z_TND
        return F.normalize(z_TND - centre_T1D if self.transform == "CL2N" else z_TND, dim=-1)
