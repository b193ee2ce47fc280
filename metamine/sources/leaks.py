"""Tables that are trained on in one source and held out in another, or in another run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from metamine.sources.base import Source, Split
from metamine.sources.twins import Contents, twins

log = logging.getLogger(__name__)

# Source -> table -> its contents.
Holdings = Mapping[str, Mapping[str, Contents]]


def holdings(sources: Sequence[Source], split: Split) -> Holdings:
    """What the sources have in a split; one that draws its tables anew has nothing."""
    return {source.name: source.contents(split) for source in sources}


def groups(held: Holdings) -> dict[str, dict[str, str]]:
    """Source -> table -> group, as a run keeps it for later evaluations on other tables."""
    return {
        source: {name: each.group for name, each in tables.items()}
        for source, tables in held.items()
        if tables
    }


def leaks(trained: Holdings, tested: Holdings) -> list[str]:
    """A sentence on each test table that holds the same data as a training table of another
    source, by its contents or by the family that both are in. Each is a warning too.

    Within a source, its own split sees to that.
    """
    both = {
        (role, source, name): each
        for role, held in (("seen", trained), ("held out", tested))
        for source, tables in held.items()
        for name, each in tables.items()
    }
    key_of = {" / ".join(key): key for key in both}

    def of_no_interest(one: str, other: str) -> bool:
        (role, source, _), (other_role, other_source, _) = key_of[one], key_of[other]
        return role == other_role or source == other_source

    found = twins(
        {name: both[key].sketch for name, key in key_of.items()},
        {name: len(both[key].cells) for name, key in key_of.items()},
        lambda name: both[key_of[name]].cells,
        of_no_interest,
    )
    same = {}
    for twin in found:
        (_, *held_out), (_, *seen) = sorted((key_of[twin.first], key_of[twin.second]))
        same[*held_out, *seen] = twin.reason
    return _said(same | _of_one_group(groups(trained), groups(tested), within_a_source=False))


def leaks_of_run(trained: Mapping[str, Mapping[str, str]], tested: Holdings) -> list[str]:
    """The same for tables that an earlier run trained on, of which only names and groups are kept.

    trained: what `groups` gave then.
    """
    return _said(_of_one_group(trained, groups(tested), within_a_source=True))


def _of_one_group(
    trained: Mapping[str, Mapping[str, str]],
    tested: Mapping[str, Mapping[str, str]],
    within_a_source: bool,
) -> dict[tuple[str, ...], str]:
    return {
        (source, name, other_source, other): "they are of one group"
        for source, tables in tested.items()
        for name, group in tables.items()
        for other_source, other_tables in trained.items()
        for other, other_group in other_tables.items()
        if group == other_group and (within_a_source or source != other_source)
    }


def _said(same: Mapping[tuple[str, ...], str]) -> list[str]:
    sentences = [
        f"{name} of {source} holds the same data as {other} of {other_source}, which is trained on "
        f"({reason}): its scores are not those of an unseen table"
        for (source, name, other_source, other), reason in same.items()
    ]
    for sentence in sentences:
        log.warning(sentence)
    return sentences
