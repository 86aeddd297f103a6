"""Annotations that an EDF+ file carries itself, as a recording's labels.

Reading them is a pass over all data records: for EDFs beside which no annotation file lies.
"""

from __future__ import annotations

from brainbrr_core.annotation import on_signal, tal
from brainbrr_core.annotation.texts import Texts
from brainbrr_core.corpus.layouts.base import Labelling
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import annotation_records
from brainbrr_core.edf.source import EdfBytes

SOURCE = "edf_annotations"


def edf_labelling(file: EdfBytes, signal_s: float | None, texts: Texts) -> Labelling:
    """What an EDF's own annotations say about its signal of ``signal_s`` seconds.

    No annotation where none of them speaks of a seizure in the way of ``texts``. Raises
    ``OSError`` when the file cannot be read.
    """
    # Findings about the annotations are told from those about the signal by where they are.
    where = f"{file.name}:annotations"
    try:
        parsed = tal.parse(annotation_records(file), where, texts)
    except UnusableEdf:
        return Labelling.absent()
    if parsed is None:
        return Labelling.absent()
    return Labelling.of(on_signal(parsed, signal_s), SOURCE, signal_s)
