"""The layouts of TUSZ, below the folder of a split (train, dev or eval).

2.0: ``<patient>/<session>/<montage>/<stem>.edf`` with ``csv_bi``. 1.5 and earlier:
``<montage>/<group>/<patient>/<session>/<stem>.edf`` with ``tse_bi`` or ``lbl_bi``. They are told
apart by path, and may lie side by side. ``AAREADME.txt`` states the release.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from brainbrr_core.annotation import Finding, lbl, on_signal, tse, tuh
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.layouts.base import (
    CompleteCorpus,
    Folder,
    Layout,
    RecordingFile,
    RecordingLabels,
    patient_in,
    stem_of,
)
from brainbrr_core.errors import check_exhausted
from brainbrr_core.files.regular import read_text

#: Folders of a montage, such as 01_tcp_ar, and of a group of patients, such as 002.
_MONTAGE, _GROUP = re.compile(r"\d\d_tcp_\w+"), re.compile(r"\d{3}")


#: Folders of the splits. Releases until 1.5.0 have dev_test, and no eval.
SPLIT_FOLDERS = {**{split: split for split in SPLITS}, "dev_test": "dev"}
READMES = ("AAREADME.txt", "_AAREADME.txt")
_DATABASE = re.compile(r"^Database:[ \t]*([\w() -]{1,60}?)[ \t]*$", re.MULTILINE)
_VERSION = re.compile(r"^Version:[ \t]*v?(\d+(?:\.\d+){1,3})[ \t]*$", re.MULTILINE)
#: Characters of a README that state its database and version.
_HEAD = 2000


class TuszLayout(Layout):
    """The recordings below a folder that has the splits, or an ``edf`` folder with them."""

    name = "tusz"
    #: By the AAREADME.txt of these releases; seizures are the rows of their binary annotations.
    complete = MappingProxyType(
        {
            "2.0.3": CompleteCorpus("TUSZ 2.0.3", recordings=7361, seizures=3971),
            "1.5.0": CompleteCorpus("TUSZ 1.5.0", recordings=5610, seizures=3055),
        }
    )
    form = "{train,dev,eval}/<patient>/<session>/<montage>/*.edf with *.csv_bi"

    @classmethod
    def find(cls, data_dir: Path) -> Path | None:
        """``data_dir`` or ``data_dir/edf``, whichever has the splits."""
        for root in (data_dir, data_dir / "edf"):
            if any((root / folder).is_dir() for folder in SPLIT_FOLDERS):
                return root
        return None

    def folders(self) -> list[Path]:
        """The folders of the splits."""
        return self.existing(self.root / folder for folder in sorted(SPLIT_FOLDERS))

    @property
    def release(self) -> str:
        """The version in the ``AAREADME.txt`` beside the splits or above them.

        With the name of the database where that is not the one of seizures.
        """
        for folder in (self.root, self.root.parent):
            for name in READMES:
                try:
                    head = read_text(folder / name)[:_HEAD]
                except OSError:
                    # The release is for information only.
                    continue
                stated = stated_release(head)
                if stated is not None:
                    database, version = stated
                    return version if "seizure" in database.lower() else f"{database} {version}"
        return ""

    def describe(self, folder: Folder, name: str) -> RecordingFile:
        """Split, patient, session and montage are the names of folders."""
        # An EDF next to the splits is in none of them.
        split, *between = folder.below or (name,)
        patient, session, montage = _parse_folders(tuple(between))
        return RecordingFile(
            partition_key=self.key(folder, name),
            split=SPLIT_FOLDERS.get(split, split),
            patient=patient or patient_in(stem_of(name)),
            session=session,
            montage=montage,
            location=folder.location(name),
            annotation_names=tuh_annotations(folder, name),
        )

    def annotates(self, _folder: str, name: str, recordings: Collection[str]) -> bool | None:
        """Whether a ``csv_bi`` or ``tse_bi`` has the name of a recording."""
        return annotates_tuh(name, recordings)

    def read_labels(
        self, file: RecordingFile, signal_s: float | None, _start: datetime | None = None
    ) -> RecordingLabels:
        """Events of the ``csv_bi``, with types and channels of the ``csv`` if there is one."""
        return read_tuh_labels(file, signal_s)


def stated_release(readme: str) -> tuple[str, str] | None:
    """The name of the database and its version in the text of an ``AAREADME.txt``.

    None where it does not state both.
    """
    database, version = _DATABASE.search(readme), _VERSION.search(readme)
    return None if database is None or version is None else (database[1], version[1])


def _parse_folders(folders: tuple[str, ...]) -> tuple[str, str, str]:
    """Patient, session and montage from the folders between split and EDF; empty if absent."""
    if len(folders) > 2 and _MONTAGE.fullmatch(folders[0]) and _GROUP.fullmatch(folders[1]):
        folders = (*folders[2:3], *(folders[3:4] or ("",)), folders[0])
    patient, session, montage, *_ = (*folders, "", "", "")
    return patient, session, montage


def tuh_annotations(folder: Folder, edf: str) -> tuple[str, ...]:
    """Names of the annotation files of an EDF.

    They are its ``csv_bi`` and ``csv``; without a ``csv_bi``, also ``tse_bi`` and ``tse``, and
    without these ``lbl_bi`` and ``lbl``.
    """
    stem = stem_of(edf)
    binary = f"{stem}.csv_bi"
    current = folder.present(binary, f"{stem}.csv")
    if binary in current:
        return current
    older = folder.present(f"{stem}.tse_bi", f"{stem}.tse")
    names = current + (older or folder.present(f"{stem}.lbl_bi", f"{stem}.lbl"))
    if names or folder.entries is None:
        return names
    # A file system that ignores case may list a name in another case.
    return tuh_annotations(folder.unlisted(), edf)


def annotates_tuh(name: str, recordings: Collection[str]) -> bool | None:
    """Whether a file annotates one of the recordings; None where it is not an annotation."""
    if not name.endswith((".csv_bi", ".tse_bi", ".lbl_bi")):
        return None
    return name.rpartition(".")[0] in recordings


def read_tuh_labels(file: RecordingFile, signal_s: float | None) -> RecordingLabels:
    """Labels from the files of :func:`tuh_annotations` for a signal of ``signal_s`` seconds.

    The types of events come from the ``csv`` next to a ``csv_bi``, the ``tse`` next to a
    ``tse_bi``, or the ``lbl`` next to an ``lbl_bi``. A ``tse`` or ``lbl`` alone has both; a ``csv``
    alone is not used.
    """
    by_suffix = {path.suffix: path for path in file.annotations}
    events, types, read = by_suffix.get(".csv_bi"), by_suffix.get(".csv"), tuh.read
    unused: tuple[Finding, ...] = ()
    if events is None:
        unused = () if types is None else (Finding("csv_without_csv_bi", types.name),)
        events, types, read = by_suffix.get(".tse_bi"), by_suffix.get(".tse"), tse.read
    if events is None and types is None:
        events, types, read = by_suffix.get(".lbl_bi"), by_suffix.get(".lbl"), lbl.read
    if events is None:
        events, types = types, None
    if events is None:
        return RecordingLabels.absent(*unused)
    source = "+".join(path.suffix[1:] for path in (events, types) if path is not None)
    try:
        parsed = read(events)
        # An lbl has the events of each channel.
        fit = lbl.of_montage if read is lbl.read else on_signal
        binary = fit(parsed, signal_s)
    except OSError as error:
        return RecordingLabels.unreadable(events, source, error)
    if types is not None and binary.usable:
        try:
            binary = tuh.with_types(binary, read(types), signal_s)
        except OSError as error:
            check_exhausted(str(types), error)
            finding = Finding("unusable_types", types.name, error.strerror or "")
            binary = replace(binary, findings=(*binary.findings, finding))
    return RecordingLabels.of(
        replace(binary, findings=(*binary.findings, *unused)), source, signal_s
    )
