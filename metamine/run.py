"""The `run` entrypoint: from a config to a run directory.

The one place that joins source, sampler, method, engine and report.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from metamine import environment
from metamine.config import build
from metamine.devices import resolve
from metamine.errors import MetamineError, UsageError
from metamine.evaluation import Evaluation
from metamine.files import write_json, write_whole
from metamine.interruption import Interruption
from metamine.judging import Learner, judge
from metamine.methods.base import Method
from metamine.metrics import HEADLINE
from metamine.optimizers import MetaOptimizer
from metamine.plan import Plan
from metamine.pretrained import run_of
from metamine.protocol import Protocol, ProtocolMix
from metamine.randomness import seed_of
from metamine.report.run_report import write_report
from metamine.rundir import RunDirectory
from metamine.settings import check_same, check_training
from metamine.sources.base import Source
from metamine.sources.leaks import groups, holdings, leaks, leaks_of_run
from metamine.statistics import as_json
from metamine.trained import load_weights
from metamine.training import MetaTraining, Schedule

log = logging.getLogger(__name__)


def train_job(
    config: dict[str, Any], directory: Path, overrides: list[str], resuming: bool
) -> float | None:
    """Meta-train, evaluate on held-out tasks, and fill the run directory.

    resuming: go on with the run in `directory`, if there is one; a finished one is left as it is.
    Returns the headline metric of the meta-trained method, averaged over the held-out sources.
    Raises UsageError before anything is written, MetamineError later; Interrupted for a signal.
    """
    check_training(config)
    run = RunDirectory(directory)
    if resuming and (run / "config.yaml").exists():
        check_same(config, OmegaConf.to_container(OmegaConf.load(run / "config.yaml")), directory)
        if run.status == "done" and config["steps"] <= run.read()["steps"]:
            return _left_as_it_is(run)
    job = _Job(config, run)
    before = job.start_from(config["init"]) if config.get("init") else {}
    run.claim(resuming)
    with run, Interruption() as interruption:
        job.describe(overrides)
        trained = holdings(job.source.training_parts, "train")
        tested = holdings(job.tested, "test")
        found = leaks(trained, tested) + leaks_of_run(before, tested)
        run.record(trained_on={**before, **groups(trained)}, leaks=found)
        method, plans = job.method, job.validation_plans()
        optimizer, scheduler = job.optimizer.over(method.parameters(), config["steps"])
        training = MetaTraining(
            run,
            method,
            optimizer,
            scheduler,
            job.optimizer.clip,
            job.source,
            job.protocol,
            plans,
            job.schedule,
            config["seed"],
        )
        training.train(interruption)
        run.record(best_step=training.progress.best_step)
        cost = {"train_seconds": round(training.progress.seconds, 1)}
        return job.finish(cost, interruption)


def evaluate_job(
    config: dict[str, Any], directory: Path, overrides: list[str], resuming: bool
) -> float | None:
    """Evaluate the checkpoint of another run; `config` is that run's, and `run` and `checkpoint`.

    Raises as `train_job` does.
    """
    name, which = config["run"], config["checkpoint"]
    of = run_of(name)
    config = {key: value for key, value in config.items() if key not in ("run", "checkpoint")}
    check_training(config)
    run = RunDirectory(directory)
    if resuming and run.status == "done":
        return _left_as_it_is(run)
    job = _Job(config, run)
    step = load_weights(job.method, of, which)
    run.claim(resuming)
    with run, Interruption() as interruption:
        job.describe(overrides)
        trained_on = RunDirectory(of).read().get("trained_on", {})
        run.record(
            evaluated={"run": name, "checkpoint": which, "step": step},
            leaks=leaks_of_run(trained_on, holdings(job.tested, "test")),
        )
        return job.finish({}, interruption)


class _Job:
    """What training and evaluating have in common: the parts, built, and the end of the run."""

    def __init__(self, config: dict[str, Any], run: RunDirectory) -> None:
        self.config, self.run = config, run
        torch.set_num_threads(config["threads"])
        self.device = resolve(config["device"])
        self.source: Source = self._built("source")
        self.protocol: Protocol | ProtocolMix = self._built("protocol")
        self.optimizer: MetaOptimizer = self._built("optimizer")
        self.evaluation: Evaluation = self._built("evaluation")
        self.method = self.new_method("initialisation")
        if self.source.kind not in self.method.kinds:
            raise UsageError(
                f"{type(self.method).__name__} cannot do {self.source.kind}, which "
                f"source={self.source.name} asks for; choose another method or source"
            )
        self.schedule = Schedule(
            **{each.name: config[each.name] for each in fields(Schedule) if each.name in config}
        )
        if self.schedule.parallel_chunks > 1 and self.method.ordered_loss:
            raise UsageError(
                f"{type(self.method).__name__} draws or remembers as it learns, so the order of "
                f"chunks matters to it; parallel_chunks={self.schedule.parallel_chunks} must be 1"
            )
        self.absent = self.evaluation.absent_for(self.source)
        for name, reason in self.absent.items():
            log.info("the baseline %s is left out: %s", name, reason)
        self.learners = [
            Learner(type(self.method).__name__, "meta", self.method),
            Learner("from scratch", "from scratch", self.new_method("from scratch")),
            *(
                Learner(name, "baseline", method)
                for name, method in self.evaluation.baselines_for(self.source).items()
            ),
        ]
        self.plans = self.evaluation.plans(self.source)
        self.tested = list({plan.source.name: plan.source for plan in self.plans}.values())

    def describe(self, overrides: list[str]) -> None:
        """Write `config.yaml`, `overrides.json`, and into `run.json` what is run, with what."""
        run, config = self.run, self.config
        write_whole(
            run / "config.yaml", lambda file: file.write(OmegaConf.to_yaml(config).encode())
        )
        write_json(run / "overrides.json", overrides)
        run.record(
            **environment.facts(),
            device=str(self.device),
            threads=config["threads"],
            seed=config["seed"],
            steps=config["steps"],
            kind=self.source.kind,
            choices={
                "source": self.source.name,
                "method": type(self.method).__name__,
                "family": _family(self.method),
                **({"encoder": _class_name(config["encoder"])} if "encoder" in config else {}),
            },
            parameters=sum(each.numel() for each in self.method.parameters()),
            plan_hash={_key(plan): plan.digest() for plan in self.plans},
            skipped={_key(plan): skipped for plan in self.plans if (skipped := plan.skipped())},
            absent=dict(self.absent),
        )

    def new_method(self, purpose: str) -> Method:
        """The configured method with fresh weights, on the run's device."""
        torch.manual_seed(seed_of(self.config["seed"], purpose))
        method: Method = self._built("method")
        return method.to(self.device)

    def start_from(self, run: str) -> dict[str, dict[str, str]]:
        """Give the method the weights of a run; returns what that run was trained on."""
        of = run_of(run)
        load_weights(self.method, of, "best")
        trained_on: dict[str, dict[str, str]] = RunDirectory(of).read().get("trained_on", {})
        return trained_on

    def validation_plans(self) -> list[Plan]:
        """The validation plans; none, with a warning, where the source has no table for them."""
        plans, missing = [], []
        for plan in self.evaluation.validation_plans(self.source):
            try:
                next(iter(plan))
                plans.append(plan)
            except MetamineError as error:
                missing.append(error)
        for each in missing:
            if plans:
                log.info("not validated on: %s", each)
            else:
                log.warning("no validation, so the last checkpoint is evaluated: %s", each)
        return plans

    def finish(self, cost: dict[str, Any], interruption: Interruption) -> float:
        """Evaluate all learners, write results and report, print the headline."""
        started = time.monotonic()
        results, milliseconds = judge(
            self.learners,
            self.plans,
            self.config["chunk_size"],
            self.config["seed"],
            interruption,
        )
        name, _ = HEADLINE[self.source.kind]
        meta = results[results["role"] == "meta"]
        by_source = meta.groupby(["source", "protocol", "table"])[name].mean()
        headline = float(by_source.groupby(["source", "protocol"]).mean().mean())
        write_whole(self.run / "results.parquet", lambda file: results.to_parquet(file))
        write_json(self.run / "metrics.json", as_json(results))
        cost = cost | {
            "evaluate_seconds": round(time.monotonic() - started, 1),
            "task_milliseconds": milliseconds,
            "peak_memory_mb": environment.peak_memory(self.device),
        }
        self.run.record(headline=headline, cost=cost)
        print(write_report(self.run.path))
        print(f"\n{self.run.path}")
        return headline

    def _built(self, key: str) -> Any:
        return build(self.config[key], self.config["trust"], key)


def _key(plan: Plan) -> str:
    return f"{plan.source.name}/{plan.protocol_name}"


def _family(method: Method) -> str:
    """The folder of metamine/methods that a method lies in; "other" for those of other packages."""
    package, *folders = type(method).__module__.split(".")
    return folders[1] if package == "metamine" and folders[:1] == ["methods"] else "other"


def _class_name(node: Mapping[str, Any]) -> str:
    return str(node["_target_"]).rpartition(".")[2]


def _left_as_it_is(run: RunDirectory) -> float | None:
    log.info("skip (done): %s", run.path)
    return run.read().get("headline")
