"""A linear function of the columns: an optimizee with nothing of its own to learn."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from metamine.episode import Support
from metamine.methods.optimization.network import Weights


class LinearModel(nn.Module):
    """Answers x' w, one w for each output, from w = 0. Offers what `Network` does, without weights.

    Categories are given by their codes. The loss of a regression task is a quadratic of w,
    ||X w - y||^2 / S: what an optimizer can be learned for without a network.
    """

    def initial(self, support: Support) -> Weights:
        """w = 0, once for each task."""
        shape = (support.n_tasks, support.n_outputs, support.x.shape[2])
        return {"head": support.x.new_zeros(shape).requires_grad_()}  # steps are along its gradient

    def embed(
        self, phi: Mapping[str, Tensor], support: Support, x: Float[Tensor, "T N F"] | None
    ) -> Float[Tensor, "T N F"]:
        """The columns of rows (None: the support's own); missing cells are 0."""
        return (support.x if x is None else x).nan_to_num()

    def read(self, phi: Weights, z_TNF: Float[Tensor, "T N F"]) -> Float[Tensor, "T N C"]:
        return z_TNF @ phi["head"].mT
