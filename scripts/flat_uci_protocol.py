"""Do our classic baselines agree with the numbers that FLAT's authors stored, table by table?

    python scripts/flat_uci_protocol.py FOLDER [--baselines NAME ...] [--episodes N]
        [--protocols NAME ...] [--one-class keep]

FOLDER holds the UCI tables. All of them are judged as conf/table/flat_uci.yaml has it, and the
means over the tables that both have are compared with conf/table/flat_uci.csv.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import pandas as pd
import torch

from metamine.confdir import conf_dir
from metamine.config import build
from metamine.engine import evaluate
from metamine.hydra_app.composed import composed

NAMES = {"logistic_regression": "LR", "knn": "KNN", "random_forest": "RF", "svc": "SVC"}
NAMES |= {"catboost": "CatBoost"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--baselines", nargs="+", default=["logistic_regression", "knn", "svc"])
    parser.add_argument("--protocols", nargs="+", metavar="NAME")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--one-class", default="redraw", help="what becomes of such a support")
    parser.add_argument("--workers", type=int, default=1, help="processes of a baseline")
    given = parser.parse_args()
    torch.set_num_threads(1)
    published = pd.read_csv(conf_dir() / "table/flat_uci.csv")
    words = ["experiment=flat_uci", "evaluation=flat_uci_baselines", "device=cpu"]
    config = composed([*words, f"path={given.folder}", f"workers={given.workers}"])
    baselines = {name: config["evaluation"]["baselines"][name] for name in given.baselines}
    evaluation = build(config["evaluation"] | {"baselines": baselines})
    split = config["source"]["split"]
    sources = [
        build(config["source"] | {"split": split | {"fold": fold}})
        for fold in range(split["folds"])
    ]
    header = "tables  published    ours  difference  per table  seconds"
    print(f"{'rows':8} {'baseline':20} {header}")
    for protocol_name in given.protocols or evaluation.protocols:
        theirs = published[published["column"] == protocol_name].set_index("table")
        theirs = theirs.drop(columns="column").dropna()
        plans = [
            replace(
                plan,
                protocol=replace(plan.protocol, one_class=given.one_class),
                episodes=given.episodes,
            )
            for source in sources
            for plan in evaluation.plans(source)
            if plan.protocol_name == protocol_name
        ]
        for name, method in evaluation.baselines_for(sources[0]).items():
            started = time.monotonic()
            columns = [pd.DataFrame(each) for plan in plans for each in evaluate(method, plan, 256)]
            seconds = time.monotonic() - started
            ours = pd.concat(columns).groupby("table")["accuracy"].mean()
            ours = ours[ours.index.isin(theirs.index)]
            line = f"{protocol_name:8} {name:20} {len(ours):6}"
            if name in NAMES:
                gap = ours - theirs.loc[ours.index, NAMES[name]]
                line += f"  {theirs.loc[ours.index, NAMES[name]].mean():9.4f}  {ours.mean():.4f}"
                line += f"  {gap.mean():+10.4f}  {gap.abs().mean():9.4f}"
            else:
                line += f"  {'-':>9}  {ours.mean():.4f}  {'-':>10}  {'-':>9}"
            print(f"{line}  {seconds:7.0f}", flush=True)


if __name__ == "__main__":
    main()
