"""The annotations inside an EDF+ file as labels of its recording.

Reading them requires all data records, so this is for EDFs without annotation files.
"""

from __future__ import annotations

from brainbrr_core.annotation import on_signal, tal
from brainbrr_core.annotation.texts import Texts
from brainbrr_core.corpus.layouts.base import RecordingLabels
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import annotation_records
from brainbrr_core.edf.source import EdfBytes

SOURCE = "edf_annotations"


def read_edf_labels(file: EdfBytes, signal_s: float | None, texts: Texts) -> RecordingLabels:
    """Labels from the annotations inside an EDF with a signal of ``signal_s`` seconds.

    They are absent where no annotation mentions a seizure according to ``texts``. Raises
    ``OSError`` when the file cannot be read.
    """
    # Distinguishes findings about the annotations from those about the signal.
    where = f"{file.name}:annotations"
    try:
        parsed = tal.parse(annotation_records(file), where, texts)
    except UnusableEdf:
        return RecordingLabels.absent()
    if parsed is None:
        return RecordingLabels.absent()
    return RecordingLabels.of(on_signal(parsed, signal_s), SOURCE, signal_s)
