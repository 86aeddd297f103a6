"""The Siena Scalp EEG Database as PhysioNet has it: ``PNxx/*.edf`` with ``Seizures-list-PNxx.txt``.

``subject_info.csv`` has the type of each patient's seizures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from brainbrr_core.annotation import Finding, siena
from brainbrr_core.corpus.demographics import Person, read_people
from brainbrr_core.corpus.layouts.base import CompleteCorpus, Folder, RecordingFile, RecordingLabels
from brainbrr_core.corpus.layouts.listed import ListedLayout
from brainbrr_core.files.regular import read_text

_SUBJECTS = "subject_info.csv"


class SienaLayout(ListedLayout):
    """The patients of the Siena database."""

    name = "siena"
    form = "PNxx/*.edf with Seizures-list-PNxx.txt"
    folder_name = re.compile(r"PN\d\d")
    tables_beside = (_SUBJECTS,)
    has_clock_times = True
    aliased = frozenset({"O1"})
    complete = MappingProxyType(
        {"": CompleteCorpus("Siena Scalp EEG 1.0.0", recordings=41, seizures=47)}
    )

    @staticmethod
    def list_name(folder: str) -> str:
        """``Seizures-list-PNxx.txt``."""
        return f"Seizures-list-{folder}.txt"

    def annotation_names(self, folder: Folder, name: str) -> tuple[str, ...]:
        """The list of seizures and, if there is one, the table with their types."""
        names = super().annotation_names(folder, name)
        return (*names, *(f"../{own}" for own in self.beside_folders(_SUBJECTS))) if names else ()

    def people(self) -> Mapping[str, Person]:
        """Age and sex from ``subject_info.csv``."""
        (name,) = self.beside_folders(_SUBJECTS) or (_SUBJECTS,)
        return read_people(self.root / name, ("patient_id", "age_years", "gender"), ",")

    def unlisted(self, text: str, edfs: Iterable[str]) -> list[str]:
        """Names in a list without an EDF."""
        return siena.unlisted(siena.parse(text, ""), edfs)

    def aliases(self, labels: Sequence[str]) -> Mapping[str, str]:
        """O1 where the file has ``1`` for it: after P3, in a file without another O1."""
        return siena.truncated_labels(labels)

    def read_labels(
        self, file: RecordingFile, signal_s: float | None, start: datetime | None = None
    ) -> RecordingLabels:
        """The seizures of the EDF in the list of its patient, with the patient's type of seizure.

        ``start`` is the time of the first sample according to the EDF.
        """
        if not file.annotations:
            return RecordingLabels.absent()
        path, *subjects = file.annotations
        source = "seizures_list"
        try:
            listed = siena.read(path)
            label = _label(subjects, file.patient)
        except OSError as error:
            return RecordingLabels.unreadable(path, source, error)
        parsed = siena.recording_annotation(listed, file.path.name, start, signal_s, label)
        if parsed is None:
            return RecordingLabels.absent(Finding("not_listed", path.name))
        return RecordingLabels.of(parsed, source, signal_s)


def _label(subjects: list[Path], patient: str) -> str:
    if not subjects:
        return "seiz"
    return siena.seizure_label(read_text(subjects[0]), patient)
