"""Tables that the program writes, as tests read them."""

from __future__ import annotations

import csv
from pathlib import Path


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, each value by the title of its column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
