"""Any folder of EDFs with an annotation beside each; never detected, only named."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.corpus.layouts.base import (
    Folder,
    Labelling,
    Layout,
    RecordingFile,
    patient_in,
    stem_of,
)
from brainbrr_core.corpus.layouts.bids import EVENTS_TABLE, events_labelling
from brainbrr_core.corpus.layouts.inheritance import Tables
from brainbrr_core.corpus.layouts.tusz import annotates_tuh, tuh_annotations, tuh_labelling


class FolderLayout(Layout):
    """Every EDF below a folder, with ``csv_bi`` (and ``csv``) or ``*_events.tsv`` beside it.

    The patient is the uppermost folder; that of an EDF in none is known only where its name is
    one of BIDS or TUSZ.
    """

    name = "folder"
    form = "*.edf anywhere, with *.csv_bi or *_events.tsv"

    def __init__(self, root: Path, shown: str = "", texts: Texts = DEFAULT_TEXTS) -> None:
        super().__init__(root, shown, texts)
        self._tables = Tables(root)

    @classmethod
    def find(cls, data_dir: Path) -> Path:
        """Any folder will do."""
        return data_dir

    def describe(self, path: Path) -> RecordingFile:
        """Every EDF is a recording."""
        return self.described(self.folder_of(path), path.name)

    def described(self, folder: Folder, name: str) -> RecordingFile:
        """``csv_bi`` goes before ``*_events.tsv``."""
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
        )

    def annotates(self, _folder: str, name: str, recordings: Collection[str]) -> bool | None:
        """As ``csv_bi`` and ``*_events.tsv`` are named."""
        if name.endswith(EVENTS_TABLE):
            stem = name.removesuffix(EVENTS_TABLE)
            return stem in recordings or f"{stem}_eeg" in recordings
        return annotates_tuh(name, recordings)

    def labelling(self, file: RecordingFile, signal_s: float | None) -> Labelling:
        """As the kind of file says."""
        if any(path.suffix == ".tsv" for path in file.annotations):
            return events_labelling(file, signal_s, self.texts)
        return tuh_labelling(file, signal_s)
