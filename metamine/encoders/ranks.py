"""Where a cell stands among the support's cells of its column."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def ranks(
    x_TNF: Float[Tensor, "T N F"], support_x: Float[Tensor, "T S F"]
) -> Float[Tensor, "T N F"]:
    """Share of the support's cells of the column that are smaller, ties half, from -1 to 1.

    Missing cells, and cells of a column that the support lacks, stand at 0.
    """
    seen_TSF = ~support_x.isnan()
    sorted_TFS = support_x.masked_fill(~seen_TSF, torch.inf).mT.contiguous().sort(dim=-1).values
    x_TFN = x_TNF.nan_to_num().mT.contiguous()
    count_TF1 = seen_TSF.sum(dim=1)[..., None]
    below, upto = (
        torch.searchsorted(sorted_TFS, x_TFN, right=right).minimum(count_TF1)
        for right in (False, True)
    )
    rank_TFN = (below + upto).to(x_TNF) / count_TF1.clamp(min=1) - 1
    return (rank_TFN * (count_TF1 > 0)).mT.masked_fill(x_TNF.isnan(), 0.0)
