"""CHB-MIT as PhysioNet has it: ``chbNN/*.edf`` with ``chbNN/chbNN-summary.txt``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from brainbrr_core.annotation import Finding, chbmit
from brainbrr_core.annotation.clock import on_signal_despite_clock
from brainbrr_core.corpus.layouts.base import RecordingFile, RecordingLabels
from brainbrr_core.corpus.layouts.listed import ListedLayout

#: Cases that are the same person as another case, recorded one and a half years later.
_SAME_PERSON = {"chb21": "chb01"}


class ChbmitLayout(ListedLayout):
    """The cases of CHB-MIT; chb21 belongs to the patient chb01."""

    name = "chbmit"
    form = "chbNN/*.edf with chbNN-summary.txt"
    folder_name = re.compile(r"chb\d\d")

    @staticmethod
    def list_name(folder: str) -> str:
        """``chbNN-summary.txt``."""
        return f"{folder}-summary.txt"

    def patient(self, folder: str) -> str:
        """The case, or the case under which the same person was recorded before."""
        return _SAME_PERSON.get(folder, folder)

    def unlisted(self, text: str, edfs: Iterable[str]) -> list[str]:
        """Names in a summary without an EDF."""
        present = {name.lower() for name in edfs}
        names = dict.fromkeys(chbmit.listed_names(text))
        return [name for name in names if name.lower() not in present]

    def read_labels(
        self, file: RecordingFile, signal_s: float | None, _start: datetime | None = None
    ) -> RecordingLabels:
        """The seizures of the EDF in the summary of its case."""
        if not file.annotations:
            return RecordingLabels.absent()
        (path,) = file.annotations
        try:
            parsed = chbmit.read(path, file.path.name)
        except OSError as error:
            return RecordingLabels.unreadable(path, "summary.txt", error)
        if parsed is None:
            return RecordingLabels.absent(Finding("not_listed", path.name))
        fitted = on_signal_despite_clock(parsed, signal_s)
        return RecordingLabels.of(fitted, "summary.txt", signal_s)
