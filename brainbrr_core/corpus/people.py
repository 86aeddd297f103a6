"""Patients of several corpora who are one person, as a recording that they have in common shows."""

from __future__ import annotations

from collections.abc import Iterable

from brainbrr_core.corpus.patients import name_form
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.corpus.same_content import is_copy


def one_person(recordings: Iterable[Recording]) -> dict[str, str]:
    """Each patient who has another name, too, with the name by which that person is counted.

    Patients of two corpora are one person where they have a recording of the same bytes or the same
    samples. Within a corpus, such patients are refused when it is indexed. Files that are no usable
    recording, such as empty ones, say nothing about anybody.
    """
    names: dict[str, str] = {}

    def person(form: str) -> str:
        while form in names:
            form = names[form]
        return form

    first: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for recording in recordings:
        if not recording.corpus:
            continue
        own = name_form(recording.patient)
        spelled.setdefault(recording.patient, own)
        if not (recording.is_usable_in_a_montage or is_copy(recording)):
            continue
        for mark in filter(None, (recording.content_hash, recording.data_hash)):
            one, other = sorted((person(own), person(first.setdefault(mark, own))))
            if one != other:
                names[other] = one
    if not names:
        return {}
    spelling = {form: patient for patient, form in sorted(spelled.items(), reverse=True)}
    return {patient: spelling[person(form)] for patient, form in spelled.items() if form in names}
