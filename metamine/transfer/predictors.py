"""What is known of a source and a table before any training, and might foretell the gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from metamine.bootstrap import Array
from metamine.config import build
from metamine.episode import Support
from metamine.errors import UsageError
from metamine.evaluation import Evaluation
from metamine.methods.data.meta_features import meta_features
from metamine.methods.metric.nearest_task import NearestTask
from metamine.methods.metric.similarity import TaskSimilarity, labelled
from metamine.plan import Plan
from metamine.sources.base import Source
from metamine.trained import trained_method
from metamine.transfer.design import Design, Row

# What each column of `foretold` is called.
PREDICTORS = {
    "similarity": "similarity s(t_i, t_j)",
    "meta_distance": "distance of meta-features",
    "prior_distance": "distance from the prior",
    "log_rows": "log rows",
    "log_columns": "log columns",
    "log_classes": "log classes",
    "rows_apart": "log rows, difference",
    "columns_apart": "log columns, difference",
    "classes_apart": "log classes, difference",
}
EPISODES = 8  # by which a table is described
DRAWN = 64  # tasks by which a prior is described, for each number of classes
VARIES = 1e-6  # a meta-feature with a smaller spread is one and the same


@dataclass(frozen=True)
class Tasks:
    """E tasks of a table or a prior, described as learners meet them: rows, columns, labels.

    way: classes of the shape that they were drawn in; 0 for regression.
    """

    way: int
    feature_EK: Array  # meta-features
    d_ED: Float[Tensor, "E D"] | None  # None without a similarity

    @property
    def mean_K(self) -> Array:
        """The meta-features' means."""
        return np.asarray(self.feature_EK.mean(axis=0))


def similarity_of(run: Path, trust: Sequence[str]) -> TaskSimilarity:
    """What a run of method=nearest_task has learned. Raises UsageError for another run."""
    method = trained_method(run, trust=trust)
    if not isinstance(method, NearestTask):
        raise UsageError(
            f"{run} was trained with {type(method).__name__}, which learns no similarity of tasks; "
            "name a run of method=nearest_task by --similarity, or none"
        )
    return method.similarity


def foretold(
    pairs: pd.DataFrame, design: Design, similarity: TaskSimilarity | None
) -> pd.DataFrame:
    """The columns of `PREDICTORS` for each pair; NaN where one does not apply.

    pairs: `row` and `table`.

    similarity: mean of s over pairs of tasks, one of the row and one of the table.
    meta_distance, of parts: between the meta-features (see methods/data/meta_features.py) of the
        table and their mean over the part's tables, in standard deviations over all tables: the
        root of the mean square over the meta-features that vary.
    prior_distance, of priors: between the table and the mean of the tasks that the prior draws, in
        standard deviations of those, likewise; 1 is about how far the prior's own tasks are from
        it. This is Mahalanobis' distance ("On the generalised distance in statistics", 1936) of a
        diagonal covariance, by the number of meta-features. The prior is asked for tasks of as
        many classes and rows as the table's have.
    log_...: of the table, whatever the row; ..._apart, of parts: how far from the part's mean.

    Tables and priors are described by tasks cut as in the evaluation, all rows with their labels.
    """
    torch.set_num_threads(design.config["threads"])
    tables = _of_tables(design, similarity)
    ways = sorted({tasks.way for tasks in tables.values()})
    priors = {
        (name, way): _of_prior(prior, way, design, similarity)
        for name, prior in design.priors.items()
        for way in ways
    }
    spread_K = np.std([tasks.mean_K for tasks in tables.values()], axis=0)
    sizes, rows = _sizes(design), {row.name: row for row in design.rows}

    def of_pair(row: Row, name: str) -> dict[str, float]:
        table = tables[name]
        told = {f"log_{key}": value for key, value in sizes[name].items()}
        if row.kind == "prior":
            there = [priors[row.name, table.way]]
            centre_K, scale_K = there[0].mean_K, there[0].feature_EK.std(axis=0)
            told["prior_distance"] = distance(table.mean_K, centre_K, scale_K)
        else:
            for key, value in sizes[name].items():
                mean = np.mean([sizes[other][key] for other in row.tables])
                told[f"{key}_apart"] = float(abs(value - mean))
            there = [tables[other] for other in row.tables if other in tables]
            if there:  # none, if all are too small to be tested on
                centre_K = np.mean([tasks.mean_K for tasks in there], axis=0)
                told["meta_distance"] = distance(table.mean_K, centre_K, spread_K)
        if similarity is not None and there:
            told["similarity"] = _mean_similarity(similarity, there, table)
        return told

    told = [of_pair(rows[row], table) for row, table in pairs[["row", "table"]].to_numpy()]
    return pd.DataFrame(told, index=pairs.index).reindex(columns=list(PREDICTORS))


def distance(one_K: Array, other_K: Array, scale_K: Array) -> float:
    """Root mean square of the differences, in units of a scale, where that is not 0."""
    varies_K = scale_K > VARIES
    square_K = ((one_K - other_K)[varies_K] / scale_K[varies_K]) ** 2
    return float(np.sqrt(square_K.mean())) if len(square_K) else np.nan


def _of_tables(design: Design, similarity: TaskSimilarity | None) -> dict[str, Tasks]:
    """Those that are large enough."""
    plan = _plan(design, design.source)
    return {planned.tables[0]: _tasks([labelled(planned.episodes)], similarity) for planned in plan}


def _of_prior(prior: Source, way: int, design: Design, similarity: TaskSimilarity | None) -> Tasks:
    plan = _plan(design, prior)
    if way:
        plan = replace(plan, protocol=replace(plan.protocol, way=way))
    return _tasks([labelled(planned.episodes) for planned in plan], similarity)


def _plan(design: Design, source: Source) -> Plan:
    config = design.config
    evaluation: Evaluation = build(config["evaluation"], config["trust"], "evaluation")
    protocol = evaluation.protocols[design.protocol]
    return Plan(source, "test", design.protocol, protocol, EPISODES, DRAWN, evaluation.seed)


@torch.no_grad()
def _tasks(parts: Sequence[Support], similarity: TaskSimilarity | None) -> Tasks:
    features = torch.cat([meta_features(part) for part in parts]).double().numpy()
    d_ED = None if similarity is None else torch.cat([similarity.embed(part) for part in parts])
    return Tasks(max(part.way for part in parts), features, d_ED)


@torch.no_grad()
def _mean_similarity(similarity: TaskSimilarity, there: Sequence[Tasks], table: Tasks) -> float:
    d_ID = torch.cat([tasks.d_ED for tasks in there if tasks.d_ED is not None])
    assert table.d_ED is not None
    return float(similarity(d_ID.double(), table.d_ED.double()).sigmoid().mean())


def _sizes(design: Design) -> Mapping[str, Mapping[str, float]]:
    """Table -> the logs of its rows, columns and, of classification, classes with rows."""
    return {
        table.name: {
            "rows": float(np.log(len(table.y))),
            "columns": float(np.log(table.x.shape[1])),
            **(
                {"classes": float(np.log(len(np.unique(table.y))))}
                if table.kind == "classification"
                else {}
            ),
        }
        for table in design.source.tables["test"]
    }
