"""Hypernetwork."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.encoders.layers import mlp
from metamine.encoders.pooled import Pooled
from metamine.episode import Support
from metamine.methods.base import Method
from metamine.methods.metric.class_means import class_means
from metamine.methods.model.emitted import EmittedModel
from metamine.methods.model.neural_process import overall_mean


class Hypernetwork(Method):
    """Andreas Müller, Carlo Curino, Raghu Ramakrishnan: "MotherNet: A Foundational Hypernetwork for
    Tabular Classification" (2023), section 3.

    Reading the support, a network writes the weights of a small one, which answers alone: `emit`
    gives it, and it can be saved and run with NumPy. Class by class:

        m_ci = mean over rows n of class c of f(x_ni, y_n, z_n),    z_n the row's embedding
        v_ci = g(m_ci, mean_c m_ci, rows of c)                      a class, seen in one column
        d    = mean_ci v_ci                                         the task
        s_c  = h(mean_i v_ci, d, mean of z_n over c, columns)       a class
        A_ci = a(v_ci, s_c) / sqrt(columns),    (r_c, w_c, b_c) = b(s_c)
        logit_c = <w_c, relu(r_c + sum_i A_ci (x_i, is x_i missing))> + b_c

    The paper's transformer reads up to 100 columns and 10 classes and writes two hidden layers, as
    products of low rank. Here every column and every class has its weights from what was seen of
    it, so there may be any number of both, in any order; one hidden layer, with units of its own
    for every class, suffices. A regression is a single class, and f reads its targets.

    encoder: of z.
    hidden: width of f, g, h, a and b.
    units: of the hidden layer that is written, for each class.

    Good where a model has to be small, fast and without dependencies once it is there.
    """

    def __init__(self, encoder: Encoder, hidden: PositiveInt, units: PositiveInt) -> None:
        super().__init__()
        self.encoder = Pooled(encoder, hidden)
        self.cell = mlp(self.encoder.width + 4, hidden, hidden)  # f
        self.part = mlp(2 * hidden + 1, hidden, hidden)  # g
        self.klass = mlp(2 * hidden + self.encoder.width + 1, hidden, hidden)  # h
        self.inward = mlp(2 * hidden, hidden, 2 * units)  # a
        self.outward = mlp(hidden, hidden, 2 * units + 1)  # b
        self.units = units

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        return self.emit(support)(query_x)

    def emit(self, support: Support) -> EmittedModel:
        """The model of every task. To keep that of the first, with a run's weights:

        method = trained_method(Path("outputs/train/DATE/RUN"))  # from metamine.trained
        with torch.no_grad():
            method.emit(support).save("model.npz")
        """
        v_TCFH, s_TCH = self._read(support)
        s_TCFH = s_TCH[:, :, None].expand_as(v_TCFH)
        real_TF = support.feature_mask.to(s_TCH)
        share_TF = real_TF * real_TF.sum(dim=1, keepdim=True).rsqrt()
        inward_TCFK = self.inward(torch.cat([v_TCFH, s_TCFH], dim=-1))
        inward_TCFK = inward_TCFK * share_TF[:, None, :, None]
        inward_TCU2F = inward_TCFK.unflatten(-1, (-1, 2)).permute(0, 1, 3, 4, 2)
        sizes = [self.units, self.units, 1]
        shift_TCU, outward_TCU, bias_TC1 = self.outward(s_TCH).split(sizes, dim=-1)
        # In the row of a class, the units of others are 0.
        own_CC = torch.eye(support.n_outputs, dtype=torch.bool, device=s_TCH.device)
        outward_TCCU = outward_TCU[:, None].where(own_CC[..., None], 0.0)
        bias_TC = bias_TC1[..., 0]
        if support.kind == "classification":
            bias_TC = bias_TC.masked_fill(~support.present_TC, -torch.inf)
        return EmittedModel(
            inward_TUI=inward_TCU2F.flatten(1, 2).flatten(2),
            shift_TU=shift_TCU.flatten(1),
            outward_TCU=outward_TCCU.flatten(2),
            bias_TC=bias_TC,
            feature_mask=support.feature_mask,
            n_outputs=support.n_classes.clamp(min=1),
        )

    def _read(self, support: Support) -> tuple[Float[Tensor, "T C F H"], Float[Tensor, "T C H"]]:
        """v and s: what the support shows of classes in columns, and of classes."""
        x_TSF, z_TSD = support.x, self.encoder(support, None)
        real_TF = support.feature_mask.to(x_TSF)
        n_columns_T1 = real_TF.sum(dim=1, keepdim=True)
        y_TS = support.y if support.kind == "regression" else torch.zeros_like(x_TSF[..., 0])
        told = (
            x_TSF.nan_to_num(),
            x_TSF.isnan().to(x_TSF),
            support.categorical.to(x_TSF)[:, None].expand_as(x_TSF),
            y_TS[..., None].expand_as(x_TSF),
        )
        z_TSFD = z_TSD[:, :, None].expand(-1, -1, x_TSF.shape[2], -1)
        cell_TSFH = self.cell(torch.cat([torch.stack(told, dim=-1), z_TSFD], dim=-1))
        m_TCX = class_means(cell_TSFH.flatten(2), support)
        mean_TCX = overall_mean(m_TCX, support)[:, None].expand_as(m_TCX)
        both_TCFH = [each.unflatten(2, cell_TSFH.shape[2:]) for each in (m_TCX, mean_TCX)]
        rows_TCF1 = _rows(support).log1p()[..., None, None].expand(-1, -1, x_TSF.shape[2], 1)
        v_TCFH = self.part(torch.cat([*both_TCFH, rows_TCF1], dim=-1))
        mean_TCH = torch.einsum("tf,tcfh->tch", real_TF / n_columns_T1, v_TCFH)
        d_TCH = overall_mean(mean_TCH, support)[:, None].expand_as(mean_TCH)
        n_columns_TC1 = n_columns_T1.log()[:, None].expand(-1, d_TCH.shape[1], 1)
        of_rows_TCD = class_means(z_TSD, support)
        return v_TCFH, self.klass(torch.cat([mean_TCH, d_TCH, of_rows_TCD, n_columns_TC1], dim=-1))


def _rows(support: Support) -> Float[Tensor, "T C"]:
    """How many support rows each class has."""
    if support.kind == "regression":
        return torch.ones_like(support.y).sum(dim=1, keepdim=True)
    return support.member_TSC.sum(dim=1).to(support.x)
