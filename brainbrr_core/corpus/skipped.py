"""What lies in a corpus and is not read: each thing is named, with why.

Here belong the kinds of such things, and how one is told by its name. Whether an EDF is a
recording is for a layout to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

from brainbrr_core.machine.walk import RECORDING_FOLDERS, as_text

#: Why something is not read. Closed; the index holds no other kind.
SKIPPED = {
    "not_of_layout": "an EDF that is not a recording of this layout",
    "hidden_edf": "a hidden file under an EDF's name, such as macOS puts beside each real one",
    "no_text": "its name is not UTF-8 or holds control characters: rename it to have it read",
    "linked_again": "a link to a folder that is read by another path, or that it lies in",
    "broken_link": "a link that leads nowhere: if a folder of recordings was there, they are "
    "missing",
    "hidden_folder": "a hidden folder, which is not looked into",
    "system_folder": "a folder of the operating system, which is not looked into",
    "other_format": "EEG in a format that is not read: convert or unpack it to EDF",
    "unfinished_transfer": "a name that a transfer gives to a file that it has not finished",
    "annotation_without_edf": "an annotation whose EDF is not there: did the download break off?",
}
#: Kinds that tell of EDFs and folders; the others tell of other files.
OF_EDFS = frozenset(SKIPPED) - {"other_format", "unfinished_transfer", "annotation_without_edf"}

#: Recordings in formats that are not read, by the ending of their main file.
_OTHER_FORMATS = (
    *(f".edf{packed}" for packed in (".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")),
    # BioSemi, BrainVision, EEGLAB, Neuroscan and ANT, GDF, MNE, Micromed, Nicolet, Persyst, NWB.
    *(".bdf", ".bdf.gz", ".vhdr", ".set", ".cnt", ".gdf", ".fif", ".fif.gz", ".trc", ".lay"),
    *(".nwb", ".mef", ".edf+"),
    *RECORDING_FOLDERS,
)
#: What follows the last point of these: of nearly every name, no ending need be tried.
_LAST_PARTS = frozenset(ending.rpartition(".")[2] for ending in _OTHER_FORMATS)
#: Names of files that are being written by a browser, rsync, rclone, the AWS CLI, gsutil, WinSCP
#: and the like.
_UNFINISHED = re.compile(
    r"\..+\.edf\.[a-z0-9]{6}"
    r"|.+\.edf\.[0-9a-f]{8}"
    r"|.+\.edf(\.[0-9a-f]{8})?_?"
    r"\.(part|partial|crdownload|download|opdownload|filepart|aria2|gstmp|tmp|temp|!ut)",
    re.IGNORECASE,
)


#: Paths of one kind that are printed.
_SHOWN = 10


class Skipped(NamedTuple):
    """Something below a corpus that is not read: one of :data:`SKIPPED`, and its path.

    The path counts from the corpus's root and is plain text; that of a folder ends with a slash.
    """

    kind: str
    path: str

    @classmethod
    def at(cls, kind: str, path: PurePath, end: str = "") -> Skipped:
        """What lies at ``path``, below the root, whatever characters its name has."""
        return cls(kind, as_text(path.as_posix()) + end)


def is_edf(name: str) -> bool:
    """Whether a file is named as an EDF is; it may be hidden."""
    return name.lower().endswith(".edf")


def is_worth_naming(name: str) -> bool:
    """Whether a file that is no EDF and no annotation is reported where it lies in a corpus."""
    lower = name.lower()
    return lower.endswith(_OTHER_FORMATS) or _is_unfinished(lower)


def beside(
    names: Sequence[str],
    edfs: Iterable[str],
    annotates: Callable[[str, Collection[str]], bool | None],
) -> Iterator[tuple[str, str]]:
    """Kind and name of each file of one folder that is reported and is not named as an EDF is.

    ``edfs`` are those of the ``names`` that are.
    ``annotates`` says whether a file of this name is the annotation of one of the recordings, of
    which it is given the names without their endings; None where it is no annotation. One whose
    recording is there in another format is not reported: that recording is.
    """
    recordings = {name[: -len(".edf")] for name in edfs if name[0] != "."}
    for name in names:
        lower = name.lower()
        if _is_unfinished(lower):
            yield "unfinished_transfer", name
        elif (
            lower.rpartition(".")[2] in _LAST_PARTS
            and name[0] != "."
            and lower.endswith(_OTHER_FORMATS)
        ):
            yield "other_format", name
            ending = next(ending for ending in _OTHER_FORMATS if lower.endswith(ending))
            recordings.add(name[: -len(ending)])
    # Of one missing EDF there may be several annotations.
    stems = set()
    for name in names:
        if name[0] == "." or annotates(name, recordings) is not False:
            continue
        stem = name.rpartition(".")[0]
        if stem not in stems:
            stems.add(stem)
            yield "annotation_without_edf", name


def described(skipped: Iterable[Skipped]) -> Iterator[str]:
    """Lines that say, of each kind, how many there are, why, and which the first are."""
    paths: dict[str, list[str]] = {}
    for kind, path in skipped:
        paths.setdefault(kind, []).append(path)
    for kind, several in sorted(paths.items()):
        more = f"\n  and {len(several) - _SHOWN:,} more" if len(several) > _SHOWN else ""
        shown = "".join(f"\n  {path}" for path in several[:_SHOWN])
        yield f"not read: {len(several):,} {kind}: {SKIPPED[kind]}{shown}{more}"


def _is_unfinished(lower: str) -> bool:
    # Of nearly every name, the pattern need not be tried.
    return (
        ".edf" in lower and not lower.endswith(".edf") and _UNFINISHED.fullmatch(lower) is not None
    )
