"""What the baselines share: the fallback, and probabilities instead of free logits."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.base import Method, only_present

# A class without a vote is held for this likely, so that one surprise does not cost an infinite
# log-loss: the resolution of float32, where sklearn.metrics.log_loss clips too.
LEAST_PROBABILITY = torch.finfo(torch.float32).eps


class Baseline(Method):
    """A learner that sees one task at a time and has nothing to meta-train. Abstract.

    Tasks that it cannot learn (`falls_back`) get the majority answer. Missing cells count as the
    mean of their column, 0 once rows are standardised. Computes in float64, which `mps` lacks.
    """

    def missing(self, kind: Kind) -> str | None:
        """What this machine lacks to run it on tasks of a kind; None: nothing."""
        return None

    @abstractmethod
    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        """Scores of classes up to a constant per row (their softmax is the answer), or numbers.

        Whatever stands at classes without support rows, and at tasks that fall back, is ignored.
        """

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        answer_TQC = only_present(self.answer(support, query_x).double(), support)
        if support.kind == "classification":
            answer_TQC = answer_TQC.log_softmax(dim=-1)
        fallback_T11 = self.falls_back(support)[:, None, None]
        return torch.where(fallback_T11, majority(support), answer_TQC).to(query_x.dtype)


def majority(support: Support) -> Float[Tensor, "T 1 C"]:
    """The answer that needs no features: log frequencies of the classes, or the mean target."""
    if support.kind == "regression":
        return support.y.double().mean(dim=1)[:, None, None]
    return support.member_TSC.double().mean(dim=1, keepdim=True).log()


def one_class(support: Support) -> Bool[Tensor, " T"]:
    """Which tasks show a single class."""
    return support.present_TC.sum(dim=1) == 1


def log_probability(probability_TQC: Float[Tensor, "T Q C"]) -> Float[Tensor, "T Q C"]:
    """Logarithms of votes, kept finite."""
    return probability_TQC.clamp(min=LEAST_PROBABILITY).log()


def complete(x_TNF: Float[Tensor, "T N F"], support: Support) -> Float[Tensor, "T N F"]:
    """The rows in float64 without gaps: missing and padded cells are 0."""
    return torch.where(support.feature_mask[:, None], x_TNF, 0.0).nan_to_num(nan=0.0).double()
