"""BIDS-EEG: ``sub-*/[ses-*/]eeg/*_eeg.edf`` with ``*_events.tsv`` as SzCORE writes it.

Recordings may also be in other formats (``edf.formats``). Siena and other corpora are available in
this layout. A ``*_channels.tsv`` may mark channels as bad;
it and ``*_events.tsv`` may be in a folder above (``inheritance``). ``participants.tsv`` may assign
patients to splits. (Gorgolewski et al. 2016, Sci. Data 3,
160044; Pernet et al. 2019, Sci. Data 6, 103; Dan et al. 2024.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from brainbrr_core.annotation import on_signal, szcore
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.corpus.demographics import Person, read_people
from brainbrr_core.corpus.layouts.base import (
    Folder,
    Layout,
    RecordingFile,
    RecordingLabels,
    stem_of,
)
from brainbrr_core.corpus.layouts.inheritance import Tables
from brainbrr_core.corpus.participants import read_splits
from brainbrr_core.edf.formats import FORMATS
from brainbrr_core.errors import BrainbrrError

_SUBJECTS, _PARTICIPANTS = "sub-*", "participants.tsv"
#: Suffix of the table with the events of a recording.
EVENTS_TABLE = "_events.tsv"


class BidsLayout(Layout):
    """The recordings of a BIDS dataset, without ``derivatives`` and ``sourcedata``."""

    name = "bids"
    form = "sub-*/[ses-*/]eeg/*_eeg.edf with *_events.tsv"
    formats = frozenset(FORMATS)
    root_tables = (_PARTICIPANTS,)
    #: At any depth: their recordings are processed or not converted yet.
    no_raw_data = frozenset({"derivatives", "sourcedata"})

    def __init__(self, root: Path, shown: str = "", texts: Texts = DEFAULT_TEXTS) -> None:
        super().__init__(root, shown, texts)
        self._tables = Tables(root)
        self._splits: Mapping[str, str] | None = None

    @classmethod
    def find(cls, data_dir: Path) -> Path | None:
        """``data_dir`` if it has folders of subjects."""
        return data_dir if any(path.is_dir() for path in data_dir.glob(_SUBJECTS)) else None

    def folders(self) -> list[Path]:
        """The folders of the subjects."""
        self._splits = read_splits(self.root / _PARTICIPANTS, f"{self.shown}/{_PARTICIPANTS}")
        return self.existing(sorted(self.root.glob(_SUBJECTS)))

    def describe(self, folder: Folder, name: str) -> RecordingFile | None:
        """Patient and session are entities of the path; other modalities are not recordings."""
        if folder.below[-1:] != ("eeg",) or not stem_of(name).endswith("_eeg"):
            return None
        if not self.no_raw_data.isdisjoint(folder.below):
            return None
        subject, *others = folder.below
        location = folder.location(name)
        events = self._tables.find(Path(location), "events")
        return RecordingFile(
            partition_key=self.key(folder, name),
            split=self._split(subject),
            patient=subject,
            session=next((name for name in others if name.startswith("ses-")), ""),
            montage="",
            location=location,
            annotation_names=() if events is None else (events,),
            table_name=self._tables.find(Path(location), "channels"),
            json_names=self._tables.find_jsons(Path(location)),
        )

    def _split(self, subject: str) -> str | None:
        """The split in ``participants.tsv``; None where it does not assign splits."""
        if self._splits is None:
            return None
        if subject not in self._splits:
            raise BrainbrrError(
                f"{self.shown}/{_PARTICIPANTS} has a column 'split' without a value for "
                f"{subject}: add it (train, dev or eval), or remove the column"
            )
        return self._splits[subject]

    def people(self) -> Mapping[str, Person]:
        """Age and sex from ``participants.tsv``."""
        columns = ("participant_id", "age", "sex")
        people = read_people(self.root / _PARTICIPANTS, columns, "\t")
        return {f"sub-{name.removeprefix('sub-')}": person for name, person in people.items()}

    def annotates(self, folder: str, name: str, recordings: Collection[str]) -> bool | None:
        """A table describes every recording whose name has all entities of its name."""
        if folder != "eeg" or not name.endswith(EVENTS_TABLE):
            return None
        entities = set(name.removesuffix(EVENTS_TABLE).split("_"))
        return any(entities <= set(recording.split("_")) for recording in recordings)

    def read_labels(
        self, file: RecordingFile, signal_s: float | None, _start: datetime | None = None
    ) -> RecordingLabels:
        """The events in the table of the EDF."""
        return read_events_labels(file, signal_s, self.texts)


def read_events_labels(
    file: RecordingFile, signal_s: float | None, texts: Texts
) -> RecordingLabels:
    """Labels from the ``*_events.tsv`` of an EDF with a signal of ``signal_s`` seconds."""
    if not file.annotations:
        return RecordingLabels.absent()
    path = file.annotations[0]
    try:
        parsed = on_signal(szcore.read(path, texts), signal_s)
    except OSError as error:
        return RecordingLabels.unreadable(path, "events.tsv", error)
    return RecordingLabels.of(parsed, "events.tsv", signal_s)
