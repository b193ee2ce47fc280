"""The learned similarity of tasks."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from metamine.encoders.dataset2vec import Dataset2Vec
from metamine.episode import Episodes, Support
from metamine.preprocess import standardise

MOST = 16  # columns of a part: so many tell as much, and wide tables cost no more than others
CLOSE = 1e-3  # distances count as no smaller: at 0 a root has no slope


class TaskSimilarity(nn.Module):
    """Hadi Jomaa, Lars Schmidt-Thieme, Josif Grabocka: "Dataset2Vec: Learning Dataset
    Meta-Features" (2021), section 5.

    The similarity of two tasks is the probability that they were drawn from one table:

        s(t_i, t_j) = D(d(t_i), d(t_j); a, b) = sigmoid(b - a ||d(t_i) - d(t_j)||),    a > 0

    a, b and d are learned by telling two parts of one task, with half of its rows and half to all
    of its columns each, from parts of two tasks. The paper has D = exp(-gamma ||.||) with a fixed
    gamma; then log(1 - s) has no bound where d are close, as they are before training, and its
    slopes drown all others. d reads standardised rows: units tell nothing.

    encoder: d.
    """

    def __init__(self, encoder: Dataset2Vec) -> None:
        super().__init__()
        self.encoder = encoder
        self.log_a = nn.Parameter(torch.tensor(1.0))
        self.b = nn.Parameter(torch.tensor(3.0))

    def embed(self, support: Support) -> Float[Tensor, "T D"]:
        """d of each task."""
        nothing = support.x[:, :0], support.y[:, :0], support.x.new_ones(support.n_tasks)
        return self.encoder(standardise(Episodes(support, *nothing), transductive=False).support)

    def forward(
        self, d_ID: Float[Tensor, "I D"], d_JD: Float[Tensor, "J D"]
    ) -> Float[Tensor, "I J"]:
        """s of every pair of embedded tasks, as a logit: its log is finite at any distance."""
        square_IJ = (d_ID[:, None] - d_JD).square().sum(dim=-1)
        return self.b - self.log_a.exp() * (square_IJ + CLOSE**2).sqrt()

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        """Log-loss of telling parts of one task from parts of two, both counting the same.

        Tasks of a batch count as different, also where the source had too few tables for that.
        """
        first, second = halves(episodes)
        return log_loss(self(self.embed(first), self.embed(second)))


def log_loss(logit_TT: Float[Tensor, "T T"]) -> Float[Tensor, ""]:
    """The loss of s between first parts (rows) and second parts (columns)."""
    n_tasks = len(logit_TT)
    other_TT = 1 - torch.eye(n_tasks, dtype=logit_TT.dtype, device=logit_TT.device)
    different = (F.softplus(logit_TT) * other_TT).sum() / max(n_tasks * (n_tasks - 1), 1)
    return different + F.softplus(-logit_TT.diagonal()).mean()


def labelled(episodes: Episodes) -> Support:
    """All rows of each task, query rows with their labels too."""
    support = episodes.support
    return replace(
        support,
        x=torch.cat([support.x, episodes.query_x], dim=1),
        y=torch.cat([support.y, episodes.query_y], dim=1),
    )


def halves(episodes: Episodes, all_columns: bool = False) -> tuple[Support, Support]:
    """Two parts of each task, at random: half of its rows each, and half to all of its columns."""
    whole = labelled(episodes)
    order_TN = torch.rand(whole.y.shape, device=whole.y.device).argsort(dim=1)
    half = order_TN.shape[1] // 2
    first, second = (
        replace(
            whole,
            x=whole.x.gather(1, row_TN[..., None].expand(-1, -1, whole.x.shape[2])),
            y=whole.y.gather(1, row_TN),
        )
        for row_TN in (order_TN[:, :half], order_TN[:, half:])
    )
    return (first, second) if all_columns else (_some_columns(first), _some_columns(second))


def _some_columns(support: Support) -> Support:
    """Half to all columns of each task, in a random order, but `MOST` at most."""
    real_TF = support.feature_mask
    key_TF = torch.rand(real_TF.shape, device=real_TF.device).masked_fill(~real_TF, -1.0)
    column_TF: Int64[Tensor, "T F"] = key_TF.topk(min(MOST, real_TF.shape[1]), dim=1).indices
    share_T1 = 0.5 + 0.5 * torch.rand(len(real_TF), 1, device=real_TF.device)
    wanted_T1 = (share_T1 * real_TF.sum(dim=1, keepdim=True).clamp(max=MOST)).ceil()
    mask_TF = torch.arange(column_TF.shape[1], device=real_TF.device) < wanted_T1
    x_TSF = support.x.gather(2, column_TF[:, None].expand(-1, support.x.shape[1], -1))
    return replace(
        support,
        x=x_TSF.masked_fill(~mask_TF[:, None], 0.0),
        feature_mask=mask_TF,
        categorical=support.categorical.gather(1, column_TF) & mask_TF,
    )
