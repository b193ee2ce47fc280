"""Tables that one source trains on and another source holds out."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from metamine.sources.base import Source
from metamine.sources.twins import twins

log = logging.getLogger(__name__)


def warn_of_leaks(trained: Sequence[Source], tested: Sequence[Source]) -> list[str]:
    """Say which test tables hold the same data as a training table of another source.

    Within a source, its own split sees to that. By their contents, or by the family that both are
    in. Returns what it said.
    """
    seen = {
        (source.name, name): each
        for source in trained
        for name, each in source.contents("train").items()
    }
    held_out = {
        (source.name, name): each
        for source in tested
        for name, each in source.contents("test").items()
    }
    both = {("seen", *key): each for key, each in seen.items()}
    both |= {("held out", *key): each for key, each in held_out.items()}
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
    pairs = {
        tuple(sorted((key_of[twin.first], key_of[twin.second]))): twin.reason for twin in found
    }
    for one, trained_on in seen.items():
        for other, tested_on in held_out.items():
            if one[0] != other[0] and trained_on.group == tested_on.group:
                pairs.setdefault((("held out", *other), ("seen", *one)), "they are of one family")
    said = [
        f"{name} of {source} holds the same data as {other} of {other_source}, which is trained on "
        f"({reason}): its scores are not those of an unseen table"
        for ((_, source, name), (_, other_source, other)), reason in pairs.items()
    ]
    for sentence in said:
        log.warning(sentence)
    return said
