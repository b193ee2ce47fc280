"""Scores of predictions, one number per episode; all in float64 on the CPU.

A classification metric is a function of (probability_TQC, y_TQ), a regression metric of
(prediction_TQ, y_TQ); each returns value_T. Classes that do not occur in the query take no part in
the metrics that average over classes. NaN where a metric is not defined, e.g. the area under a
curve when the query rows are all of one class.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from metamine.episode import Episodes, Kind
from metamine.errors import MetamineError

BINS = 10  # of equal width, for calibration
EPSILON = torch.finfo(torch.float64).eps


def accuracy(probability_TQC: Tensor, y_TQ: Tensor) -> Tensor:
    """Share of rows whose most probable class is right.

    Ties go to the lowest class id (as numpy's argmax); ids are permuted per episode, so that is as
    fair as tossing a coin.
    """
    return _correct_TQ(probability_TQC, y_TQ).mean(dim=1)


def balanced_accuracy(probability_TQC: Tensor, y_TQ: Tensor) -> Tensor:
    """Mean recall of the classes."""
    member_TQC = _member_TQC(probability_TQC, y_TQ)
    hit_TC = (member_TQC * _correct_TQ(probability_TQC, y_TQ)[..., None]).sum(dim=1)
    return (hit_TC / member_TQC.sum(dim=1)).nanmean(dim=1)  # 0 / 0 = NaN: no such row


def roc_auc_ovr(probability_TQC: Tensor, y_TQ: Tensor) -> Tensor:
    """Area under the ROC curve, each class against all others, macro average.

    With two classes it is the mean of both directions, so that no class is the positive one.
    """
    count_TC = _member_TQC(probability_TQC, y_TQ).sum(dim=1)
    weight_TCC = count_TC[:, None] * (1 - torch.eye(count_TC.shape[1], dtype=torch.float64))
    area_TCC = _separation_TCC(probability_TQC, y_TQ).nan_to_num(0.0)
    area_TC = (area_TCC * weight_TCC).sum(dim=2) / weight_TCC.sum(dim=2)
    return area_TC.masked_fill(count_TC == 0, torch.nan).nanmean(dim=1)


def roc_auc_ovo(probability_TQC: Tensor, y_TQ: Tensor) -> Tensor:
    """Area under the ROC curve of each pair of classes, both directions, macro average.

    Hand and Till, "A Simple Generalisation of the Area Under the ROC Curve" (2001).
    """
    pairs_CC = ~torch.eye(probability_TQC.shape[2], dtype=torch.bool)
    return _separation_TCC(probability_TQC, y_TQ)[:, pairs_CC].nanmean(dim=1)


def log_loss(probability_TQC: Tensor, y_TQ: Tensor) -> Tensor:
    """Mean of -log p(true class), p clipped to [2.2e-16, 1 - 2.2e-16] as scikit-learn does.

    A row of a class that the support lacks has p = 0 and costs 36.04.
    """
    p_TQ = probability_TQC.gather(2, y_TQ[..., None])[..., 0]
    return -p_TQ.clamp(EPSILON, 1 - EPSILON).log().mean(dim=1)


def brier(probability_TQC: Tensor, y_TQ: Tensor) -> Tensor:
    """Squared distance to the one-hot truth: sum over classes, mean over rows; in [0, 2]."""
    error_TQC = probability_TQC - _member_TQC(probability_TQC, y_TQ)
    return error_TQC.square().sum(dim=2).mean(dim=1)


def calibration_bins(probability_TQC: Tensor, y_TQ: Tensor) -> dict[str, Float[Tensor, "T 10"]]:
    """How often the most probable class is right, by its probability.

    Per bin (k/10, (k+1)/10]: `bin_count` rows, the sums of their top probability
    (`bin_confidence`) and of their hits (`bin_correct`). Sums, since the expected calibration error
    of a single episode is mostly noise: `statistics` pools episodes before taking differences.
    """
    top_TQ = probability_TQC.amax(dim=2)
    edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1]
    bin_TQ = torch.bucketize(top_TQ, edges)
    sums = {
        "bin_count": torch.ones_like(top_TQ),
        "bin_confidence": top_TQ,
        "bin_correct": _correct_TQ(probability_TQC, y_TQ),
    }
    empty_TK = torch.zeros(len(top_TQ), BINS, dtype=torch.float64)
    return {name: empty_TK.scatter_add(1, bin_TQ, value_TQ) for name, value_TQ in sums.items()}


def mse(prediction_TQ: Tensor, y_TQ: Tensor) -> Tensor:
    """Mean squared error."""
    return (prediction_TQ - y_TQ).square().mean(dim=1)


def rmse(prediction_TQ: Tensor, y_TQ: Tensor) -> Tensor:
    """Root of the mean squared error of an episode."""
    return mse(prediction_TQ, y_TQ).sqrt()


def mae(prediction_TQ: Tensor, y_TQ: Tensor) -> Tensor:
    """Mean absolute error."""
    return (prediction_TQ - y_TQ).abs().mean(dim=1)


def r2(prediction_TQ: Tensor, y_TQ: Tensor) -> Tensor:
    """1 - MSE / variance of the episode's query targets; NaN if those are all equal."""
    variance_T = y_TQ.var(dim=1, correction=0)
    constant_T = (y_TQ == y_TQ[:, :1]).all(dim=1)
    return (1 - mse(prediction_TQ, y_TQ) / variance_T).masked_fill(constant_T, torch.nan)


def log_likelihood(prediction_TQ: Tensor, spread_TQ: Tensor, y_TQ: Tensor) -> Tensor:
    """Mean of log N(y; prediction, spread^2)."""
    return torch.distributions.Normal(prediction_TQ, spread_TQ).log_prob(y_TQ).mean(dim=1)


CLASSIFICATION = (accuracy, balanced_accuracy, roc_auc_ovr, roc_auc_ovo, log_loss, brier)
REGRESSION = (mse, rmse, mae, r2)

# By which metric checkpoints are chosen and a run is summed up; the sign makes more better.
HEADLINE: dict[Kind, tuple[str, int]] = {
    "classification": ("accuracy", 1),
    "regression": ("mse", -1),
}


def score(
    prediction_TQC: Float[Tensor, "T Q C"],
    episodes: Episodes,
    spread_TQ: Float[Tensor, "T Q"] | None = None,
) -> dict[str, Float[Tensor, " T"] | Float[Tensor, "T 10"]]:
    """All metrics of a method's raw output: logits (-inf = impossible class), or numbers (C = 1).

    Regression is scored in standard deviations of the table's target, so an MSE of 1 is what
    always predicting the table's mean would give. `spread_TQ`, of a method that has one, adds the
    log-likelihood.
    Raises MetamineError if a prediction is not a number.
    """
    raw_TQC = prediction_TQC.detach().cpu().double()
    y_TQ = episodes.query_y.cpu()
    if episodes.support.kind == "regression":
        scale_T1 = episodes.target_scale.cpu().double()[:, None]
        value_TQ = _numbers(raw_TQC[..., 0] * scale_T1)
        target_TQ = y_TQ.double() * scale_T1
        errors = {metric.__name__: metric(value_TQ, target_TQ) for metric in REGRESSION}
        if spread_TQ is None:
            return errors
        sigma_TQ = _numbers(spread_TQ.detach().cpu().double() * scale_T1)
        return errors | {"log_likelihood": log_likelihood(value_TQ, sigma_TQ, target_TQ)}
    probability_TQC = _numbers(raw_TQC.softmax(dim=2))
    values = {metric.__name__: metric(probability_TQC, y_TQ) for metric in CLASSIFICATION}
    return values | calibration_bins(probability_TQC, y_TQ)


def _numbers(value: Tensor) -> Tensor:
    broken_T = ~value.isfinite().flatten(1).all(dim=1)
    if broken_T.any():
        raise MetamineError(
            f"{int(broken_T.sum())} of {len(broken_T)} episodes got predictions that are not "
            "finite numbers; lower the learning rates, or look for extreme values in the tables"
        )
    return value


def _correct_TQ(probability_TQC: Tensor, y_TQ: Int64[Tensor, "T Q"]) -> Float[Tensor, "T Q"]:
    return (probability_TQC.argmax(dim=2) == y_TQ).double()


def _member_TQC(probability_TQC: Tensor, y_TQ: Int64[Tensor, "T Q"]) -> Float[Tensor, "T Q C"]:
    return F.one_hot(y_TQ, probability_TQC.shape[2]).double()


def _separation_TCC(probability_TQC: Tensor, y_TQ: Tensor) -> Float[Tensor, "T C C"]:
    """[a, b]: how often a row of class a has a higher p(a) than a row of class b; ties half.

    The Mann-Whitney form of the area under the ROC curve, by ranks: exact, Q log Q. NaN where
    one of the classes does not occur.
    """
    member_TQC = _member_TQC(probability_TQC, y_TQ)
    score_TCQ = probability_TQC.transpose(1, 2).contiguous()
    sorted_TCQ, order_TCQ = score_TCQ.sort(dim=2)
    one_by_one_TCQC = member_TQC[:, None].expand(-1, score_TCQ.shape[1], -1, -1)
    in_order_TCQC = one_by_one_TCQC.gather(2, _as_wide(order_TCQ, one_by_one_TCQC))
    # n_below[k, b]: rows of class b among the k lowest scores
    n_below_TCKC = F.pad(in_order_TCQC.cumsum(dim=2), (0, 0, 1, 0))
    lower_TCQC, upto_TCQC = (
        n_below_TCKC.gather(2, _as_wide(place_TCQ, one_by_one_TCQC))
        for place_TCQ in (
            torch.searchsorted(sorted_TCQ, score_TCQ, right=right) for right in (False, True)
        )
    )
    wins_TCC = torch.einsum("tqa,taqb->tab", member_TQC, (lower_TCQC + upto_TCQC) / 2)
    count_TC = member_TQC.sum(dim=1)
    return wins_TCC / (count_TC[:, :, None] * count_TC[:, None])


def _as_wide(index: Tensor, like: Tensor) -> Tensor:
    return index[..., None].expand_as(like)
