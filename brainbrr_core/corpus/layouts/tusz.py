"""The layouts of TUSZ, below the folder of a split (train, dev or eval).

2.0: ``<patient>/<session>/<montage>/<stem>.edf`` with ``csv_bi``. 1.5 and before:
``<montage>/<group>/<patient>/<session>/<stem>.edf`` with ``tse_bi``. Each path shows which it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from brainbrr_core.annotation import Finding, on_signal, tse, tuh
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.layouts.base import (
    Folder,
    Labelling,
    Layout,
    RecordingFile,
    patient_in,
    stem_of,
)
from brainbrr_core.errors import check_exhausted

#: A montage's folder, such as 01_tcp_ar, and a group of patients, such as 002.
_MONTAGE, _GROUP = re.compile(r"\d\d_tcp_\w+"), re.compile(r"\d{3}")


class TuszLayout(Layout):
    """The recordings below a folder that holds the splits (or holds ``edf``, which does)."""

    name = "tusz"
    form = "{train,dev,eval}/<patient>/<session>/<montage>/*.edf with *.csv_bi"

    @classmethod
    def find(cls, data_dir: Path) -> Path | None:
        """``data_dir`` or ``data_dir/edf``."""
        for root in (data_dir, data_dir / "edf"):
            if any((root / split).is_dir() for split in SPLITS):
                return root
        return None

    def folders(self) -> list[Path]:
        """The splits."""
        return self.existing(self.root / split for split in sorted(SPLITS))

    def described(self, folder: Folder, name: str) -> RecordingFile:
        """Split, patient, session and montage are the folders."""
        # An EDF beside the splits is in none of them.
        split, *between = folder.below or (name,)
        patient, session, montage = _of_folders(tuple(between))
        return RecordingFile(
            partition_key=self.key(folder, name),
            split=split,
            patient=patient or patient_in(stem_of(name)),
            session=session,
            montage=montage,
            location=folder.location(name),
            annotation_names=tuh_annotations(folder, name),
        )

    def annotates(self, _folder: str, name: str, recordings: Collection[str]) -> bool | None:
        """``csv_bi`` and ``tse_bi`` have the name of their EDF."""
        return annotates_tuh(name, recordings)

    def labelling(self, file: RecordingFile, signal_s: float | None) -> Labelling:
        """Events of ``csv_bi`` with the types and channels of ``csv``, where there is one."""
        return tuh_labelling(file, signal_s)


def _of_folders(folders: tuple[str, ...]) -> tuple[str, str, str]:
    """Patient, session and montage of the folders between a split and an EDF; empty if absent."""
    if len(folders) > 2 and _MONTAGE.fullmatch(folders[0]) and _GROUP.fullmatch(folders[1]):
        folders = (*folders[2:3], *(folders[3:4] or ("",)), folders[0])
    patient, session, montage, *_ = (*folders, "", "", "")
    return patient, session, montage


def tuh_annotations(folder: Folder, edf: str) -> tuple[str, ...]:
    """``csv_bi`` and ``csv`` beside an EDF; without the former, ``tse_bi`` and ``tse``, too."""
    stem = stem_of(edf)
    binary = f"{stem}.csv_bi"
    of_today = folder.present(binary, f"{stem}.csv")
    if binary in of_today:
        return of_today
    names = of_today + folder.present(f"{stem}.tse_bi", f"{stem}.tse")
    if names or folder.entries is None:
        return names
    # Where case makes no difference to the file system, a name may be listed in another one.
    return tuh_annotations(folder.unlisted(), edf)


def annotates_tuh(name: str, recordings: Collection[str]) -> bool | None:
    """Whether a file is the annotation of one of the recordings; None where it is none."""
    if not name.endswith((".csv_bi", ".tse_bi")):
        return None
    return name.rpartition(".")[0] in recordings


def tuh_labelling(file: RecordingFile, signal_s: float | None) -> Labelling:
    """What the files of :func:`tuh_annotations` say about a signal of ``signal_s`` seconds.

    The types of events come from the ``csv`` beside a ``csv_bi``, or the ``tse`` beside a
    ``tse_bi``. A ``tse`` alone has both; a ``csv`` alone gives no events.
    """
    by_suffix = {path.suffix: path for path in file.annotations}
    events, types, read = by_suffix.get(".csv_bi"), by_suffix.get(".csv"), tuh.read
    unused: tuple[Finding, ...] = ()
    if events is None:
        unused = () if types is None else (Finding("csv_without_csv_bi", types.name),)
        events, types, read = by_suffix.get(".tse_bi"), by_suffix.get(".tse"), tse.read
    if events is None:
        events, types = types, None
    if events is None:
        return Labelling.absent(*unused)
    source = "+".join(path.suffix[1:] for path in (events, types) if path is not None)
    try:
        binary = on_signal(read(events), signal_s)
    except OSError as error:
        return Labelling.unreadable(events, source, error)
    if types is not None and binary.usable:
        try:
            binary = tuh.with_types(binary, read(types), signal_s)
        except OSError as error:
            check_exhausted(str(types), error)
            finding = Finding("unusable_types", types.name, error.strerror or "")
            binary = replace(binary, findings=(*binary.findings, finding))
    return Labelling.of(replace(binary, findings=(*binary.findings, *unused)), source, signal_s)
