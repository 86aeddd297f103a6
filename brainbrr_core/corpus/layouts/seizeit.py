"""SeizeIT1: ``P_IDxx/P_IDxx_rN.edf`` with ``P_IDxx_rN_a1.tsv``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from brainbrr_core.annotation import Finding, on_signal, seizeit
from brainbrr_core.corpus.demographics import Person, age_in, sex_in
from brainbrr_core.corpus.layouts.base import Folder, RecordingFile, RecordingLabels, stem_of
from brainbrr_core.corpus.layouts.listed import PatientFolderLayout
from brainbrr_core.files.regular import read_text

#: How annotations end, that which is read first.
_SUFFIXES = (seizeit.SUFFIX, seizeit.SECOND_SUFFIX)


class SeizeItLayout(PatientFolderLayout):
    """The recordings of SeizeIT1, by the annotations of its first annotator."""

    name = "seizeit1"
    form = "P_IDxx/P_IDxx_rN.edf with P_IDxx_rN_a1.tsv"
    folder_name = re.compile(r"P_ID\d+")

    @classmethod
    def is_annotated(cls, folder: Path) -> bool:
        """Whether there is an annotation, of either annotator."""
        return any(any(folder.glob(f"*{suffix}")) for suffix in _SUFFIXES)

    def annotation_names(self, folder: Folder, name: str) -> tuple[str, ...]:
        """The ``_a1.tsv`` with the name of the EDF; without one, the ``_a2.tsv``."""
        return folder.present(*(f"{stem_of(name)}{suffix}" for suffix in _SUFFIXES))[:1]

    def annotates(self, _folder: str, name: str, recordings: Collection[str]) -> bool | None:
        """Whether an annotation, of either annotator, has the name of a recording."""
        suffix = next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), None)
        return None if suffix is None else name.removesuffix(suffix) in recordings

    def people(self) -> Mapping[str, Person]:
        """Age and sex of each patient, each from the first ``_a1.tsv``, by name, that says it."""
        people = {}
        for folder in self.folders():
            age = sex = ""
            for path in sorted(folder.glob(f"*{seizeit.SUFFIX}")):
                try:
                    text = read_text(path)
                except OSError:
                    # Both are for information only.
                    continue
                says = seizeit.age_and_sex(text)
                age, sex = age or says[0], sex or says[1]
                if age and sex:
                    break
            people[folder.name] = Person(age_in(age), sex_in(sex))
        return people

    def read_labels(
        self, file: RecordingFile, signal_s: float | None, _start: datetime | None = None
    ) -> RecordingLabels:
        """The seizures in the ``_a1.tsv`` of the EDF."""
        if not file.annotations:
            return RecordingLabels.absent()
        (path,) = file.annotations
        if path.name.endswith(seizeit.SECOND_SUFFIX):
            return RecordingLabels.absent(Finding("second_annotator_only", path.name))
        try:
            parsed = on_signal(seizeit.read(path), signal_s)
        except OSError as error:
            return RecordingLabels.unreadable(path, "a1.tsv", error)
        return RecordingLabels.of(parsed, "a1.tsv", signal_s)
