"""Ridge regression."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from metamine.episode import Kind, Support
from metamine.methods.baseline.base import Baseline
from metamine.methods.baseline.geometry import centred, inner_products


class Ridge(Baseline):
    """Least `||y - Xw - b||^2 + alpha ||w||^2`, with `w = X'a`, `a = (XX' + alpha I)^-1 y`.

    X and y are centred on the support first, so that the intercept b goes unpunished. Equals
    `sklearn.linear_model.Ridge`, whose own alpha, 1, is too trusting for a few rows.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"regression"})

    def __init__(self, alpha: Annotated[float, Field(gt=0)]) -> None:
        super().__init__()
        self.alpha = alpha

    def answer(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q 1"]:
        y_TS1 = support.y[..., None].double()
        mean_T11 = y_TS1.mean(dim=1, keepdim=True)
        raw_TSS = inner_products(support.x, support)
        identity_SS = torch.eye(raw_TSS.shape[1], dtype=raw_TSS.dtype, device=raw_TSS.device)
        system_TSS = centred(raw_TSS, raw_TSS) + self.alpha * identity_SS
        dual_TS1 = torch.linalg.solve_ex(system_TSS, y_TS1 - mean_T11).result
        return centred(inner_products(query_x, support), raw_TSS) @ dual_TS1 + mean_T11
