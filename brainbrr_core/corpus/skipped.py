"""Files and folders of a corpus that are not read, and why.

The kinds of such files, and recognizing them by their names, belong here. A layout decides whether
an EDF is a recording.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

from brainbrr_core.edf.formats import without_suffix
from brainbrr_core.machine.walk import RECORDING_FOLDERS, as_text

#: Why something is not read, by kind. A closed list.
SKIPPED = {
    "not_of_layout": "an EDF, or a file of another format, that is no recording in this layout",
    "folder_not_of_layout": "a folder with recordings whose name is none of this layout, so that "
    "nothing in it is read: rename it if it belongs to the corpus",
    "folder_named_edf": "a folder that is named like an EDF and has no recording directly in it: "
    "unpack or copy it again",
    "hidden_edf": "a hidden file named like an EDF, as macOS creates next to each real one",
    "no_text": "its name is not UTF-8 or has control characters: rename it",
    "linked_again": "a link to a folder that is read by another path, or that contains the link",
    "broken_link": "a link without a target: if that was a folder of recordings, they are missing",
    "hidden_folder": "a hidden folder",
    "system_folder": "a folder of the operating system",
    "other_format": "EEG in a format that is not read: convert or unpack it to EDF",
    "needs_files": "a recording in a format of which only files are read, not objects behind a "
    "URL: copy the corpus to this machine, or convert it to EDF",
    "same_name": "a recording that is read from another file of the same name: remove one of them "
    "if they differ",
    "unfinished_transfer": "a file named as by a transfer that is not finished",
    "annotation_without_edf": "an annotation without its EDF: was the download interrupted?",
    "annotation_not_read": "an annotation that is packed or whose ending is in capitals: unpack it "
    "or rename it",
    "other_case": "a list of seizures, patients or splits that is not read: letters of its name "
    "have another case, or there are two of that name: rename it, or remove it",
    "listed_without_edf": "an EDF that the list of its patient's recordings names and that is not "
    "there: was the download interrupted?",
}
#: Kinds that concern annotations.
OF_ANNOTATIONS = frozenset({"annotation_without_edf", "annotation_not_read"})
#: Kinds that concern EDFs and folders; the others concern other files.
OF_EDFS = (
    frozenset(SKIPPED)
    - OF_ANNOTATIONS
    - {"other_format", "needs_files", "same_name", "unfinished_transfer"}
    - {"other_case", "listed_without_edf"}
)

#: Suffixes of packed files.
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")
#: Suffixes of the main file of recordings in formats that are not read, in some layouts or at all.
_OTHER_FORMATS = (
    *(f".edf{packed}" for packed in _PACKED),
    # BioSemi, BrainVision, EEGLAB, Neuroscan and ANT, GDF, MNE, Micromed, Nicolet, Persyst, NWB.
    *(".bdf", ".bdf.gz", ".vhdr", ".set", ".cnt", ".gdf", ".fif", ".fif.gz", ".trc", ".lay"),
    # Of Nihon Kohden, the file with the labels: that with the samples may be one of BrainVision.
    *(".head", ".21e", ".nwb", ".mef", ".edf+"),
    *RECORDING_FOLDERS,
)
#: Their last parts, which exclude nearly every name quickly.
_LAST_PARTS = frozenset(ending.rpartition(".")[2] for ending in _OTHER_FORMATS)
#: Names of files that a browser, rsync, rclone, the AWS CLI, gsutil, WinSCP or a similar program is
#: still writing.
_UNFINISHED = re.compile(
    r"\..+\.edf\.[a-z0-9]{6}"
    r"|.+\.edf\.[0-9a-f]{8}"
    r"|.+\.edf(\.[0-9a-f]{8})?_?"
    r"\.(part|partial|crdownload|download|opdownload|filepart|aria2|gstmp|tmp|temp|!ut)",
    re.IGNORECASE,
)


#: How many paths of one kind are printed.
_SHOWN = 10


class Skipped(NamedTuple):
    """A file or folder that is not read: its kind (:data:`SKIPPED`) and its path.

    The path is relative to the root of the corpus and printable; that of a folder ends in a slash.
    """

    kind: str
    path: str

    @classmethod
    def at(cls, kind: str, path: PurePath, end: str = "") -> Skipped:
        """The file or folder at ``path``, relative to the root; other bytes in it are escaped."""
        return cls(kind, as_text(path.as_posix()) + end)


def is_worth_naming(name: str) -> bool:
    """Whether a file that is neither an EDF nor an annotation is reported as not read."""
    lower = name.lower()
    return lower.endswith(_OTHER_FORMATS) or _is_unfinished(lower)


def skipped_in_folder(
    names: Sequence[str],
    edfs: Iterable[str],
    annotates: Callable[[str, Collection[str]], bool | None],
) -> Iterator[tuple[str, str]]:
    """Kind and name of each file of a folder, other than EDFs, that is reported as not read.

    ``edfs`` are the recordings among the ``names``, and what belongs to them.
    ``annotates(name, recordings)`` says whether a file is the annotation of one of the recordings,
    named without suffixes; None where it is not an annotation. An annotation of a recording in
    another format is not reported in addition to it.
    """
    own = set(edfs)
    others = [name for name in names if name not in own]
    recordings = {without_suffix(name) for name in own if name[0] != "."}
    for name in others:
        lower = name.lower()
        if ".edf" in lower and _is_unfinished(lower):
            yield "unfinished_transfer", name
        elif (
            lower.rpartition(".")[2] in _LAST_PARTS
            and name[0] != "."
            and lower.endswith(_OTHER_FORMATS)
        ):
            yield "other_format", name
            ending = next(ending for ending in _OTHER_FORMATS if lower.endswith(ending))
            recordings.add(name[: -len(ending)])
    # One missing EDF may have several annotations.
    stems = set()
    for name in others:
        if name[0] == ".":
            continue
        annotated = annotates(name, recordings)
        if annotated is None:
            plain = _plain(name)
            if plain != name and annotates(plain, recordings) is not None:
                yield "annotation_not_read", name
        elif not annotated and (stem := name.rpartition(".")[0]) not in stems:
            stems.add(stem)
            yield "annotation_without_edf", name


def in_other_case(names: Iterable[str], lists: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Names of files that nobody reads and that differ only in case from that of a list.

    ``lists`` has the names of the lists of a folder, each with the files that are read for it.
    """
    read = {name.lower(): files for name, files in lists.items()}
    for name in names:
        if name not in read.get(name.lower(), (name,)):
            yield name


def describe_skipped(skipped: Iterable[Skipped]) -> Iterator[str]:
    """A message for each kind: how many files there are, why they are not read, and the first."""
    paths: dict[str, list[str]] = {}
    for kind, path in skipped:
        paths.setdefault(kind, []).append(path)
    for kind, several in sorted(paths.items()):
        more = f"\n  and {len(several) - _SHOWN:,} more" if len(several) > _SHOWN else ""
        shown = "".join(f"\n  {path}" for path in several[:_SHOWN])
        yield f"not read: {len(several):,} {kind}: {SKIPPED[kind]}{shown}{more}"


def _plain(name: str) -> str:
    """A name in lower case and without the suffix of a packed file."""
    lower = name.lower()
    stem, dot, last = lower.rpartition(".")
    return stem if dot + last in _PACKED else lower


def _is_unfinished(lower: str) -> bool:
    # The first two conditions exclude nearly every name quickly.
    return (
        ".edf" in lower and not lower.endswith(".edf") and _UNFINISHED.fullmatch(lower) is not None
    )
