"""The job of `metamine tasks similarity`: what a run has learned, asked about whole tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from metamine.config import build
from metamine.devices import resolve
from metamine.errors import MetamineError, UsageError
from metamine.methods.metric.nearest_task import NearestTask
from metamine.methods.metric.similarity import TaskSimilarity, labelled
from metamine.plan import Plan
from metamine.report.drawing import NO_PICTURES, drawing
from metamine.report.files import write
from metamine.settings import check_training
from metamine.sources.base import Split
from metamine.sources.split import SPLITS, EmptySplit
from metamine.task_map import nearest, scaled_to_plane, similarities
from metamine.trained import load_weights

FILES = tuple(f"{name}.{kind}" for name in ("similarity", "map") for kind in ("csv", "png", "svg"))


@dataclass(frozen=True)
class Asked:
    """Which tables to compare, and how closely.

    split: of the sources that are compared; "all": every table that they hold.
    batches: sub-batches drawn of each table; the more, the less chance has a say.
    """

    split: Literal["test", "validation", "train", "all"]
    batches: Annotated[int, Field(ge=2)]


@dataclass(frozen=True)
class Embedded:
    """A table, and d of each of its sub-batches."""

    source: str
    table: str
    split: Split
    d_ED: Float[Tensor, "E D"]


def check_free(directory: Path) -> None:
    """Raise UsageError if `directory` is none, or holds a map already."""
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is not a directory; choose another output")
    for name in FILES:
        if (directory / name).exists():
            raise UsageError(f"{directory / name} is there already; choose another output")


def similarity_job(config: dict[str, Any], directory: Path, asked: dict[str, Any]) -> None:
    """Compare the held tables of a run; `config` is the run's, and `run` and `checkpoint`.

    Writes similarity.csv, map.csv and pictures of both; prints the nearest tables of each.
    asked: the fields of `Asked`, checked. Raises UsageError before anything is written.
    """
    of, which = Path(config["run"]), config["checkpoint"]
    config = {key: value for key, value in config.items() if key not in ("run", "checkpoint")}
    check_training(config)
    torch.set_num_threads(config["threads"])
    device = resolve(config["device"])
    similarity = _similarity(config, of, which, device)
    found = list(_embedded(config, similarity, Asked(**asked), device))
    if len(found) < 2:
        raise UsageError(
            f"there {'is' if len(found) == 1 else 'are'} {len(found) or 'no'} "
            f"table{'s' * (len(found) != 1)} to compare in split={asked['split']}, and two are "
            "needed (endless sources hold none); try split=all, or source=tables path=FOLDER"
        )
    names = _names(found)
    s_NN = similarities(similarity, torch.stack([each.d_ED for each in found]))
    table = pd.DataFrame(s_NN, index=pd.Index(names, name="table"), columns=names)
    place_N2 = scaled_to_plane(-np.log(s_NN))
    places = pd.DataFrame(
        {
            "table": names,
            "source": [each.source for each in found],
            "split": [each.split for each in found],
            "x": place_N2[:, 0],
            "y": place_N2[:, 1],
        }
    )
    write(directory / "similarity.csv", table.to_csv())
    write(directory / "map.csv", places.to_csv(index=False))
    print("\n".join(nearest(table)))
    task_map = drawing("task_map")
    if task_map:
        task_map.draw(table, places, directory)
    else:
        print(NO_PICTURES)
    print(f"\n{directory}")


def _similarity(
    config: dict[str, Any], of: Path, which: str, device: torch.device
) -> TaskSimilarity:
    """What the run has learned."""
    method = build(config["method"], config["trust"], "method")
    if not isinstance(method, NearestTask):
        raise UsageError(
            f"{of} was trained with {type(method).__name__}, which learns no similarity of tasks; "
            "name a run of method=nearest_task"
        )
    load_weights(method.to(device), of, which)
    return method.similarity


def _embedded(
    config: dict[str, Any], similarity: TaskSimilarity, asked: Asked, device: torch.device
) -> Iterator[Embedded]:
    """The tables of the sources that the run is tested on; endless ones hold none."""
    source = build(config["source"], config["trust"], "source")
    plans = build(config["evaluation"], config["trust"], "evaluation").plans(source)
    held = {plan.source.name: plan for plan in reversed(plans) if not plan.source.endless}
    splits = SPLITS if asked.split == "all" else (asked.split,)
    for plan in reversed(held.values()):
        for split in splits:
            drawn = replace(plan, split=split, episodes=asked.batches, seed=config["seed"])
            try:
                yield from _of_plan(drawn, similarity, config["chunk_size"], device)
            except EmptySplit:
                continue


def _of_plan(
    plan: Plan, similarity: TaskSimilarity, chunk_size: int, device: torch.device
) -> Iterator[Embedded]:
    for name, reason in plan.skipped().items():
        print(f"{name} is left out: it {reason}")
    try:
        for planned in plan:
            with torch.no_grad():
                parts = [
                    similarity.embed(labelled(chunk.to(device))).cpu()
                    for chunk in planned.episodes.chunks(chunk_size)
                ]
            yield Embedded(plan.source.name, planned.tables[0], plan.split, torch.cat(parts))
    except EmptySplit:
        raise
    except MetamineError:  # every table was skipped, as was said
        return


def _names(found: list[Embedded]) -> list[str]:
    """Of tables, with their source where two are called the same."""
    names = [each.table for each in found]
    return [
        f"{each.source}/{each.table}" if names.count(each.table) > 1 else each.table
        for each in found
    ]
