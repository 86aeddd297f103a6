"""Any folder of EDFs with an annotation beside each; never detected, only named."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.corpus.bids import events_labelling
from brainbrr_core.corpus.inheritance import Tables
from brainbrr_core.corpus.layout import Labelling, Layout, RecordingFile, present
from brainbrr_core.corpus.tusz import tuh_labelling


class FolderLayout(Layout):
    """Every EDF below a folder, with ``csv_bi`` (and ``csv``) or ``*_events.tsv`` beside it.

    The patient is the uppermost folder, or, for an EDF in none, its name up to the first ``_``.
    """

    name = "folder"
    form = "*.edf anywhere, with *.csv_bi or *_events.tsv"

    def __init__(self, root: Path, texts: Texts = DEFAULT_TEXTS) -> None:
        super().__init__(root, texts)
        self._tables = Tables(root)

    @classmethod
    def find(cls, data_dir: Path) -> Path:
        """Any folder will do."""
        return data_dir

    def describe(self, path: Path) -> RecordingFile:
        """``csv_bi`` goes before ``*_events.tsv``."""
        parts = path.relative_to(self.root).parts
        annotations = present(path.with_suffix(".csv_bi"), path.with_suffix(".csv"))
        events = None if annotations else self._tables.find(path, "events")
        return RecordingFile(
            partition_key=self.key(path),
            split=None,
            patient=parts[0] if len(parts) > 1 else path.stem.split("_")[0],
            session="",
            montage="",
            path=path,
            annotations=annotations if events is None else (events,),
            channel_table=self._tables.find(path, "channels"),
        )

    def labelling(self, file: RecordingFile, signal_s: float | None) -> Labelling:
        """As the kind of file says."""
        if any(path.suffix == ".tsv" for path in file.annotations):
            return events_labelling(file, signal_s, self.texts)
        return tuh_labelling(file, signal_s)
