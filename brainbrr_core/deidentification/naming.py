"""Words that name a patient, and whether a text such as the path of a file has one of them."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+")
#: Words that stand where a name would be, and name nobody.
_NOBODY = frozenset(
    {
        "anonymised",
        "anonymized",
        "anonymous",
        "female",
        "male",
        "none",
        "patient",
        "startdate",
        "subject",
        "test",
        "unknown",
    }
)
#: Shorter words name somebody only as a whole word of a text.
_WITHIN = 4


def identity_words(texts: Iterable[str]) -> frozenset[str]:
    """The words of some texts that may name somebody, folded; single characters do not."""
    words = {word for text in texts for word in _WORD.findall(_folded(text))}
    return frozenset(word for word in words if len(word) > 1 and word not in _NOBODY)


def names_patient(text: str, words: Iterable[str]) -> bool:
    """Whether a text has one of the ``words``, in any case and with or without accents."""
    folded = _folded(text)
    own = set(_WORD.findall(folded))
    return any(word in own or (len(word) >= _WITHIN and word in folded) for word in words)


def has_date(text: str, dates: Iterable[datetime.date]) -> bool:
    """Whether a text has one of the ``dates``, in figures and in any usual order."""
    for date in dates:
        year, short = f"{date.year:04}", f"{date.year % 100:02}"
        month, day = f"{date.month:02}", f"{date.day:02}"
        orders = [
            order
            for some_year in (year, short)
            for order in (
                (some_year, month, day),
                (day, month, some_year),
                (month, day, some_year),
            )
        ]
        for order in orders:
            if re.search(rf"(?<!\d){'[-_. ]?'.join(order)}(?!\d)", text) is not None:
                return True
    return False


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
