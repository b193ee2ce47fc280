"""`metamine predict LABELLED UNLABELLED target=COLUMN`: label rows from a handful."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

USAGE = "metamine predict LABELLED UNLABELLED target=COLUMN [model=RUN] [KEY=VALUE ...]"
HELP = f"""\
usage: {USAGE}

Adapt the pretrained model, or a run, to a handful of labelled rows, and label others. Both files
are CSV, Parquet or ARFF with the same columns, but for the target, which the second may lack.

  target=COLUMN     the column to predict
  model=RUN         what to adapt: pretrained (default), the model that metamine ships, or the
                    directory of a run of metamine train; see: metamine list runs
  output=FILE       what to write, as CSV (default: predictions.csv)
  kind=KIND         classification (default) or regression
  unseen=WHAT       categories that no labelled row shows: missing (default) or refuse
  members=N         orders of columns and classes to average over (default: 8)
  device=NAME       cpu (default), cuda, cuda:1, mps or auto
"""
KEYS = ("target", "model", "output", "kind", "unseen", "members", "device")


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    if {"-h", "--help"} & set(words):
        print(HELP, end="")
        return 0
    from metamine.complaints import did_you_mean
    from metamine.errors import UsageError

    files = [word for word in words if "=" not in word]
    given = dict(word.split("=", 1) for word in words if "=" in word)
    for key in given:
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or f"; there are {', '.join(KEYS)}"
            raise UsageError(f"predict has no key {key}{hint}")
    if flags := [word for word in files if word.startswith("-")]:
        raise UsageError(f"predict has no flag {flags[0]}; keys are written key=value")
    if len(files) != 2:
        raise UsageError(f"predict takes two files, and {len(files)} are given: {USAGE}")
    if not given.get("target"):
        raise UsageError(f"predict needs target=...: {USAGE}")
    return _predict(Path(files[0]), Path(files[1]), given)


def complete(request: Sequence[str]) -> int:
    """Answer a shell's completion request; files are the shell's own affair."""
    import os

    last = os.environ.get("COMP_LINE", "").rpartition(" ")[2]
    print(" ".join(f"{key}=" for key in KEYS if key.startswith(last)))
    return 0


def _predict(labelled: Path, unlabelled: Path, given: dict[str, str]) -> int:
    from metamine.complaints import did_you_mean
    from metamine.episode import Kind
    from metamine.errors import UsageError
    from metamine.estimators.cells import Unseen
    from metamine.estimators.prediction import Asked, predict
    from metamine.pretrained import NAME

    for key, default, choices in (
        ("kind", "classification", get_args(Kind)),
        ("unseen", "missing", get_args(Unseen)),
    ):
        if given.setdefault(key, default) not in choices:
            hint = did_you_mean(given[key], choices) or f"; there are {', '.join(choices)}"
            raise UsageError(f"{key}={given[key]} is none{hint}")
    members = given.get("members", "8")
    if not members.isdecimal() or int(members) < 1:
        raise UsageError(f"members={members} must be a number, 1 at least")
    output = Path(given.get("output", "predictions.csv"))
    if output.exists():
        raise UsageError(f"{output} is there already; choose another output=FILE")
    asked = Asked(
        labelled=labelled,
        unlabelled=unlabelled,
        target=given["target"],
        model=given.get("model", NAME),
        kind=given["kind"],  # type: ignore[arg-type]
        unseen=given["unseen"],  # type: ignore[arg-type]
        members=int(members),
        device=given.get("device", "cpu"),
    )
    print(predict(asked, output))
    print(f"\n{output}")
    return 0
