"""Age and sex of patients, as the tables of corpora have them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from brainbrr_core.corpus.recording import Recording
from brainbrr_core.files.regular import read_text

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


class Person(NamedTuple):
    """Age in years, None where it is unknown, and sex, empty where it is."""

    age: float | None
    sex: str


def read_people(table: Path, columns: tuple[str, str, str], separator: str) -> dict[str, Person]:
    """Age and sex of each person in a table, by name, in the columns of name, age and sex.

    Nobody where the table cannot be read: both are for information only. Of two rows with one
    name, the first one counts.
    """
    try:
        text = read_text(table)
    except OSError:
        return {}
    rows = [
        [cell.strip() for cell in line.split(separator)]
        for line in text.splitlines()
        if line.strip()
    ]
    people: dict[str, Person] = {}
    for row in rows[1:]:
        cells = dict(zip(rows[0], row, strict=False))
        name, age, sex = (cells.get(column, "") for column in columns)
        if name:
            people.setdefault(name, Person(age_in(age), sex_in(sex)))
    return people


def with_people(
    recordings: Iterable[Recording], people: Mapping[str, Person]
) -> tuple[Recording, ...]:
    """Recordings with the age and sex of whoever has the name of their topmost folder."""
    nobody = Person(None, "")
    return tuple(
        one
        if (one.age, one.sex) == (person := people.get(one.partition_key.split("/")[0], nobody))
        else replace(one, age=person.age, sex=person.sex)
        for one in recordings
    )
