"""Classes by a vote over the support rows."""

from __future__ import annotations

import torch
from jaxtyping import Float

from metamine.episode import Support


def votes(score_TQS: Float[torch.Tensor, "T Q S"], support: Support) -> torch.Tensor:
    """log p of each class: the attention that its support rows get, summed.

    Finite also for a class without rows, since a logarithm of 0 would spoil gradients.
    """
    log_a_TQS1 = score_TQS.log_softmax(dim=-1)[..., None]
    others_T1SC = ~support.member_TSC[:, None]
    return log_a_TQS1.masked_fill(others_T1SC, torch.finfo(score_TQS.dtype).min).logsumexp(dim=2)
