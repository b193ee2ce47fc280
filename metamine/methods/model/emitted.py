"""The small network that a hypernetwork writes; it needs nothing but its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metamine.files import write_whole


@dataclass(frozen=True)
class EmittedModel:
    """One hidden layer, whose weights differ between T tasks. U hidden units, I = 2 F inputs.

    Rows are as an episode holds them: numbers standardised on the support rows, NaN = missing.
    A file holds the model of one task, without padding; reading it takes NumPy alone:

        file = np.load("model.npz")
        x = np.concatenate([np.nan_to_num(x), np.isnan(x)], axis=1)
        hidden = np.maximum(x @ file["inward"].T + file["shift"], 0)
        answer = hidden @ file["outward"].T + file["bias"]

    with an answer for each row: a logit for each class, -inf if the support had no row of it; in a
    regression the one number, standardised as the targets of the support are.
    """

    inward_TUI: Float[Tensor, "T U I"]  # first half of I: of values, second: of missing ones
    shift_TU: Float[Tensor, "T U"]
    outward_TCU: Float[Tensor, "T C U"]
    bias_TC: Float[Tensor, "T C"]
    feature_mask: Bool[Tensor, "T F"]  # False = padding
    n_outputs: Int64[Tensor, " T"]  # the rest of C is padding

    def __call__(self, x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        inputs_TQI = torch.cat([x.nan_to_num(), x.isnan().to(x)], dim=-1)
        hidden_TQU = torch.baddbmm(self.shift_TU[:, None], inputs_TQI, self.inward_TUI.mT).relu()
        return hidden_TQU @ self.outward_TCU.mT + self.bias_TC[:, None]

    def save(self, path: str | Path, task: int = 0) -> None:
        """Write the model of one task into a .npz file, whole or not at all."""
        real_I = self.feature_mask[task].repeat(2)
        outward_CU = self.outward_TCU[task, : int(self.n_outputs[task])]
        read_U = (outward_CU != 0).any(dim=0)
        tensors = {
            "inward": self.inward_TUI[task][read_U][:, real_I],
            "shift": self.shift_TU[task, read_U],
            "outward": outward_CU[:, read_U],
            "bias": self.bias_TC[task, : len(outward_CU)],
        }
        arrays: Any = {name: each.detach().cpu().numpy() for name, each in tensors.items()}
        write_whole(Path(path), lambda file: np.savez(file, **arrays))

    @staticmethod
    def load(path: str | Path) -> EmittedModel:
        """The model that a file holds, as a batch of one task."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: torch.from_numpy(file[name])[None] for name in file.files}
        n_features = arrays["inward"].shape[2] // 2
        return EmittedModel(
            inward_TUI=arrays["inward"],
            shift_TU=arrays["shift"],
            outward_TCU=arrays["outward"],
            bias_TC=arrays["bias"],
            feature_mask=torch.ones(1, n_features, dtype=torch.bool),
            n_outputs=torch.tensor([arrays["bias"].shape[1]]),
        )
