"""Deep kernel transfer."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.episode import Episodes, Support
from metamine.methods.base import Method, only_present

FLOOR = 1e-4  # least noise, as a share of the kernel's scale: float32 cannot factor without


class DKT(Method):
    """Massimiliano Patacchiola, Jack Turner, Elliot Crowley, Michael O'Boyle, Amos Storkey:
    "Bayesian Meta-Learning for the Few-Shot Setting via Deep Kernels" (2020), section 3.

    Each task is a Gaussian process on learned features; all tasks share its kernel, whose
    parameters, the features among them, maximise the marginal likelihood of each task's rows:

        k(x, x') = a exp(-||f(x) - f(x')||^2 / 2 l^2)
        loss = -log N(y; 0, K + s I) over support and query rows
        m(x) = k(x, X) (K + s I)^-1 y over support rows

    Classes are targets of 1 against -1 for the rest, one process each; the paper takes the class
    with the largest m_k. So does p(y = k | x) = softmax_k(m_k / v), with the variance v of a
    target; for two classes these are the odds that the process gives. Two support rows may scale a
    regression's targets to hundreds, so the loss divides them by their root mean square: m does
    not depend on units. ||.||^2 is a mean over the numbers of an embedding, where the paper sums.

    encoder: f.

    Good for both kinds of task with few rows; about as cheap as ProtoNet at few shots, cubic in
    their number.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.log_scale = nn.Parameter(torch.tensor(0.0))  # of a
        self.log_length = nn.Parameter(torch.tensor(0.0))  # of l
        self.log_noise = nn.Parameter(torch.tensor(-2.0))  # of s

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        z_TSD, z_TQD = self.encoder(support, None), self.encoder(support, query_x)
        root_TSS = self._root(z_TSD, torch.ones_like(z_TSD[..., 0]))
        across_TSQ = _solve(root_TSS, self._kernel(z_TSD, z_TQD))
        mean_TQC = across_TSQ.mT @ _solve(root_TSS, _targets(support, support.y))
        if support.kind == "regression":
            return mean_TQC
        explained_TQ = across_TSQ.square().sum(dim=1)
        variance_TQ = self.log_scale.exp() + self._noise() - explained_TQ
        return only_present(mean_TQC / variance_TQ[..., None], support)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        """-log marginal likelihood, for each row (and class)."""
        support = episodes.support
        z_TSD, z_TQD = self.encoder(support, None), self.encoder(support, episodes.query_x)
        y_TNC = torch.cat([_targets(support, y) for y in (support.y, episodes.query_y)], dim=1)
        known_TQ, asked_TC = torch.ones_like(z_TQD[..., 0]), torch.ones_like(y_TNC[:, 0])
        if support.kind == "regression":
            y_TNC = y_TNC / y_TNC.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
        else:  # what the support lacks is left out
            known_TQ = support.present_TC.gather(1, episodes.query_y).to(z_TQD)
            asked_TC = support.present_TC.to(z_TQD)
        known_TN = torch.cat([torch.ones_like(z_TSD[..., 0]), known_TQ], dim=1)
        root_TNN = self._root(torch.cat([z_TSD, z_TQD], dim=1), known_TN)
        misfit_TC = _solve(root_TNN, y_TNC * known_TN[..., None]).square().sum(dim=1)
        log_det_T = 2 * root_TNN.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        constant_T = math.log(2 * math.pi) * known_TN.sum(dim=1)
        loss_TC = (misfit_TC + (log_det_T + constant_T)[:, None]) / 2
        return (loss_TC * asked_TC).sum() / (known_TN.sum(dim=1) * asked_TC.sum(dim=1)).sum()

    def _kernel(
        self, a_TND: Float[Tensor, "T N D"], b_TMD: Float[Tensor, "T M D"]
    ) -> Float[Tensor, "T N M"]:
        # By differences: far outliers leave no rounding that makes the matrix indefinite.
        distance_TNM = torch.cdist(a_TND, b_TMD, compute_mode="donot_use_mm_for_euclid_dist")
        length_2 = 2 * self.encoder.width * (2 * self.log_length).exp()
        return (self.log_scale - distance_TNM.square() / length_2).exp()

    def _noise(self) -> Float[Tensor, ""]:
        return self.log_noise.exp() + FLOOR * self.log_scale.exp()

    def _root(
        self, z_TND: Float[Tensor, "T N D"], known_TN: Float[Tensor, "T N"]
    ) -> Float[Tensor, "T N N"]:
        """Cholesky factor of K + s I; rows that are not known stand apart, with variance 1."""
        kernel_TNN = self._kernel(z_TND, z_TND) * known_TN[:, None] * known_TN[..., None]
        noise_TN = self._noise() * known_TN + 1 - known_TN
        return torch.linalg.cholesky_ex(kernel_TNN + noise_TN.diag_embed()).L


def _solve(
    root_TNN: Float[Tensor, "T N N"], right_TNM: Float[Tensor, "T N M"]
) -> Float[Tensor, "T N M"]:
    return torch.linalg.solve_triangular(root_TNN, right_TNM, upper=False)


def _targets(
    support: Support, y_TN: Int64[Tensor, "T N"] | Float[Tensor, "T N"]
) -> Float[Tensor, "T N C"]:
    """Each class against the rest, as 1 and -1; the targets themselves in a regression."""
    if support.kind == "regression":
        return y_TN[..., None]
    member_TNC = y_TN[..., None] == torch.arange(support.way, device=y_TN.device)
    return 2 * member_TNC.to(support.x) - 1
