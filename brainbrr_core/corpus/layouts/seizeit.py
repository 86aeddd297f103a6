"""SeizeIT1: ``P_IDxx/P_IDxx_rN.edf`` with ``P_IDxx_rN_a1.tsv``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from brainbrr_core.annotation import on_signal, seizeit
from brainbrr_core.corpus.demographics import Person, age_in, sex_in
from brainbrr_core.corpus.layouts.base import Folder, RecordingFile, RecordingLabels, stem_of
from brainbrr_core.corpus.layouts.listed import PatientFolderLayout


class SeizeItLayout(PatientFolderLayout):
    """The recordings of SeizeIT1, by the annotations of its first annotator."""

    name = "seizeit1"
    form = "P_IDxx/P_IDxx_rN.edf with P_IDxx_rN_a1.tsv"
    folder_name = re.compile(r"P_ID\d+")

    @classmethod
    def is_annotated(cls, folder: Path) -> bool:
        """Whether there is an ``_a1.tsv``."""
        return next(folder.glob(f"*{seizeit.SUFFIX}"), None) is not None

    def annotation_names(self, folder: Folder, name: str) -> tuple[str, ...]:
        """The ``_a1.tsv`` with the name of the EDF."""
        return folder.present(f"{stem_of(name)}{seizeit.SUFFIX}")

    def annotates(self, _folder: str, name: str, recordings: Collection[str]) -> bool | None:
        """Whether an ``_a1.tsv`` has the name of a recording."""
        if not name.endswith(seizeit.SUFFIX):
            return None
        return name.removesuffix(seizeit.SUFFIX) in recordings

    def people(self) -> Mapping[str, Person]:
        """Age and sex of each patient, each from the first ``_a1.tsv``, by name, that says it."""
        people = {}
        for folder in self.folders():
            age = sex = ""
            for path in sorted(folder.glob(f"*{seizeit.SUFFIX}")):
                try:
                    text = path.read_text(encoding="utf-8", errors="replace")
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
        try:
            parsed = on_signal(seizeit.read(path), signal_s)
        except OSError as error:
            return RecordingLabels.unreadable(path, "a1.tsv", error)
        return RecordingLabels.of(parsed, "a1.tsv", signal_s)
