"""Every learner's contract: `predict` adapts and answers, meta-training minimises `loss`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.episode import Episodes, Kind, Support


class Method(nn.Module, ABC):
    """A learner of learners; meta-training updates its parameters. Subclasses are final.

    What a learner claims, and tests hold it to. Where it claims less, the thing matters to single
    answers, though on average over tasks it does not, since episodes come in random order.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification", "regression"})
    any_support_order: ClassVar[bool] = True  # the order of support rows changes no answer
    any_class_names: ClassVar[bool] = True  # nor do the names of classes, if not to its encoder
    any_column_order: ClassVar[bool] = True  # nor does the order of columns, likewise
    ordered_loss: ClassVar[bool] = False  # the loss draws, or remembers: the order of calls matters

    @abstractmethod
    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        """Adapt to each task on its support rows, then answer its query rows.

        Returns logits, -inf for classes without a support row; for regression one number a row
        (C = 1). A pure function of its arguments and the parameters: query labels are no argument,
        so no method can look at them.
        """

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        """Meta-training objective: mean query loss, unless the method has its own."""
        return query_loss(self.predict(episodes.support, episodes.query_x), episodes)

    def spread(
        self, support: Support, query_x: Float[Tensor, "T Q F"]
    ) -> Float[Tensor, "T Q"] | None:
        """Standard deviation of each target about its answer; None: the method gives none."""
        return None

    def column_subsets(self, support: Support) -> Int64[Tensor, " T"]:
        """In how many subsets of its columns each table is read; 1, unless it is too wide."""
        width_T = support.feature_mask.sum(dim=1)
        sizes = [each.max_features for each in self.modules() if isinstance(each, Encoder)]
        limits = [size for size in sizes if size is not None]
        return -(-width_T // min(limits)) if limits else torch.ones_like(width_T)

    def falls_back(self, support: Support) -> Bool[Tensor, " T"]:
        """Tasks that this learner cannot learn and answers in a simpler way, which it states."""
        return torch.zeros(support.n_tasks, dtype=torch.bool, device=support.x.device)


def query_loss(prediction_TQC: Float[Tensor, "T Q C"], episodes: Episodes) -> Float[Tensor, ""]:
    """Mean cross-entropy, or mean squared error, over the query rows.

    Query rows of a class that the support lacks teach nothing and are left out.
    """
    if episodes.support.kind == "regression":
        return F.mse_loss(prediction_TQC[..., 0], episodes.query_y)
    known_TQ = episodes.support.present_TC.gather(1, episodes.query_y)
    target_TQ = episodes.query_y.masked_fill(~known_TQ, -100)
    total = F.cross_entropy(
        prediction_TQC.flatten(0, 1), target_TQ.flatten(), ignore_index=-100, reduction="sum"
    )
    return total / known_TQ.sum().clamp(min=1)


def only_present(logits_TQC: Float[Tensor, "T Q C"], support: Support) -> Tensor:
    """Logits with -inf for padded classes and classes that have no support row."""
    if support.kind == "regression":
        return logits_TQC
    return logits_TQC.masked_fill(~support.present_TC[:, None], float("-inf"))
