"""Label the rows of a file from a handful of labelled ones, and say how far to trust the labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.base import clone

from metamine.complaints import did_you_mean
from metamine.episode import Kind
from metamine.errors import UsageError
from metamine.estimators.cells import Unseen
from metamine.estimators.few_shot import FewShotClassifier, FewShotRegressor
from metamine.files import write_whole
from metamine.sources.columns import label_of
from metamine.sources.reading import read_frame

MOST_LEFT_OUT = 100  # labelled rows that are left out in turn; each takes an adaptation


@dataclass(frozen=True)
class Asked:
    """What to predict, from what, and with what; see `metamine predict --help`."""

    labelled: Path
    unlabelled: Path
    target: str
    model: str
    kind: Kind
    unseen: Unseen
    members: int
    device: str


def predict(asked: Asked, output: Path) -> str:
    """Write a row for each unlabelled one to `output` (CSV); return what is to be said of them.

    Columns: `prediction`, and for classes `confidence` and the probability of each, `p(LABEL)`.
    Raises UsageError or MetamineError, in one sentence, before anything is written.
    """
    known, notes = _labelled(asked)
    rows, more = _unlabelled(asked, known)
    y = known.pop(asked.target)
    make = FewShotClassifier if asked.kind == "classification" else FewShotRegressor
    estimator = make(asked.model, device=asked.device, members=asked.members, unseen=asked.unseen)
    try:
        estimator.fit(known, y)
        answers = _answers(estimator, rows)
        trust = _trust(estimator, known, y)
    except ValueError as error:
        raise UsageError(f"{asked.labelled}, {asked.unlabelled}: {error}") from error
    write_whole(output, lambda file: file.write(answers.to_csv(index=False).encode()))
    counted = f"{len(rows)} rows labelled from {len(known)}"
    return "\n".join([counted, *_seen(answers, asked.kind), *trust, *notes, *more])


def _labelled(asked: Asked) -> tuple[pd.DataFrame, list[str]]:
    """The labelled rows, and notes on what was left out."""
    frame, target = _read(asked.labelled), asked.target
    if target not in frame:
        raise UsageError(
            f"{asked.labelled} has no column '{target}'"
            + (did_you_mean(target, frame.columns) or f"; it has {', '.join(frame.columns[:8])}")
        )
    there = frame[target].notna()
    notes = [f"{(~there).sum()} rows of {asked.labelled} without '{target}' are left out"]
    frame = frame[there]
    if not len(frame) or frame.shape[1] < 2:
        raise UsageError(
            f"{asked.labelled} has no row with a value of '{target}', or no other column"
        )
    numeric = pd.api.types.is_numeric_dtype(frame[target])
    if asked.kind == "regression":
        if not numeric:
            raise UsageError(
                f"'{target}' of {asked.labelled} holds no numbers; kind=classification?"
            )
    elif numeric and (frame[target] % 1 != 0).any():
        raise UsageError(
            f"'{target}' of {asked.labelled} holds fractions, which are no classes; "
            "add kind=regression"
        )
    else:
        frame = frame.assign(**{target: frame[target].map(label_of)})
        if frame[target].nunique() == 1:
            raise UsageError(
                f"all {len(frame)} labelled rows of {asked.labelled} are of the class "
                f"'{frame[target].iloc[0]}'; label one of another class"
            )
    return frame, [] if there.all() else notes


def _unlabelled(asked: Asked, known: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The columns of the labelled rows, of the others; and a note on what else there is."""
    frame = _read(asked.unlabelled)
    wanted = [str(name) for name in known if name != asked.target]
    if missing := [name for name in wanted if name not in frame]:
        raise UsageError(
            f"{asked.unlabelled} lacks columns of {asked.labelled}: {', '.join(missing)}"
            + did_you_mean(missing[0], frame.columns)
        )
    if frame.empty:
        raise UsageError(f"{asked.unlabelled} has no rows")
    others = [str(name) for name in frame if name not in known]
    note = f"columns of {asked.unlabelled} alone are not used: {', '.join(others)}"
    return frame[wanted], [note] if others else []


def _read(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    return read_frame(file)


def _answers(estimator: FewShotClassifier | FewShotRegressor, rows: pd.DataFrame) -> pd.DataFrame:
    if isinstance(estimator, FewShotRegressor):
        return pd.DataFrame({"prediction": estimator.predict(rows)})
    probability_MC = estimator.predict_proba(rows)
    best_M = probability_MC.argmax(axis=1)
    labels = [f"p({label})" for label in estimator.classes_]
    return pd.DataFrame(
        {
            "prediction": estimator.classes_[best_M],
            "confidence": probability_MC.max(axis=1),
            **dict(zip(labels, probability_MC.T, strict=True)),
        }
    )


def _seen(answers: pd.DataFrame, kind: Kind) -> list[str]:
    """What was predicted, in brief."""
    said = answers["prediction"]
    if kind == "regression":
        return [f"predictions: {said.min():.4g} to {said.max():.4g}, mean {said.mean():.4g}"]
    counts = ", ".join(f"{label} {count}" for label, count in said.value_counts().items())
    return [f"predictions: {counts}", f"mean confidence: {answers['confidence'].mean():.2f}"]


def _trust(
    estimator: FewShotClassifier | FewShotRegressor, x: pd.DataFrame, y: pd.Series[Any]
) -> list[str]:
    """How well each labelled row is told by the others, beside an answer that needs no columns."""
    n_rows = min(len(x), MOST_LEFT_OUT)
    if len(x) < 2:
        return ["one labelled row does not show how far to trust these"]
    places = np.random.default_rng(estimator.seed).permutation(len(x))[:n_rows]
    told = []
    for place in places:
        others = np.arange(len(x)) != place
        told.append(clone(estimator).fit(x[others], y[others]).predict(x[~others])[0])
    true = y.to_numpy()[places]
    if isinstance(estimator, FewShotRegressor):
        wrong, blind = np.abs(told - true).mean(), np.abs(true.mean() - true).mean()
        better, beside = wrong < blind, f"{blind:.4g} if their mean is always answered"
        score = f"mean error {wrong:.4g}"
    else:
        right, blind = (
            int((np.array(told) == true).sum()),
            int(pd.Series(true).value_counts().max()),
        )
        low, high = binomtest(right, n_rows).proportion_ci(method="wilson")
        better, beside = right > blind, f"{blind} if their commonest class is always answered"
        score = f"{right} of {n_rows} right (95% interval {low:.0%} to {high:.0%})"
    verdict = "" if better else ": nothing shows yet that the labels are better than that"
    return [f"each labelled row told by the others: {score}; {beside}{verdict}"]
