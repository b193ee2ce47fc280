"""What every encoder offers: embeddings for the rows of any table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from metamine.episode import Support


class Encoder(nn.Module, ABC):
    """Rows of T tables of any width to embeddings. Subclasses are final.

    Built of `metamine.encoders.layers`, so that a method may give each task its own weights.
    """

    width: int  # numbers in an embedding, or in its part for each column
    per_column: ClassVar[bool] = False  # True: columns stay apart, D = F * width

    @abstractmethod
    def forward(self, support: Support, x: Float[Tensor, "T N F"]) -> Float[Tensor, "T N D"]:
        """Embed rows, which may be the support's own, of the tasks that `support` describes.

        D is `width`, or F * `width` for an encoder that keeps columns apart (`per_column`); padded
        columns are 0 there. The embedding of a row depends on the support and on the row
        itself, never on the other rows of `x`.
        """
