"""Age and sex of patients, as the tables of corpora have them."""

from __future__ import annotations

import re

#: The age that stands for all above 89, which would tell few people apart.
OLDEST = 90
_AGE = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)\+?")
_SEXES = {
    "f": "F",
    "female": "F",
    "woman": "F",
    "girl": "F",
    "m": "M",
    "male": "M",
    "man": "M",
    "boy": "M",
    "o": "O",
    "other": "O",
}


def age_in(cell: str) -> float | None:
    """The age in years that a cell of a table gives, 90 for each above 89; None where it is none.

    ``89+`` is above 89.
    """
    match = _AGE.fullmatch(cell.strip())
    if match is None:
        return None
    age = float(match[1])
    is_above = age >= OLDEST - 1 if cell.strip().endswith("+") else age > OLDEST - 1
    return float(OLDEST) if is_above else age


def sex_in(cell: str) -> str:
    """``F``, ``M`` or ``O`` (other), as BIDS has them; empty where a cell says none of them."""
    return _SEXES.get(cell.strip().lower(), "")
