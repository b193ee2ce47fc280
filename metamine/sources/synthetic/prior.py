"""What every prior offers: a batch of tables, drawn at once."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float, Int64
from torch import Generator, Tensor

# What `draw` gives: columns, and class ids or targets.
Drawn = tuple[Float[Tensor, "T F M"], Int64[Tensor, "T M"] | Float[Tensor, "T M"]]


class Prior(ABC):
    """A distribution over tables: how features and labels come about."""

    @abstractmethod
    def draw(
        self,
        n_rows: int,
        n_features_T: Int64[Tensor, " T"],
        class_size_TC: Int64[Tensor, "T C"] | None,
        generator: Generator,
    ) -> Drawn:
        """One table of `n_rows` rows for each task, as wide as the widest.

        class_size_TC: how many rows each class must have; None asks for regression.
        Only the first `n_features_T` columns of a task count: the target must depend on no other.
        Columns come first, as rows of one column are worked on together.
        """
