"""Which OpenML data sets share data or origin, as a table that ships with metamine says."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("families.csv")


@cache
def family_of() -> dict[int, str]:
    """Id of a data set -> its family; one that is in no family is left out."""
    with TABLE.open(newline="", encoding="utf-8") as lines:
        return {
            int(number): line["family"]
            for line in csv.DictReader(lines)
            for number in line["datasets"].split()
        }
