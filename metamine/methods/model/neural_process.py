"""What the neural processes share: networks from rows to answers, and the answers' likelihood."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.encoders.layers import Linear, mlp
from metamine.episode import Episodes, Support
from metamine.methods.base import Method, only_present


class NeuralProcess(Method):
    """A method whose answer to a regression task is a normal distribution. Abstract."""

    least_sigma: float  # what standard deviations stay above

    @abstractmethod
    def outputs(
        self, support: Support, query_x: Float[Tensor, "T Q F"]
    ) -> Float[Tensor, "T Q C 2"]:
        """What `Decoder` makes of each query row and class."""

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        return only_present(self.outputs(support, query_x)[..., 0], support)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        if episodes.support.kind == "classification":
            return super().loss(episodes)
        mean_TQ, sigma_TQ = self.distribution(episodes.support, episodes.query_x)
        return gaussian_loss(mean_TQ, sigma_TQ, episodes.query_y)

    def spread(
        self, support: Support, query_x: Float[Tensor, "T Q F"]
    ) -> Float[Tensor, "T Q"] | None:
        return self.distribution(support, query_x)[1] if support.kind == "regression" else None

    def distribution(
        self, support: Support, query_x: Float[Tensor, "T Q F"]
    ) -> tuple[Float[Tensor, "T Q"], Float[Tensor, "T Q"]]:
        """Of regression tasks: mean and standard deviation of every query row's target."""
        mean_TQ, raw_TQ = self.outputs(support, query_x)[:, :, 0].unbind(dim=-1)
        return mean_TQ, self.least_sigma + (1 - self.least_sigma) * F.softplus(raw_TQ)


class Columns(nn.Module):
    """An encoder whose columns are read one by one; K: F of them, or 1 if it keeps none apart."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder, self.width = encoder, encoder.width

    def forward(
        self, support: Support, x: Float[Tensor, "T N F"] | None
    ) -> Float[Tensor, "T N K D"]:
        z_TNKD = self.encoder(support, x).unflatten(-1, (-1, self.width))
        # As large as each is without the encoder's 1 / sqrt(columns).
        return z_TNKD * self.share(support).amax(dim=1)[:, None, None, None].reciprocal()

    def share(self, support: Support) -> Float[Tensor, "T K"]:
        """1 / sqrt(columns) for each that is there: keeps the size of sums over columns."""
        real_TK = support.feature_mask.to(support.x)
        if not self.encoder.per_column:
            real_TK = torch.ones_like(real_TK[:, :1])
        return real_TK * real_TK.sum(dim=1, keepdim=True).rsqrt()


class Rows(nn.Module):
    """h: a support row and its target to r_i. A class shows by which rows are pooled."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.network = mlp(width + 1, hidden, hidden, hidden)

    def forward(
        self, z_TSKD: Float[Tensor, "T S K D"], support: Support
    ) -> Float[Tensor, "T S K H"]:
        y_TSK1 = torch.zeros_like(z_TSKD[..., :1])
        if support.kind == "regression":
            y_TSK1 = support.y[..., None, None].expand_as(y_TSK1)
        return self.network(torch.cat([z_TSKD, y_TSK1], dim=-1))


class Decoder(nn.Module):
    """g: a query row, what was seen of a class and of all, to two numbers.

    The first is the class's logit or the mean of the target, the second tells its deviation.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.column = Linear(width + 2 * hidden, hidden)
        self.answer = mlp(hidden, hidden, hidden, 2)

    def forward(
        self,
        z_TQKD: Float[Tensor, "T Q K D"],
        of_class_TQCKH: Float[Tensor, "T _ C K H"],
        of_all_TKH: Float[Tensor, "T K H"],
        share_TK: Float[Tensor, "T K"],
    ) -> Float[Tensor, "T Q C 2"]:
        # The first layer's products are taken before rows meet classes, so that they are few.
        sizes = [z_TQKD.shape[-1], of_all_TKH.shape[-1], of_all_TKH.shape[-1]]
        row_HD, class_HH, all_HH = self.column.weight.split(sizes, dim=1)
        seen_TQCKH = (
            F.linear(z_TQKD, row_HD, self.column.bias)[:, :, None]
            + F.linear(of_class_TQCKH, class_HH)
            + F.linear(of_all_TKH, all_HH)[:, None, None]
        ).relu()
        return self.answer(torch.einsum("tqckh,tk->tqch", seen_TQCKH, share_TK))


def overall_mean(r: Float[Tensor, "T C ..."], support: Support) -> Float[Tensor, "T ..."]:
    """The mean over the classes that have rows; in regression, r itself."""
    if support.kind == "regression":
        return r[:, 0]
    present_TC = support.present_TC.to(r)
    share_TC = present_TC / present_TC.sum(dim=1, keepdim=True)
    return torch.einsum("tc,tc...->t...", share_TC, r)


def gaussian_loss(
    mean_TQ: Float[Tensor, "T Q"], sigma_TQ: Float[Tensor, "T Q"], y_TQ: Float[Tensor, "T Q"]
) -> Float[Tensor, ""]:
    """Mean of -log N(y; mean, sigma^2)."""
    square_TQ = ((y_TQ - mean_TQ) / sigma_TQ).square()
    return (0.5 * square_TQ + sigma_TQ.log()).mean() + 0.5 * math.log(2 * math.pi)
