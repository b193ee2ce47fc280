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
    any_column_order: bool  # True: the order of columns changes no embedding
    # False: the names of classes change embeddings; only on average over tasks they do not matter
    any_class_names: bool = True
    max_features: int | None = None  # of a wider table, that many columns are read at a time

    @abstractmethod
    def forward(self, support: Support, x: Float[Tensor, "T N F"] | None) -> Float[Tensor, "T N D"]:
        """Embed rows of the tasks that `support` describes; None: the support's own rows.

        D is `width`, or F * `width` for an encoder that keeps columns apart (`per_column`); padded
        columns are 0 there. The embedding of a row depends on the support and on the row itself,
        never on the other rows of `x`.
        """
