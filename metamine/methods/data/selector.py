"""Algorithm selection: which baseline will do well, from a description of the task."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from metamine.encoders.layers import mlp
from metamine.episode import Episodes, Kind, Support
from metamine.methods.base import Method, only_present, query_loss
from metamine.methods.baseline.base import Baseline
from metamine.methods.data.meta_features import NAMES, meta_features


class Selector(Method):
    """John R. Rice: "The Algorithm Selection Problem" (1976), section 3; by regression on
    meta-features, as Hilan Bensusan, Alexandros Kalousis: "Estimating the Predictive Accuracy of a
    Classifier" (2001).

    What d(t) says of a task foretells how much better than the others each of B baselines will do,
    and its answer counts accordingly:

        r_b(t) = s_b(t) - mean over b of s_b(t)    by the query rows of training tasks
        (r', g) = M(d(t)),    r' = argmin of mean over t, b of (r'_b - r_b)^2
        p(y | x) = sum_b w_b p_b(y | x),    w = softmax(r' / tau + g)

    s is accuracy; in regression, the squared error as a share of the baselines' mean, negative. By
    accuracy alone the weights would trust baselines that are right, but too sure of it: g and tau
    therefore minimise the loss of the weighted answer, as the gate of a mixture of experts does
    (Jacobs et al. 1991). Only support rows go into d(t).

    baselines: the algorithms.
    hidden: width of M.
    temperature: tau to begin with.
    pick: give the answer of the baseline with the highest r' instead.

    Good for learning which simple method suits which task, and for saying so; nearly free to train.
    """

    def __init__(
        self,
        baselines: dict[str, Baseline],
        hidden: PositiveInt,
        temperature: PositiveFloat,
        pick: bool,
    ) -> None:
        super().__init__()
        for kind in sorted(self.kinds):
            if not any(kind in each.kinds for each in baselines.values()):
                raise ValueError(f"baselines: none of {sorted(baselines)} can do {kind}")
        self.baselines = baselines  # which have no parameters
        last = nn.Linear(hidden, 2 * len(baselines))
        nn.init.zeros_(last.weight)  # to begin with, all count alike
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(mlp(len(NAMES), hidden, hidden), nn.ReLU(), last)  # M
        self.log_tau = nn.Parameter(torch.tensor(math.log(temperature)))
        self.pick = pick

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        advantage_TB, log_weight_TB = self.foretold(support)
        if self.pick:
            best_T1 = advantage_TB.argmax(dim=1, keepdim=True)
            log_weight_TB = torch.full_like(advantage_TB, -torch.inf).scatter(1, best_T1, 0.0)
        return _combined(log_weight_TB, self._answers(support, query_x), support)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        """Of the foretold advantages, and of the weighted answer."""
        support = episodes.support
        answer_TBQC = self._answers(support, episodes.query_x)
        advantage_TB, log_weight_TB = self.foretold(support)
        combined_TQC = _combined(log_weight_TB, answer_TBQC, support)
        if support.kind == "regression":
            error_TB, error_T1 = (_errors(each, episodes) for each in (answer_TBQC, combined_TQC))
            mean_T1 = error_TB.mean(dim=1, keepdim=True).clamp(min=1e-12)
            score_TB, loss = -error_TB / mean_T1, (error_T1 / mean_T1).mean()
        else:
            right_TBQ = answer_TBQC.argmax(dim=3) == episodes.query_y[:, None]
            score_TB = right_TBQ.to(advantage_TB).mean(dim=2)
            loss = query_loss(combined_TQC, episodes)
        return F.mse_loss(advantage_TB, score_TB - score_TB.mean(dim=1, keepdim=True)) + loss

    def foretold(self, support: Support) -> tuple[Float[Tensor, "T B"], Float[Tensor, "T B"]]:
        """r' and log w, of the baselines that can do the kind of task."""
        told_TK = meta_features(support).asinh()  # some have long tails
        advantage_TB, trust_TB = (
            part[:, self._able(support.kind)] for part in self.net(told_TK).chunk(2, dim=1)
        )
        advantage_TB = advantage_TB - advantage_TB.mean(dim=1, keepdim=True)
        scaled_TB = advantage_TB.detach() / self.log_tau.exp()
        return advantage_TB, (scaled_TB + trust_TB).log_softmax(dim=1)

    def _able(self, kind: Kind) -> list[int]:
        return [place for place, each in enumerate(self.baselines.values()) if kind in each.kinds]

    @torch.no_grad()
    def _answers(self, support: Support, query_x: Tensor) -> Float[Tensor, "T B Q C"]:
        able = [each for each in self.baselines.values() if support.kind in each.kinds]
        return torch.stack([each.predict(support, query_x) for each in able], dim=1)


def _combined(
    log_weight_TB: Float[Tensor, "T B"], answer_TBQC: Float[Tensor, "T B Q C"], support: Support
) -> Float[Tensor, "T Q C"]:
    """The weighted mean of probabilities, as logits, or of numbers."""
    log_weight_TB11 = log_weight_TB[..., None, None]
    if support.kind == "regression":
        return (log_weight_TB11.exp() * answer_TBQC).sum(dim=1)
    # Classes that no baseline may answer would turn gradients into NaN.
    possible_TBQC = answer_TBQC.masked_fill(~support.present_TC[:, None, None], 0.0)
    return only_present((log_weight_TB11 + possible_TBQC).logsumexp(dim=1), support)


def _errors(answer: Float[Tensor, "T *B Q 1"], episodes: Episodes) -> Float[Tensor, "T B"]:
    """Mean squared errors of one or several answers."""
    several_TBQ = answer[..., 0].view(answer.shape[0], -1, answer.shape[-2])
    return (several_TBQ - episodes.query_y[:, None]).square().mean(dim=2)
