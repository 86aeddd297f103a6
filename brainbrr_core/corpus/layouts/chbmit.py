"""CHB-MIT as PhysioNet has it: ``chbNN/*.edf`` with ``chbNN/chbNN-summary.txt``.

``RECORDS-WITH-SEIZURES`` tells which EDFs that a summary leaves out have no seizure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from brainbrr_core.annotation import Finding, ParsedAnnotation, chbmit
from brainbrr_core.annotation.clock import on_signal_despite_clock
from brainbrr_core.corpus.demographics import Person, read_people
from brainbrr_core.corpus.layouts.base import CompleteCorpus, Folder, RecordingFile, RecordingLabels
from brainbrr_core.corpus.layouts.listed import ListedLayout
from brainbrr_core.files.regular import read_text

#: Cases that are the same person as another case, recorded one and a half years later.
_SAME_PERSON = {"chb21": "chb01"}
_INVENTORY, _SUBJECTS = "RECORDS-WITH-SEIZURES", "SUBJECT-INFO"


class ChbmitLayout(ListedLayout):
    """The cases of CHB-MIT; chb21 belongs to the patient chb01."""

    name = "chbmit"
    form = "chbNN/*.edf with chbNN-summary.txt"
    folder_name = re.compile(r"chb\d\d")
    tables_beside = (_INVENTORY, _SUBJECTS)
    aliased = frozenset({"O1"})
    complete = MappingProxyType({"": CompleteCorpus("CHB-MIT 1.0.0", recordings=686, seizures=198)})

    @staticmethod
    def list_name(folder: str) -> str:
        """``chbNN-summary.txt``."""
        return f"{folder}-summary.txt"

    def patient(self, folder: str) -> str:
        """The case, or the case under which the same person was recorded before."""
        return _SAME_PERSON.get(folder, folder)

    def annotation_names(self, folder: Folder, name: str) -> tuple[str, ...]:
        """The summary of the case and, if there is one, the list of recordings with seizures."""
        names = super().annotation_names(folder, name)
        return (*names, *(f"../{own}" for own in self.beside_folders(_INVENTORY))) if names else ()

    def people(self) -> Mapping[str, Person]:
        """Age at the first recording of each case, and sex, from ``SUBJECT-INFO``."""
        (name,) = self.beside_folders(_SUBJECTS) or (_SUBJECTS,)
        return read_people(self.root / name, ("Case", "Age (years)", "Gender"), "\t")

    def aliases(self, labels: Sequence[str]) -> Mapping[str, str]:
        """O1 where the file has ``01`` for it."""
        return chbmit.mistyped_labels(labels)

    def unlisted(self, text: str, edfs: Iterable[str]) -> list[str]:
        """Names in a summary without an EDF."""
        present = {name.lower() for name in edfs}
        names = dict.fromkeys(chbmit.listed_names(text))
        return [name for name in names if name.lower() not in present]

    def read_labels(
        self, file: RecordingFile, signal_s: float | None, _start: datetime | None = None
    ) -> RecordingLabels:
        """The seizures of the EDF in the summary of its case.

        An EDF that the summary leaves out has none if the list of recordings with seizures has
        others of its case; without that list, nothing is known.
        """
        if not file.annotations:
            return RecordingLabels.absent()
        path, *inventories = file.annotations
        edf = file.path
        try:
            parsed = chbmit.read(path, edf.name)
            quiet = None
            for inventory in inventories:
                text = read_text(inventory)
                quiet = chbmit.without_seizures(text, edf.parent.name, edf.name)
        except OSError as error:
            return RecordingLabels.unreadable(path, "summary.txt", error)
        if parsed is None:
            if not quiet:
                return RecordingLabels.absent(Finding("not_listed", path.name))
            parsed = ParsedAnnotation(
                path.name, findings=(Finding("only_in_inventory", path.name),)
            )
        elif quiet is not None and quiet != (not parsed.events and not parsed.endless):
            finding = Finding("inventory_contradicts", path.name)
            parsed = replace(parsed, findings=(*parsed.findings, finding))
        fitted = on_signal_despite_clock(parsed, signal_s)
        return RecordingLabels.of(fitted, "summary.txt", signal_s)
