"""`metamine prefetch`: fetch OpenML suites, tasks and data sets into the store that runs read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

FLAGS = ("--verify", "--repair", "--refresh", "--help", "-h")
DEFAULTS: dict[str, Any] = {
    "suite": None,
    "tasks": None,
    "datasets": None,
    "dest": None,
    "server": "https://www.openml.org/api/v1/xml/",
    "format": "auto",
    "splits": True,
    "timeout": 60.0,
    "tries": 5,
    "most_cells": 500_000_000,
    "most_bytes": 4_000_000_000,
    "pause": 1,
}
HELP = """\
metamine prefetch: fetch OpenML tables once; runs then read the store, without a network

  metamine prefetch suite=OpenML-CC18             a suite, by alias or id
  metamine prefetch suite=[99,tabarena-v0.1]      several
  metamine prefetch tasks=[31,59] datasets=[61]   single tasks, data sets by default target
  metamine prefetch suite=99 dest=FOLDER          into another store than METAMINE_STORE
  metamine prefetch --verify                      read every byte of the store
  metamine prefetch --repair suite=99             take damaged tables away, fetch them anew
  metamine prefetch --refresh suite=99            what changed upstream; keeps the new list

keys, with their defaults:
"""


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit code (1: something could not be had, or is damaged)."""
    from metamine.complaints import did_you_mean
    from metamine.errors import UsageError

    flags = {word for word in words if word.startswith("-")}
    for flag in flags - set(FLAGS):
        raise UsageError(f"there is no flag {flag}{did_you_mean(flag, FLAGS)}")
    if flags & {"--help", "-h"}:
        print(HELP + "\n".join(f"  {key}={_shown(value)}" for key, value in DEFAULTS.items()))
        return 0
    from metamine.config import check
    from metamine.openml.suites import resolve
    from metamine.prefetch.fetch import Prefetch, Request, describe_changes, verify

    given = dict(_read(word) for word in words if not word.startswith("-"))
    check(DEFAULTS | given, Request)
    request = Request(**DEFAULTS | given)
    if flags & {"--verify", "--repair"}:
        sound, problems = verify(request.store, repair="--repair" in flags)
        print("\n".join([*problems, f"{sound} sound, {len(problems)} damaged: {request.store}"]))
        if "--verify" in flags or not (request.suite or request.tasks or request.datasets):
            return 1 if problems else 0
    prefetch = Prefetch(request)
    if "--refresh" in flags:
        names = request.suites
        if not names:
            raise UsageError("--refresh needs a suite: metamine prefetch suite=99 --refresh")
        for name in names:
            try:
                before: dict[str, Any] | None = _snapshot(resolve(name, request.store))
            except UsageError:
                before = None
            print(describe_changes(before, prefetch.refresh(name)))
        return 0
    wanted = request.wanted()
    summary = prefetch.run(wanted)
    print(summary.text(request.store))
    return 1 if summary.failed else 0


def complete(request: Sequence[str]) -> int:
    """Answer a shell's completion request."""
    import os

    last = os.environ.get("COMP_LINE", "").rpartition(" ")[2]
    words = [*(f"{key}=" for key in DEFAULTS), *FLAGS]
    print(" ".join(word for word in words if word.startswith(last)))
    return 0


def _read(word: str) -> tuple[str, Any]:
    """`key=value` as the value it means: a number, a list, a text."""
    from omegaconf import OmegaConf
    from yaml import YAMLError

    from metamine.errors import UsageError

    key, equals, text = word.partition("=")
    if not equals:
        raise UsageError(f"'{word}' cannot be read; write key=value, as in suite=OpenML-CC18")
    try:
        listed = f"[{text}]" if "," in text and text[:1] != "[" else text
        content = OmegaConf.to_container(OmegaConf.create(f"value: {listed}"))
    except (YAMLError, ValueError):
        raise UsageError(f"'{word}' cannot be read; lists are written [1,2]") from None
    value = content["value"] if isinstance(content, dict) else None
    if isinstance(value, int) and key == "timeout":
        value = float(value)
    return key, value


def _shown(value: Any) -> str:
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def _snapshot(suite: Any) -> dict[str, Any]:
    entries = [{"task": each.task, "dataset": each.dataset} for each in suite.entries]
    return {"entries": entries, "collected": suite.collected}
