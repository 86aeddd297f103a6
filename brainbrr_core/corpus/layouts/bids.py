"""BIDS-EEG: ``sub-*/[ses-*/]eeg/*_eeg.edf`` with ``*_events.tsv`` as SzCORE writes it.

So lie Siena and every other corpus that was converted to it. A ``*_channels.tsv`` may mark
channels as bad; it and ``*_events.tsv`` may lie in a folder above (``inheritance``).
``participants.tsv`` may say into which split a patient goes. (Gorgolewski et al. 2016, Sci. Data 3,
160044; Pernet et al. 2019, Sci. Data 6, 103; Dan et al. 2024.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from brainbrr_core.annotation import on_signal, szcore
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.corpus.layouts.base import Folder, Labelling, Layout, RecordingFile, stem_of
from brainbrr_core.corpus.layouts.inheritance import Tables
from brainbrr_core.corpus.participants import splits_of
from brainbrr_core.errors import BrainbrrError

_SUBJECTS, _PARTICIPANTS = "sub-*", "participants.tsv"
#: How the table of a recording's events ends.
EVENTS_TABLE = "_events.tsv"


class BidsLayout(Layout):
    """The recordings of a BIDS dataset; ``derivatives`` and ``sourcedata`` are left alone."""

    name = "bids"
    form = "sub-*/[ses-*/]eeg/*_eeg.edf with *_events.tsv"

    def __init__(self, root: Path, shown: str = "", texts: Texts = DEFAULT_TEXTS) -> None:
        super().__init__(root, shown, texts)
        self._tables = Tables(root)
        self._splits: Mapping[str, str] | None = None

    @classmethod
    def find(cls, data_dir: Path) -> Path | None:
        """A folder with subjects."""
        return data_dir if any(path.is_dir() for path in data_dir.glob(_SUBJECTS)) else None

    def folders(self) -> list[Path]:
        """The subjects."""
        self._splits = splits_of(self.root / _PARTICIPANTS, f"{self.shown}/{_PARTICIPANTS}")
        return self.existing(sorted(self.root.glob(_SUBJECTS)))

    def described(self, folder: Folder, name: str) -> RecordingFile | None:
        """Patient and session are the entities of the path; other modalities are skipped."""
        if folder.below[-1:] != ("eeg",) or not stem_of(name).endswith("_eeg"):
            return None
        subject, *others = folder.below
        location = folder.location(name)
        events = self._tables.find(Path(location), "events")
        return RecordingFile(
            partition_key=self.key(folder, name),
            split=self._split(subject),
            patient=subject,
            session=next((part for part in others if part.startswith("ses-")), ""),
            montage="",
            location=location,
            annotation_names=() if events is None else (events,),
            table_name=self._tables.find(Path(location), "channels"),
        )

    def _split(self, subject: str) -> str | None:
        """The split that ``participants.tsv`` gives; None where it gives none to anybody."""
        if self._splits is None:
            return None
        if subject not in self._splits:
            raise BrainbrrError(
                f"{self.shown}/{_PARTICIPANTS} has a column 'split' and gives none for "
                f"{subject}: add it (train, dev or eval), or remove the column"
            )
        return self._splits[subject]

    def annotates(self, folder: str, name: str, recordings: Collection[str]) -> bool | None:
        """A table of events is that of every recording whose name has all parts of its own."""
        if folder != "eeg" or not name.endswith(EVENTS_TABLE):
            return None
        parts = set(name.removesuffix(EVENTS_TABLE).split("_"))
        return any(parts <= set(recording.split("_")) for recording in recordings)

    def labelling(self, file: RecordingFile, signal_s: float | None) -> Labelling:
        """Events of the table of the EDF, or of several."""
        return events_labelling(file, signal_s, self.texts)


def events_labelling(file: RecordingFile, signal_s: float | None, texts: Texts) -> Labelling:
    """What the ``*_events.tsv`` of an EDF says about a signal of ``signal_s`` seconds."""
    if not file.annotations:
        return Labelling.absent()
    path = file.annotations[0]
    try:
        parsed = on_signal(szcore.read(path, texts), signal_s)
    except OSError as error:
        return Labelling.unreadable(path, "events.tsv", error)
    return Labelling.of(parsed, "events.tsv", signal_s)
