"""BIDS-EEG: ``sub-*/[ses-*/]eeg/*_eeg.edf`` with ``*_events.tsv`` as SzCORE writes it.

So lie Siena and every other corpus that was converted to it. A ``*_channels.tsv`` may mark
channels as bad; it and ``*_events.tsv`` may lie in a folder above (``inheritance``).
(Gorgolewski et al. 2016, Sci. Data 3, 160044; Pernet et al. 2019, Sci. Data 6, 103; Dan et al.
2024.)
"""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.annotation import on_signal, szcore
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.corpus.inheritance import Tables
from brainbrr_core.corpus.layout import Labelling, Layout, RecordingFile


class BidsLayout(Layout):
    """The recordings of a BIDS dataset; ``derivatives`` and ``sourcedata`` are left alone."""

    name = "bids"
    form = "sub-*/[ses-*/]eeg/*_eeg.edf with *_events.tsv"

    def __init__(self, root: Path, texts: Texts = DEFAULT_TEXTS) -> None:
        super().__init__(root, texts)
        self._tables = Tables(root)

    @classmethod
    def find(cls, data_dir: Path) -> Path | None:
        """A folder with subjects."""
        return data_dir if _subjects(data_dir) else None

    def folders(self) -> list[Path]:
        """The subjects."""
        return _subjects(self.root)

    def describe(self, path: Path) -> RecordingFile | None:
        """Patient and session are the entities of the path; other modalities are skipped."""
        parts = path.relative_to(self.root).parts
        if parts[-2] != "eeg" or not path.stem.endswith("_eeg"):
            return None
        events = self._tables.find(path, "events")
        return RecordingFile(
            partition_key=self.key(path),
            split=None,
            patient=parts[0],
            session=next((part for part in parts[1:-1] if part.startswith("ses-")), ""),
            montage="",
            path=path,
            annotations=() if events is None else (events,),
            channel_table=self._tables.find(path, "channels"),
        )

    def labelling(self, file: RecordingFile, signal_s: float | None) -> Labelling:
        """Events of the table of the EDF, or of several."""
        return events_labelling(file, signal_s, self.texts)


def _subjects(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("sub-*") if path.is_dir())


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
