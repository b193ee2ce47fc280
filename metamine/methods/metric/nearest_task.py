"""Starting from where similar tasks ended."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.episode import Episodes, Support
from metamine.methods.base import Method, only_present, query_loss
from metamine.methods.metric.similarity import TaskSimilarity, labelled
from metamine.methods.optimization.inner_loop import clipped, descend
from metamine.methods.optimization.network import Network, Weights, support_losses


class NearestTask(Method):
    """Hadi Jomaa, Lars Schmidt-Thieme, Josif Grabocka: "Dataset2Vec: Learning Dataset
    Meta-Features" (2021), section 5, for the similarity of tasks; the warm start from it is
    metamine's own.

    What a task adapts is one scale c for each number of its rows' embedding z, and the head (a, b):

        answer = a ((1 + c) * z) + b

    A bank keeps the last tasks of training: d(t_m), and the c_m to which K steps on all their rows
    led from 0. A new task begins with the c of the tasks most similar to it, where c = 0 counts as
    one more, of similarity 1, and takes K steps on its support rows:

        c_0 = sum_m s(t, t_m) c_m / (1 + sum_m s(t, t_m)),    over the nearest m
        (c, a, b)_(j+1) = (c, a, b)_j - alpha grad L_support((c, a, b)_j)
        min over z, a_0, b_0 and d of L_query((c, a, b)_K) + L_similarity(d)

    The head starts from a_0, b_0: classes have no names that two tasks could share. What is in the
    bank is a constant: no gradient of L_query reaches d, which learns from the log-loss of the
    similarity alone. `loss` fills the bank, which is part of checkpoints; answering only reads it.

    encoder: gives z.
    similarity: s and d.
    bank: tasks kept; a new one takes the place of the oldest.
    nearest: tasks that are mixed into a start.
    inner_lr: alpha.
    inner_steps: K.
    inner_clip: bound on the norm of each task's gradient; null for none.

    Good where new tasks are like some of the training tasks; and where it is asked which tables are
    alike, for `metamine tasks similarity` makes a map of them.
    """

    ordered_loss: ClassVar[bool] = True
    bank_d: Tensor
    bank_scale: Tensor
    filled: Tensor

    def __init__(
        self,
        encoder: Encoder,
        similarity: TaskSimilarity,
        bank: PositiveInt,
        nearest: PositiveInt,
        inner_lr: PositiveFloat,
        inner_steps: NonNegativeInt,
        inner_clip: PositiveFloat | None,
    ) -> None:
        if nearest > bank:
            raise ValueError(f"nearest={nearest} of a bank={bank}: lower nearest or raise bank")
        super().__init__()
        self.network, self.similarity, self.nearest = Network(encoder), similarity, nearest
        self.inner_lr, self.inner_steps, self.inner_clip = inner_lr, inner_steps, inner_clip
        self.register_buffer("bank_d", torch.zeros(bank, similarity.encoder.width))
        self.register_buffer("bank_scale", torch.zeros(bank, encoder.width))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))  # tasks, ever

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        encoder = self.network.encoder
        z_TSD, z_TQD = encoder(support, None), encoder(support, query_x)
        phi = self._adapted(self.start(support), z_TSD, support)
        return only_present(self._outputs(phi, z_TQD), support)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        prediction_TQC = self.predict(episodes.support, episodes.query_x)
        loss = query_loss(prediction_TQC, episodes) + self.similarity.loss(episodes)
        self._remember(episodes)
        return loss

    @torch.no_grad()
    def start(self, support: Support) -> Float[Tensor, "T W"]:
        """c_0, from the bank; 0 while there is nothing in it."""
        log_TM = F.logsigmoid(self.similarity(self.similarity.embed(support), self.bank_d))
        there_M = torch.arange(log_TM.shape[1], device=log_TM.device) < self.filled
        near_TK = log_TM.masked_fill(~there_M, -torch.inf).topk(self.nearest, dim=1)
        share_TK = F.pad(near_TK.values, (0, 1)).softmax(dim=1)[:, :-1]
        return (share_TK[..., None] * self.bank_scale[near_TK.indices]).sum(dim=1)

    @torch.no_grad()
    def _remember(self, episodes: Episodes) -> None:
        whole = labelled(episodes)
        z_TND = self.network.encoder(whole, None)
        nothing_TW = z_TND.new_zeros(whole.n_tasks, self.bank_scale.shape[1])
        scale_TW = self._adapted(nothing_TW, z_TND, whole)["scale"]
        d_TD = self.similarity.embed(episodes.support)  # a new task has its support alone, too
        size = len(self.bank_d)
        place_T = (self.filled + torch.arange(whole.n_tasks, device=d_TD.device))[-size:] % size
        # New tensors: the graph of the loss may still need the old ones.
        self.bank_d = self.bank_d.index_copy(0, place_T, d_TD[-size:])
        self.bank_scale = self.bank_scale.index_copy(0, place_T, scale_TW[-size:])
        self.filled = self.filled + whole.n_tasks

    def _adapted(
        self, scale_TW: Float[Tensor, "T W"], z_TND: Float[Tensor, "T N D"], support: Support
    ) -> Weights:
        theta = self.network.initial(support)
        return descend(
            lambda phi: support_losses(self._outputs(phi, z_TND), support),
            {"scale": scale_TW.requires_grad_(), "head": theta["head"], "bias": theta["bias"]},
            self._step,
            self.inner_steps,
            second_order=True,
        )

    def _outputs(self, phi: Weights, z_TND: Float[Tensor, "T N D"]) -> Float[Tensor, "T N C"]:
        scale_TW = 1 + phi["scale"]
        n_columns = z_TND.shape[2] // scale_TW.shape[1]  # 1, unless the encoder keeps them apart
        return self.network.read(phi, z_TND * scale_TW.repeat(1, n_columns)[:, None])

    def _step(self, step: int, phi: Weights, slopes: Weights) -> Weights:
        slopes = clipped(slopes, self.inner_clip)
        return {name: weight - self.inner_lr * slopes[name] for name, weight in phi.items()}
