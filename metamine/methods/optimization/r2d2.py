"""A head in closed form: ridge regression on learned features."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.episode import Support
from metamine.methods.base import Method, only_present

FLOOR = 1e-5  # least ridge, as a share of the mean square of an embedding: float32 needs it


class R2D2(Method):
    """Luca Bertinetto, João F. Henriques, Philip H. S. Torr, Andrea Vedaldi: "Meta-Learning with
    Differentiable Closed-Form Solvers" (2019), section 3.2.

    Each task's head solves a ridge regression on its embedded support rows Z, with a constant
    beside the embedding; the loss of the query rows is differentiated through the solution:

        W = argmin ||Z W - Y||^2 + lambda ||W||^2 = Z' (Z Z' + lambda I)^-1 Y
        p(y = k | x) = softmax_k(alpha f(x) W)

    By Woodbury's identity, the second form, what is solved is as large as the support, whatever the
    width of the embedding. Y is one-hot, or the target; lambda and alpha are learned. The paper
    also learns a shift of the logits, which is the same for all classes and changes no answer. A
    regression is answered with f(x) W itself.

    encoder: f.

    Good for both kinds of task: a head adapted to the end at the cost of a metric learner.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.log_ridge = nn.Parameter(torch.tensor(0.0))
        self.log_scale = nn.Parameter(torch.tensor(math.log(5)))

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        z_TSD, z_TQD = (F.pad(self.encoder(support, x), (0, 1), value=1.0) for x in (None, query_x))
        solution_TSC = ridge(z_TSD @ z_TSD.mT, _targets(support).to(z_TSD), self.log_ridge.exp())
        answer_TQC = z_TQD @ z_TSD.mT @ solution_TSC
        if support.kind == "regression":
            return answer_TQC
        return only_present(self.log_scale.exp() * answer_TQC, support)


def ridge(
    gram_TSS: Float[Tensor, "T S S"], y_TSC: Float[Tensor, "T S C"], strength: Float[Tensor, ""]
) -> Float[Tensor, "T S C"]:
    """(Z Z' + lambda I)^-1 Y, which Z' turns into W."""
    mean_square_T = gram_TSS.diagonal(dim1=1, dim2=2).mean(dim=1)
    ridge_TS = (strength + FLOOR * mean_square_T)[:, None].expand(gram_TSS.shape[:2])
    root_TSS = torch.linalg.cholesky_ex(gram_TSS + ridge_TS.diag_embed()).L
    return torch.cholesky_solve(y_TSC, root_TSS)


def _targets(support: Support) -> Tensor:
    """One-hot classes; the targets themselves in a regression."""
    return support.y[..., None] if support.kind == "regression" else support.member_TSC
