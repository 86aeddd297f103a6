"""SeizeIT1: ``P_IDxx/P_IDxx_rN.edf`` with ``P_IDxx_rN_a1.tsv``."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from brainbrr_core.annotation import on_signal, seizeit
from brainbrr_core.corpus.layouts.base import (
    Folder,
    Layout,
    RecordingFile,
    RecordingLabels,
    folders_named,
    stem_of,
)

_PATIENT = re.compile(r"P_ID\d+")


class SeizeItLayout(Layout):
    """The recordings of SeizeIT1, by the annotations of its first annotator."""

    name = "seizeit1"
    form = "P_IDxx/P_IDxx_rN.edf with P_IDxx_rN_a1.tsv"

    @classmethod
    def find(cls, data_dir: Path) -> Path | None:
        """``data_dir`` if it has folders of patients."""
        return data_dir if folders_named(data_dir, _PATIENT) else None

    def folders(self) -> list[Path]:
        """The folders of the patients."""
        return self.existing(folders_named(self.root, _PATIENT))

    def describe(self, folder: Folder, name: str) -> RecordingFile | None:
        """The patient is the name of the folder; an EDF elsewhere is not a recording."""
        if len(folder.below) != 1:
            return None
        return RecordingFile(
            partition_key=self.key(folder, name),
            split=None,
            patient=folder.below[0],
            session="",
            montage="",
            location=folder.location(name),
            annotation_names=folder.present(f"{stem_of(name)}{seizeit.SUFFIX}"),
        )

    def annotates(self, _folder: str, name: str, recordings: Collection[str]) -> bool | None:
        """Whether an ``_a1.tsv`` has the name of a recording."""
        if not name.endswith(seizeit.SUFFIX):
            return None
        return name.removesuffix(seizeit.SUFFIX) in recordings

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
