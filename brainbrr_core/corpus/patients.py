"""Spellings of a patient's name that mean the same patient, and finding the name in a path."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import ItemsView, Iterable

from brainbrr_core.errors import BrainbrrError


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


def patient_pattern(text: str) -> re.Pattern[str]:
    """The compiled ``--patient-pattern``, whose only group is the patient in a path.

    Raises :class:`BrainbrrError` where it is none.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise BrainbrrError(
            f"--patient-pattern {text!r} is not a regular expression: {error}"
        ) from None
    if pattern.groups != 1:
        raise BrainbrrError(
            f"--patient-pattern {text!r} has {pattern.groups} groups: put the part that is the "
            "patient, and only that, in parentheses"
        )
    return pattern


def name_alone(patient: str, partition_key: str) -> str:
    """A patient's name without that of the corpus before it, which the key of a recording has, too.

    ``chb01`` for the patient ``chbmit/chb01`` of the recording ``chbmit/chb01/chb01_03``.
    """
    corpus, slash, name = patient.partition("/")
    return name if slash and partition_key.startswith(f"{corpus}/") else patient
