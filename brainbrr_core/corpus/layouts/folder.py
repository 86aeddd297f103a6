"""Any folder with EDFs and annotations next to them; used only if it is selected."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.corpus.layouts.base import (
    Folder,
    Layout,
    RecordingFile,
    RecordingLabels,
    patient_in,
    stem_of,
    with_parts,
)
from brainbrr_core.corpus.layouts.bids import EVENTS_TABLE, read_events_labels
from brainbrr_core.corpus.layouts.inheritance import Tables
from brainbrr_core.corpus.layouts.tusz import annotates_tuh, read_tuh_labels, tuh_annotations
from brainbrr_core.edf.formats import FORMATS


class FolderLayout(Layout):
    """Every EDF below a folder, with ``csv_bi`` (and ``csv``) or ``*_events.tsv`` next to it.

    The patient is the topmost folder. For an EDF without a folder, the patient is known only if its
    name is one of BIDS or TUSZ.
    """

    name = "folder"
    form = "*.edf anywhere, with *.csv_bi or *_events.tsv"
    formats = frozenset(FORMATS)

    def __init__(self, root: Path, shown: str = "", texts: Texts = DEFAULT_TEXTS) -> None:
        super().__init__(root, shown, texts)
        self._tables = Tables(root)

    @classmethod
    def find(cls, data_dir: Path) -> Path:
        """``data_dir``, whatever it contains."""
        return data_dir

    def describe_path(self, path: Path) -> RecordingFile:
        """What the path of an EDF says; every EDF is a recording."""
        return with_parts(self.describe(self.folder_of(path), path.name))

    def describe(self, folder: Folder, name: str) -> RecordingFile:
        """What folder and name of an EDF say; ``csv_bi`` takes precedence over ``*_events.tsv``."""
        location = folder.location(name)
        annotations = tuh_annotations(folder, name)
        events = None if annotations else self._tables.find(Path(location), "events")
        return RecordingFile(
            partition_key=self.key(folder, name),
            split=None,
            patient=folder.below[0] if folder.below else patient_in(stem_of(name)),
            session="",
            montage="",
            location=location,
            annotation_names=annotations if events is None else (events,),
            table_name=self._tables.find(Path(location), "channels"),
            json_names=self._tables.find_jsons(Path(location)),
        )

    def annotates(self, _folder: str, name: str, recordings: Collection[str]) -> bool | None:
        """Whether a ``csv_bi``, ``tse_bi`` or ``*_events.tsv`` has the name of a recording."""
        if name.endswith(EVENTS_TABLE):
            stem = name.removesuffix(EVENTS_TABLE)
            return stem in recordings or f"{stem}_eeg" in recordings
        return annotates_tuh(name, recordings)

    def read_labels(
        self, file: RecordingFile, signal_s: float | None, _start: datetime | None = None
    ) -> RecordingLabels:
        """Labels from an ``*_events.tsv`` if there is one, otherwise from TUH annotations."""
        if any(path.suffix == ".tsv" for path in file.annotations):
            return read_events_labels(file, signal_s, self.texts)
        return read_tuh_labels(file, signal_s)
