"""Spellings of a patient's name that mean the same patient."""

from __future__ import annotations

import unicodedata
from collections.abc import ItemsView, Iterable


def spellings(patients: Iterable[str]) -> ItemsView[str, set[str]]:
    """Each common form of names (:func:`name_form`), with the spellings that have it."""
    forms: dict[str, set[str]] = {}
    for patient in set(patients):
        forms.setdefault(name_form(patient), set()).add(patient)
    return forms.items()


def name_form(patient: str) -> str:
    """A patient's name in lower case and one Unicode form, equal for all spellings."""
    if patient.isascii():
        return patient.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", patient).casefold())
