"""What `metamine transfer` trains, from the words that are typed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from metamine.config import build
from metamine.errors import UsageError
from metamine.hydra_app.composed import composed
from metamine.hydra_app.sentences import translated
from metamine.reproduce.table import Cell
from metamine.settings import REFERRED_TO
from metamine.sources.held import HeldTables
from metamine.sources.split import in_parts
from metamine.transfer.design import ALL, Design, Row

PARTS = 5  # unless --groups says otherwise
PRIORS = ("gaussian_clusters", "linear", "random_network")
OWN = ("evaluation=transfer", "checkpoint_every=${steps}")
HELD = "evaluation.also.held"  # where the tables stand in a run that trains on a prior
OF_SOURCES = REFERRED_TO - {"encoder"}  # keys of the top level that only a source reads
# Of what is typed, all that the run which learns a similarity shares: it has a method of its own.
SHARED = ("steps", "meta_batch", "chunk_size", "parallel_chunks", "device", "threads", "workers")


def design(words: Sequence[str], groups: int | None, config_dir: Path | None) -> Design:
    """Read the tables that `words` name, and put their groups whole into `groups` parts.

    words: overrides of `metamine train` that come last in every run. groups: None for `PARTS`, or
    a part for each group if there are fewer. config_dir: also look for config groups there.
    Raises UsageError if the words fit no single run, or if there is nothing to share out.
    """
    folders = [config_dir.resolve()] if config_dir else []
    once = _of_one_run(words)
    if "split" not in composed([*OWN, *once], folders)["source"]:
        chosen = next((word for word in once if word.startswith("source=")), "source=synthetic")
        raise UsageError(
            f"transfer shares out the tables of a source, and {chosen} has none to share out; "
            "add source=tables path=FOLDER or source=openml suite=SUITE"
        )
    config = composed([*OWN, "source/split=one_part", "source.split.part=null", *once], folders)
    source: HeldTables = build(config["source"], config["trust"], "source")
    if source.name in PRIORS:
        raise UsageError(f"{source.place} is called as a prior is; rename the folder")
    parts = _parts(source, groups, config["source"]["split"]["seed"])
    more = ["--config-dir", str(config_dir)] if config_dir else []
    kind, rows, priors = config["source"]["kind"], [], {}
    for index, (name, tables) in enumerate(parts.items()):
        split = f"source.split.parts={len(parts)}", f"source.split.part={index}"
        part = (*OWN, "source/split=one_part", *split, *words, *more)
        rows.append(Row("part", Cell(name, "", part), tuple(tables)))
    for prior in PRIORS:
        own = (*OWN, f"source={prior}", f"source.kind={kind}")
        priors[prior] = build(composed([*own, *_held(once)], folders)["source"], where="source")
        rows.append(Row("prior", Cell(prior, "", (*own, *_held(words), *more)), ()))
    shared = [word for word in once if word.partition("=")[0] in SHARED]
    synthetic = ("source=synthetic", f"source.kind={kind}", "method=nearest_task")
    return Design(
        config,
        source,
        priors,
        {table: name for name, tables in parts.items() for table in tables},
        rows,
        Cell("task similarity", "", (*OWN, *synthetic, *shared)),
    )


def _parts(source: HeldTables, groups: int | None, seed: int) -> dict[str, list[str]]:
    """Name of a part -> its tables; a part that is one group is called as that."""
    members: dict[str, list[str]] = {}
    for table in source.tables["test"]:
        members.setdefault(table.group, []).append(table.name)
    if len(members) < 2:
        raise UsageError(
            f"all tables of {source.place} are of one group, and transfer needs two groups at "
            "least; see source.tables and source.groups"
        )
    n_parts = min(PARTS, len(members)) if groups is None else groups
    if not 2 <= n_parts <= len(members):
        raise UsageError(
            f"--groups {n_parts} must be 2 at least, and {len(members)} at most: so many groups of "
            f"tables are in {source.place}"
        )
    group_of = {name: group for group, names in members.items() for name in names}
    telling = n_parts == len(members) and not members.keys() & {*PRIORS, ALL}
    return {
        group_of[tables[0]] if telling else f"part {index + 1}": tables
        for index, tables in enumerate(in_parts(members, n_parts, seed))
    }


def _of_one_run(words: Sequence[str]) -> list[str]:
    """The words without those that have several values, which only the seed may have.

    Raises UsageError for others, and for what transfer decides itself.
    """
    kept = []
    for word, override in zip(words, _parsed(words), strict=True):
        key = override.key_or_group
        if key == "experiment":
            raise UsageError(f"{word} may choose a source of its own; write out what it sets")
        if re.match(r"source[/.]split(?!\.seed$)", key):
            raise UsageError(
                f"{word}: transfer shares out the tables itself; say in how many parts by --groups"
            )
        if not override.is_sweep_override():
            kept.append(word)
        elif key != "seed":
            raise UsageError(
                f"{word} gives several values, and only seed may have them; for others, run "
                "transfer once for each"
            )
    return kept


def _parsed(words: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(words))
    except Exception as error:
        raise translated(error) from error


def _held(words: Sequence[str]) -> Iterator[str]:
    """The words of a source as those of a held-out one, beside the prior that is trained on."""
    for word in words:
        if word.startswith("source="):
            yield f"+source@{HELD}={word.removeprefix('source=')}"
            yield f"source/split@{HELD}.split=one_part"
            yield f"{HELD}.split.part=null"
        elif word.partition("=")[0] in OF_SOURCES:
            yield f"{HELD}.{word}"
        else:
            yield re.sub(r"^([+~]*)source\.", rf"\1{HELD}.", word)
