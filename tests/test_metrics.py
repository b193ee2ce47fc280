from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn import metrics as reference
from torch import Tensor

from metamine import metrics
from metamine.episode import Episodes, Support
from metamine.errors import MetamineError

WAY, QUERIES, TASKS = 6, 60, 40


def _episodes(y_TQ: Tensor, way: int, scale_T: Tensor | None = None) -> Episodes:
    n_tasks, n_query = y_TQ.shape
    return Episodes(
        support=Support(
            x=torch.zeros(n_tasks, 1, 1),
            y=y_TQ[:, :1],
            feature_mask=torch.ones(n_tasks, 1, dtype=torch.bool),
            categorical=torch.zeros(n_tasks, 1, dtype=torch.bool),
            n_classes=torch.full((n_tasks,), way),
            way=way,
        ),
        query_x=torch.zeros(n_tasks, n_query, 1),
        query_y=y_TQ,
        target_scale=torch.ones(n_tasks) if scale_T is None else scale_T,
    )


def _classification(decimals: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of tasks with 2 to WAY classes (the rest padded); rounding them makes ties."""
    generator = torch.Generator().manual_seed(0)
    n_classes_T = torch.arange(TASKS) % (WAY - 1) + 2
    every_class_TQ = torch.arange(QUERIES).expand(TASKS, -1) % n_classes_T[:, None]
    luck_TQ = torch.rand(TASKS, QUERIES, generator=generator)
    y_TQ = torch.where(luck_TQ < 0.5, every_class_TQ, (luck_TQ * n_classes_T[:, None]).long())
    logits_TQC = torch.randn(TASKS, QUERIES, WAY, generator=generator)
    logits_TQC += 1.5 * torch.nn.functional.one_hot(y_TQ, WAY)
    if decimals is not None:
        logits_TQC = logits_TQC.round(decimals=decimals)
    padded_TC = torch.arange(WAY) >= n_classes_T[:, None]
    return logits_TQC.masked_fill(padded_TC[:, None], -torch.inf), y_TQ, n_classes_T


def _references(p_QC: np.ndarray, y_Q: np.ndarray) -> dict[str, float]:
    classes = list(range(p_QC.shape[1]))
    two = len(classes) == 2
    area = {"y_true": y_Q, "y_score": p_QC[:, 1] if two else p_QC}
    return {
        "accuracy": reference.accuracy_score(y_Q, p_QC.argmax(1)),
        "balanced_accuracy": reference.balanced_accuracy_score(y_Q, p_QC.argmax(1)),
        "roc_auc_ovr": reference.roc_auc_score(**area, multi_class="ovr"),
        "roc_auc_ovo": reference.roc_auc_score(**area, multi_class="ovo"),
        "log_loss": reference.log_loss(y_Q, p_QC, labels=classes),
        "brier": np.square(p_QC - np.eye(len(classes))[y_Q]).sum(1).mean(),
    }


@pytest.mark.parametrize("decimals", [None, 0])
def test_classification_equals_scikit_learn(decimals: int | None) -> None:
    logits_TQC, y_TQ, n_classes_T = _classification(decimals)
    scores = metrics.score(logits_TQC, _episodes(y_TQ, WAY))
    p_TQC = logits_TQC.double().softmax(dim=2).numpy()
    for task, n_classes in enumerate(n_classes_T.tolist()):
        expected = _references(p_TQC[task, :, :n_classes], y_TQ[task].numpy())
        assert {name: float(scores[name][task]) for name in expected} == pytest.approx(
            expected, rel=1e-12
        )


def test_every_metric_is_computed_alone_as_in_a_batch() -> None:
    logits_TQC, y_TQ, _ = _classification(None)
    together = metrics.score(logits_TQC, _episodes(y_TQ, WAY))
    for task in (0, 7):
        alone = metrics.score(logits_TQC[task : task + 1], _episodes(y_TQ[task : task + 1], WAY))
        for name, value in alone.items():
            torch.testing.assert_close(value[0], together[name][task], rtol=1e-12, atol=1e-12)
            assert value.dtype == torch.float64


def test_a_class_that_the_support_lacks_has_probability_zero() -> None:
    logits_TQC = torch.tensor([[[0.0, 0.0, -torch.inf], [1.0, -1.0, -torch.inf]]])
    scores = metrics.score(logits_TQC, _episodes(torch.tensor([[2, 0]]), 3))
    expected = reference.log_loss(
        [2, 0], logits_TQC[0].double().softmax(1).numpy(), labels=[0, 1, 2]
    )
    assert float(scores["log_loss"][0]) == pytest.approx(expected, rel=1e-12)
    assert float(scores["log_loss"][0]) > 18
    assert float(scores["accuracy"][0]) == 0.5


def test_classes_that_do_not_occur_are_left_out() -> None:
    logits_TQC, y_TQ, n_classes_T = _classification(None)
    y_TQ = y_TQ.masked_fill(y_TQ == 1, 0)  # class 1 never occurs
    scores = metrics.score(logits_TQC, _episodes(y_TQ, WAY))
    p_TQC = logits_TQC.double().softmax(dim=2).numpy()
    for task in (n_classes_T > 2).nonzero()[:, 0].tolist():
        y_Q, occurring = y_TQ[task].numpy(), y_TQ[task].unique().tolist()
        one_vs_rest = [reference.roc_auc_score(y_Q == c, p_TQC[task, :, c]) for c in occurring]
        recalls = [(p_TQC[task].argmax(1) == y_Q)[y_Q == c].mean() for c in occurring]
        assert float(scores["roc_auc_ovr"][task]) == pytest.approx(np.mean(one_vs_rest), rel=1e-12)
        assert float(scores["balanced_accuracy"][task]) == pytest.approx(
            np.mean(recalls), rel=1e-12
        )
    for task in (n_classes_T == 2).nonzero()[:, 0].tolist():  # all rows of one class
        assert scores["roc_auc_ovr"][task].isnan()
        assert scores["roc_auc_ovo"][task].isnan()


def test_ties_go_to_the_lowest_class() -> None:
    scores = metrics.score(torch.zeros(1, 3, 3), _episodes(torch.tensor([[0, 1, 2]]), 3))
    assert float(scores["accuracy"][0]) == pytest.approx(1 / 3)
    assert float(metrics.accuracy(torch.full((1, 1, 3), 1 / 3), torch.tensor([[0]]))[0]) == 1.0
    assert float(scores["roc_auc_ovr"][0]) == 0.5


def test_calibration_bins_hold_every_row_once() -> None:
    logits_TQC, y_TQ, _ = _classification(None)
    scores = metrics.score(logits_TQC, _episodes(y_TQ, WAY))
    top_TQ = logits_TQC.double().softmax(dim=2).amax(dim=2).numpy()
    count = np.stack([np.histogram(top_Q, bins=10, range=(0, 1))[0] for top_Q in top_TQ])
    np.testing.assert_array_equal(scores["bin_count"].numpy(), count)
    np.testing.assert_allclose(scores["bin_confidence"].sum(1), top_TQ.sum(1), rtol=1e-12)
    torch.testing.assert_close(scores["bin_correct"].sum(1) / QUERIES, scores["accuracy"])


def test_a_bin_ends_with_its_upper_edge() -> None:
    p_TQC = torch.tensor([[[0.5, 0.5], [1.0, 0.0], [0.51, 0.49]]], dtype=torch.float64)
    bins = metrics.calibration_bins(p_TQC, torch.tensor([[0, 1, 0]]))
    assert bins["bin_count"][0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 1]
    assert bins["bin_correct"][0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]


def test_regression_equals_scikit_learn_in_units_of_the_table() -> None:
    generator = torch.Generator().manual_seed(0)
    y_TQ, noise_TQ = torch.randn(2, TASKS, 30, generator=generator)
    scale_T = torch.rand(TASKS, generator=generator) + 0.5
    scores = metrics.score((y_TQ + noise_TQ)[..., None], _episodes(y_TQ, 0, scale_T))
    for task, scale in enumerate(scale_T.tolist()):
        pair = (y_TQ[task].double() * scale, (y_TQ + noise_TQ)[task].double() * scale)
        assert {name: float(value[task]) for name, value in scores.items()} == pytest.approx(
            {
                "mse": reference.mean_squared_error(*pair),
                "rmse": reference.root_mean_squared_error(*pair),
                "mae": reference.mean_absolute_error(*pair),
                "r2": reference.r2_score(*pair),
            },
            rel=1e-12,
        )


def test_log_likelihood_equals_scipy_in_units_of_the_table() -> None:
    generator = torch.Generator().manual_seed(0)
    y_TQ, mean_TQ = torch.randn(2, TASKS, 30, generator=generator)
    spread_TQ = torch.rand(TASKS, 30, generator=generator) + 0.1
    scale_T = torch.rand(TASKS, generator=generator) + 0.5
    scores = metrics.score(mean_TQ[..., None], _episodes(y_TQ, 0, scale_T), spread_TQ)
    scaled = [(each.double() * scale_T[:, None]).numpy() for each in (y_TQ, mean_TQ, spread_TQ)]
    expected = norm.logpdf(*scaled).mean(axis=1)
    assert np.allclose(scores["log_likelihood"].numpy(), expected)
    with pytest.raises(MetamineError, match="episodes got predictions that are not finite"):
        metrics.score(mean_TQ[..., None], _episodes(y_TQ, 0), torch.full_like(y_TQ, torch.nan))


def test_r2_of_constant_targets_is_undefined() -> None:
    scores = metrics.score(torch.zeros(2, 4, 1), _episodes(torch.full((2, 4), 0.1), 0))
    assert scores["r2"].isnan().all()
    assert scores["mse"].tolist() == pytest.approx([0.01, 0.01])


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_prediction_that_is_not_a_number_is_refused(broken: float) -> None:
    logits_TQC = torch.zeros(3, 2, 2)
    logits_TQC[1, 0, 0] = broken
    with pytest.raises(MetamineError, match="1 of 3 episodes"):
        metrics.score(logits_TQC, _episodes(torch.zeros(3, 2, dtype=torch.int64), 2))
    with pytest.raises(MetamineError, match="1 of 3 episodes"):
        metrics.score(logits_TQC[..., :1], _episodes(torch.zeros(3, 2), 0))
