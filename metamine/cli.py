"""The command words in front of Hydra; imports nothing heavy before one is known."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from metamine import __version__
from metamine.complaints import complain, did_you_mean
from metamine.errors import Interrupted, UsageError


class Command(Protocol):
    """A module of `metamine.commands`; its words are what follows the command word."""

    def main(self, words: Sequence[str]) -> int:
        """Run the command; return the exit code."""

    def complete(self, request: Sequence[str]) -> int:
        """Answer a shell's completion request about COMP_LINE, which lacks the command word."""


COMMANDS = {
    "train": "meta-train a method, evaluate it on held-out tables, leave a run directory",
    "evaluate": "evaluate a run's checkpoint, on its own or on other tasks",
    "prefetch": "fetch OpenML tables into the store that runs read",
    "predict": "label the rows of a table from a handful of labelled ones",
    "tasks": "say which tables are alike, as a run has learned",
    "transfer": "train on each group of tables, test on each other, and say where that helps",
    "reproduce": "run what a published table needs, and print its numbers beside ours",
    "report": "collect any number of runs into one table, with pictures",
    "list": "list methods, baselines, sources, suites, experiments or runs",
    "show": "show one run: its status, config, results and files",
}

_WORDS = "\n".join(f"  {name:<10}{purpose}" for name, purpose in COMMANDS.items())
USAGE = f"""\
metamine {__version__}: the experiment runner for meta-learning on tabular data

usage: metamine COMMAND [KEY=VALUE ...] [FLAGS]

{_WORDS}

  metamine train                                       the main job, with its defaults
  metamine train method=maml device=cuda               choose a method and a device
  metamine train -m method=maml,protonet seed=0,1,2    a sweep: six runs
  metamine evaluate run=RUN source=shipped             other tasks for a trained run
  metamine predict few.csv rest.csv target=y model=RUN label rest.csv from few.csv
  metamine COMMAND --help                              what the command takes

completion: eval "$(metamine -sc install=bash)"; zsh alike, fish: metamine -sc install=fish | source
"""


def main() -> int:
    """Run the command line; return the exit code (2: it cannot be run as typed)."""
    try:
        return _dispatch(sys.argv[1:])
    except BrokenPipeError:  # `metamine show RUN | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (Exception, KeyboardInterrupt, Interrupted) as error:
        return complain(error)


def _dispatch(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    command, *rest = words
    if command in ("-V", "--version"):
        print(f"metamine {__version__}")
        return 0
    if command in ("-sc", "--shell-completion"):
        return _complete(rest)
    if command in COMMANDS:
        return _command(command).main(rest)
    if command.startswith("-") or "=" in command:
        raise UsageError(f"the command must come first, as in: metamine train {command}")
    raise UsageError(
        f"there is no command '{command}'"
        + (did_you_mean(command, COMMANDS) or f"; there are {', '.join(COMMANDS)}")
    )


def _complete(request: Sequence[str]) -> int:
    """Print what may follow COMP_LINE (`query=SHELL`), or the shell's script (`install=SHELL`)."""
    program, *typed = os.environ.get("COMP_LINE", "metamine").split(" ")
    command, rest = (typed or [""])[0], typed[1:]
    if not request[:1] or not request[0].startswith("query="):
        return _command("train").complete(request)
    if not rest:
        print(" ".join(name for name in COMMANDS if name.startswith(command)))
    elif command in COMMANDS:
        os.environ["COMP_LINE"] = " ".join([program, *rest])
        return _command(command).complete(request)
    return 0


def _command(name: str) -> Command:
    return cast(Command, import_module(f"metamine.commands.{name}"))
