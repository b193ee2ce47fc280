"""One table of many methods, by family: which family each row is of, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from metamine.report.results import REFERENCE, ROLES
from metamine.report.table import NOTHING

ORDER = ("optimization", "metric", "model", "data")  # others follow, and baselines come last
BASELINE = ROLES[-1]


def families(summary: pd.DataFrame, known: Mapping[str, str]) -> dict[str, str]:
    """The family of each method of `summary`; NOTHING where its run did not tell."""
    roles = summary[["method", "role"]].drop_duplicates("method").to_numpy()
    return {
        str(method): BASELINE if role in (BASELINE, REFERENCE) else known.get(method, NOTHING)
        for method, role in roles
    }


def grouped(methods: Sequence[str], family: Mapping[str, str]) -> list[str]:
    """The methods family by family, in their order within each."""
    others = sorted({*family.values()} - {*ORDER, BASELINE})
    rank = {name: place for place, name in enumerate((*ORDER, *others, BASELINE))}
    return sorted(methods, key=lambda method: rank[family[method]])
