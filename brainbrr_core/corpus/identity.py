"""The patient of each recording, and the split of each patient; no patient may be in two splits.

Both follow from paths or from the settings of the corpus. Files with the same content belong to
``same_content``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from brainbrr_core.annotation import Finding
from brainbrr_core.configuration.settings import Corpus
from brainbrr_core.corpus.layouts.base import RecordingFile
from brainbrr_core.corpus.patients import name_form, spellings
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.corpus.splits import IndexedSplits, SplitPlan, plan_splits
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError

#: Code of the finding about a patient with another spelling in the same split.
SIMILAR_PATIENT = "similar_patient"
#: How many patients or recordings a message names.
_NAMED = 3


def identify_patients(
    files: Iterable[RecordingFile],
    corpus: Corpus,
    data: Path,
    shown: str,
    before: IndexedSplits | None,
) -> tuple[list[RecordingFile], SplitPlan]:
    """The files with a patient and a split, and how the splits were found.

    The patient is found by ``corpus.patient_pattern`` if it is set; for splits see
    :func:`~brainbrr_core.corpus.splits.plan_splits`, whose parameters the others are.

    Raises :class:`BrainbrrError` as that does, when a patient is unknown, and when one is in two
    splits, under one name or under names that differ only in case or Unicode form.
    """
    files = list(files)
    if corpus.patient_pattern is not None:
        files = _by_pattern(files, corpus.patient_pattern)
    if len(files) == 1 and not files[0].patient:
        # A single recording needs no name of its patient.
        files = [files[0]._replace(patient=files[0].path.stem)]
    _check_known(files)
    files, plan = plan_splits(files, corpus.split, data, shown, before)
    _check_splits(files)
    return files, plan


def with_similar_patients(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings, with a finding for each patient who has another spelling."""
    several = {
        form: names
        for form, names in spellings(recording.patient for recording in recordings)
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
            f"corpus.patient_pattern '{pattern}' gives no patient for "
            f"{count(len(unnamed), 'recording')}, such as {unnamed[0]}: change it in the "
            "configuration so that it fits every one"
        )
    return named


def _check_known(files: Iterable[RecordingFile]) -> None:
    unknown = [file.partition_key for file in files if not file.patient]
    if unknown:
        raise BrainbrrError(
            f"{count(len(unknown), 'recording')} without a patient's folder, such as "
            f"{unknown[0]}, cannot be split by patient: give each patient a folder, or set in "
            "a configuration file how to find the patient in a name, such as `corpus: "
            "{patient_pattern: '^([^-_]+)'}`"
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
        f"{count(len(shared), 'patient')} {'is' if len(shared) == 1 else 'are'} in more than one "
        f"split ({', '.join(shown)}"
        f"{', ...' if len(shared) > _NAMED else ''})"
        f"{'' if one_name else ', under names that differ only in case or Unicode form'}: "
        "a model would be scored on patients of its training data; move each patient into one split"
    )
