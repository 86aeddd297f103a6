"""The events of an EDF that stands in no index: what is said in the files beside it."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.annotation import Finding, tuh
from brainbrr_core.corpus.layout import SPLITS, Labelling, RecordingFile
from brainbrr_core.corpus.tusz import TuszLayout


def labelling_beside(path: Path) -> Labelling:
    """Events of the ``csv_bi`` beside an EDF; in a corpus with their types, as the index has them.

    Without such a file the reason is ``no_annotation``.
    """
    beside = tuple(
        file for file in (path.with_suffix(".csv_bi"), path.with_suffix(".csv")) if file.is_file()
    )
    for folder in path.resolve().parents:
        if folder.name in SPLITS:
            file = RecordingFile(path.stem, folder.name, "", "", "", path, beside)
            return TuszLayout(folder.parent).labelling(file)
    binary = path.with_suffix(".csv_bi")
    if binary not in beside:
        return Labelling((), None, "", "no_annotation", ())
    try:
        annotation = tuh.read(binary)
    except OSError as error:
        finding = Finding("unreadable_annotation", binary.name, type(error).__name__)
        return Labelling((), None, "csv_bi", "bad_annotation", (finding,))
    reason = None if annotation.usable else "bad_annotation"
    return Labelling(
        annotation.events if annotation.usable else (),
        annotation.duration_s,
        "csv_bi",
        reason,
        annotation.findings,
    )
