"""The network that optimization-based learners adapt: any encoder under a linear head."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from metamine.encoders.base import Encoder
from metamine.episode import Support
from metamine.methods.base import only_present

Weights = dict[str, Tensor]  # by the names of `Network`'s parameters, each with a leading task axis


class Network(nn.Module):
    """An encoder and a linear head whose weights may differ between the tasks of a batch.

    Tasks have any number of classes, so the head's initial weights are one vector for all of them,
    as Ye & Chao 2022 ("How to Train Your MAML to Excel in Few-Shot Learning", section 5) recommend:
    an unadapted network is at chance, and the names of classes do not matter. The support is its
    own description: an encoder that reads it does so with whatever weights it is given.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Parameter(torch.randn(encoder.width) / encoder.width**0.5)
        self.bias = nn.Parameter(torch.zeros(()))

    def initial(self, support: Support) -> Weights:
        """theta: the network's own parameters, once for each task."""
        theta = self.spread(dict(self.named_parameters()), support)
        if self.encoder.per_column:  # a sum over columns keeps its size whatever their number
            n_columns_T11 = support.feature_mask.sum(dim=1)[:, None, None].to(theta["head"])
            theta["head"] = theta["head"] / n_columns_T11.sqrt()
        return theta

    def spread(self, values: Mapping[str, Tensor], support: Support) -> Weights:
        """Values shaped like the parameters (some or all), in the shape of the tasks' weights.

        Every task gets them all; every class, and every column of an encoder that keeps columns
        apart, gets the head's.
        """
        spread = dict(values)
        if "head" in values:
            spread["head"] = values["head"].expand(support.n_outputs, -1)
            if self.encoder.per_column:
                spread["head"] = spread["head"].repeat(1, support.x.shape[2])
        if "bias" in values:
            spread["bias"] = values["bias"].expand(support.n_outputs)
        return {name: each.expand(support.n_tasks, *each.shape) for name, each in spread.items()}

    def embed(
        self, phi: Weights, support: Support, x: Float[Tensor, "T N F"] | None
    ) -> Float[Tensor, "T N D"]:
        """Rows (None: the support's own) through the encoder with the weights phi, and with the
        network's own where phi has none.
        """
        prefix = "encoder."
        weights = {k.removeprefix(prefix): v for k, v in phi.items() if k.startswith(prefix)}
        return functional_call(self.encoder, weights, (support, x))

    def outputs(
        self, phi: Weights, support: Support, x: Float[Tensor, "T N F"] | None
    ) -> Float[Tensor, "T N C"]:
        """Answers for rows (None: the support's own) with the weights phi."""
        return self.read(phi, self.embed(phi, support, x))

    def read(self, phi: Weights, z_TND: Float[Tensor, "T N D"]) -> Float[Tensor, "T N C"]:
        """The head's answers for embedded rows."""
        return torch.baddbmm(phi["bias"][:, None], z_TND, phi["head"].mT)

    def losses(self, phi: Weights, support: Support) -> Float[Tensor, " T"]:
        """Each task's mean loss over its support rows, with the weights phi."""
        return support_losses(self.outputs(phi, support, None), support)


def support_losses(outputs_TSC: Float[Tensor, "T S C"], support: Support) -> Float[Tensor, " T"]:
    """Each task's mean loss of answers for its support rows."""
    if support.kind == "regression":
        return (outputs_TSC[..., 0] - support.y).square().mean(dim=1)
    logits_TCS = only_present(outputs_TSC, support).mT
    return F.cross_entropy(logits_TCS, support.y, reduction="none").mean(dim=1)
