"""Make a finished run of `metamine train experiment=pretrain_fewshot` the pretrained model.

Its config and its results go along; of its best checkpoint, the weights.

    python scripts/ship_pretrained.py RUN
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from metamine import checkpoint
from metamine.files import write_json
from metamine.pretrained import NAME, run_of

FILES = ("config.yaml", "overrides.json", "metrics.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    run: Path = parser.parse_args().run
    facts = json.loads((run / "run.json").read_text())
    if facts["status"] != "done":
        raise SystemExit(f"{run} is not done, but {facts['status']}")
    best = checkpoint.load(run / "checkpoints", "best", torch.device("cpu"))
    shipped = run_of(NAME)
    shutil.rmtree(shipped, ignore_errors=True)
    (shipped / "checkpoints").mkdir(parents=True)
    for name in FILES:
        shutil.copy(run / name, shipped / name)
    report = (run / "report.md").read_text().splitlines()
    told = [line for line in report if not line.startswith("![")]  # pictures stay behind
    (shipped / "report.md").write_text("\n".join(told) + "\n")
    write_json(shipped / "run.json", {key: facts[key] for key in facts if key != "pid"})
    checkpoint.save(
        shipped / "checkpoints",
        replace(best, latest=None, optimizer={}, schedule={}, losses=[], best_step=best.step),
    )
    size = sum(path.stat().st_size for path in shipped.rglob("*") if path.is_file())
    print(f"{shipped}: step {best.step}, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
