"""The patient of each recording, and the split of each patient; no patient may be in two splits.

Both follow from paths or from the settings of the corpus. Files with the same content belong to
``same_content``.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace

from brainbrr_core.annotation import Finding
from brainbrr_core.configuration.settings import Corpus, Split
from brainbrr_core.corpus.layouts.base import RecordingFile
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import BrainbrrError

#: Code of the finding about a patient with another spelling in the same split.
SIMILAR_PATIENT = "similar_patient"
#: How many patients or recordings a message names.
_NAMED = 3


def identify_patients(files: Iterable[RecordingFile], corpus: Corpus) -> list[RecordingFile]:
    """The files with a patient, found by ``corpus.patient_pattern`` if it is set, and a split.

    Raises :class:`BrainbrrError` when a patient is unknown, and when one is in two splits, under
    one name or under names that differ only in case or Unicode form.
    """
    files = list(files)
    if corpus.patient_pattern is not None:
        files = _by_pattern(files, corpus.patient_pattern)
    if len(files) == 1 and not files[0].patient:
        # A single recording needs no name of its patient.
        files = [files[0]._replace(patient=files[0].path.stem)]
    _check_known(files)
    first = {form: min(names) for form, names in _spellings(file.patient for file in files).items()}
    # All spellings of a patient get one split.
    files = [
        file._replace(split=seeded_split(first[name_form(file.patient)], corpus.split))
        if file.split is None
        else file
        for file in files
    ]
    _check_splits(files)
    return files


def seeded_split(patient: str, settings: Split) -> str:
    """The split of a patient in a corpus that does not define splits.

    It depends only on the seed and the patient, so that adding a patient does not move others. The
    SHA-256 of both, as a fraction of its range, is compared with the fractions of the splits.
    """
    hashed = hashlib.sha256(f"{settings.seed}:{patient}".encode()).digest()
    fraction = int.from_bytes(hashed[:8], "big") / 2**64
    if fraction < settings.eval:
        return "eval"
    return "dev" if fraction < settings.eval + settings.dev else "train"


def with_similar_patients(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings, with a finding for each patient who has another spelling."""
    several = {
        form: names
        for form, names in _spellings(recording.patient for recording in recordings).items()
        if len(names) > 1
    }
    if not several:
        return list(recordings)
    return [
        _with_similar(recording, several.get(name_form(recording.patient)))
        for recording in recordings
    ]


def _with_similar(recording: Recording, names: set[str] | None) -> Recording:
    if names is None:
        return recording
    others = ", ".join(sorted(names - {recording.patient}))
    # Located in the EDF, as the findings of a signal are.
    finding = Finding(SIMILAR_PATIENT, recording.file_name, f"as {others}")
    return replace(recording, findings=(*recording.findings, finding))


def _by_pattern(files: Iterable[RecordingFile], pattern: str) -> list[RecordingFile]:
    rule = re.compile(pattern)
    named, unnamed = [], []
    for file in files:
        match = rule.search(file.partition_key)
        patient = match[1] if match is not None else None
        if patient:
            named.append(file._replace(patient=patient))
        else:
            unnamed.append(file.partition_key)
    if unnamed:
        raise BrainbrrError(
            f"corpus.patient_pattern '{pattern}' gives no patient for {len(unnamed)} recordings, "
            f"such as {unnamed[0]}: change it in the configuration so that it fits every one"
        )
    return named


def _check_known(files: Iterable[RecordingFile]) -> None:
    unknown = [file.partition_key for file in files if not file.patient]
    if unknown:
        raise BrainbrrError(
            f"{len(unknown)} recordings, such as {unknown[0]}, lie in no patient's folder, so they "
            "cannot be split by patient: give each patient a folder, or set in a configuration "
            "file how to find the patient in a name, such as `corpus: {patient_pattern: "
            "'^([^-_]+)'}`"
        )


def _check_splits(files: Iterable[RecordingFile]) -> None:
    splits: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    for patient, split in {(file.patient, file.split or "") for file in files}:
        form = name_form(patient)
        splits.setdefault(form, set()).add(split)
        names.setdefault(form, set()).add(patient)
    shared = sorted(form for form, own in splits.items() if len(own) > 1)
    if not shared:
        return
    one_name = all(len(names[form]) == 1 for form in shared)
    shown = [" and ".join(sorted(names[form])) for form in shared[:_NAMED]]
    raise BrainbrrError(
        f"{len(shared)} patients are in more than one split ({', '.join(shown)}"
        f"{', ...' if len(shared) > _NAMED else ''})"
        f"{'' if one_name else ', under names that differ only in case or Unicode form'}: "
        "a model would be scored on patients of its training data; move each patient into one split"
    )


def _spellings(patients: Iterable[str]) -> dict[str, set[str]]:
    """The spellings of each patient by their common form (:func:`name_form`)."""
    spellings: dict[str, set[str]] = {}
    for patient in set(patients):
        spellings.setdefault(name_form(patient), set()).add(patient)
    return spellings


def name_form(patient: str) -> str:
    """A patient's name in lower case and one Unicode form, equal for all spellings."""
    if patient.isascii():
        return patient.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", patient).casefold())
