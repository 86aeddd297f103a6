"""Finding the recording that a user names: by its partition key, or by the end of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import UnusableIndex, index_path, read_index
from brainbrr_core.corpus.patients import name_alone
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.edf.formats import suffix_of, without_suffix
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.filesystem import real_path
from brainbrr_core.nearest import nearest

#: How many recordings a message lists at most.
_LISTED = 5


def find_recording(index: Index, name: str) -> Recording:
    """The recording with a partition key, with a file name, or whose key alone ends so.

    Parameters
    ----------
    index : Index
        The index of the corpus.
    name : str
        A partition key, or its end: whole folders and file name, or only the last characters. It
        may end in ``.edf`` or the suffix of another format. Also the whole path that the index has.

    Returns
    -------
    Recording
        The only one that is meant. Whole names come before ends of names.

    Raises
    ------
    BrainbrrError
        Where none is meant, naming the nearest of the same patient if there is one, or where
        several are, listing the first of them.
    """
    by_key = index.by_key()
    ending = without_suffix(name).strip("/")
    if ending in by_key:
        return by_key[ending]
    if Path(name).is_absolute():
        at_path = next((row for row in index if row.path == name), None)
        if at_path is not None:
            return at_path
    whole = [key for key in by_key if key.endswith(f"/{ending}")]
    meant = whole or [key for key in by_key if ending and key.endswith(ending)]
    if len(meant) == 1:
        return by_key[meant[0]]
    if meant:
        more = f" and {len(meant) - _LISTED:,} more" if len(meant) > _LISTED else ""
        raise BrainbrrError(
            f"{len(meant):,} recordings are named {name}: {', '.join(meant[:_LISTED])}{more}: give "
            "more of the partition key"
        )
    of_patient = [
        key for key, row in by_key.items() if _names_patient(name, name_alone(row.patient, key))
    ]
    near = nearest(ending, of_patient)
    hint = f" (the nearest of this patient is {near})" if near else ""
    raise BrainbrrError(
        f"no recording {name} in the index{hint}: give a partition key, the end of one, or the "
        "path of an EDF; `brainbrr index --list` lists the keys"
    )


def find_edf(name: str, cache_root: Path) -> tuple[Path, Recording | None]:
    """The EDF that a user names by its path, or as in :func:`find_recording`.

    Parameters
    ----------
    name : str
        The path of an EDF, a partition key, or its end.
    cache_root : pathlib.Path
        The cache root whose index is asked.

    Returns
    -------
    tuple of (pathlib.Path, Recording or None)
        The EDF, and its row of the index where it has one.

    Raises
    ------
    BrainbrrError
        Where there is no such file and no such recording, or it is not on this machine.
    """
    path = Path(name)
    has_suffix = suffix_of(path.name) != ""
    is_path = has_suffix and path.is_file()
    if has_suffix and not is_path and os.path.lexists(path):
        raise BrainbrrError(f"{path} is {_kind(path)}: give the path of an EDF")
    if has_suffix and path.is_absolute() and not is_path:
        raise BrainbrrError(f"there is no EDF at {path}: give its path, or a partition key")
    if not index_path(cache_root).is_file():
        if is_path:
            return path, None
        if has_suffix:
            raise BrainbrrError(f"there is no EDF at {path}: give its path, or a partition key")
        raise BrainbrrError(
            f"there is no index at {index_path(cache_root)} to find {name} in: run "
            "`brainbrr index`, or give the path of an EDF"
        )
    try:
        index = read_index(cache_root)
    except UnusableIndex:
        if is_path:
            # A file needs no index.
            return path, None
        raise
    if is_path:
        real = real_path(path)
        return path, next((row for row in index if real_path(Path(row.path)) == real), None)
    recording = find_recording(index, name)
    if recording.is_remote:
        raise BrainbrrError(
            f"{recording.path} is not on this machine: copy it here and give its path"
        )
    return Path(recording.path), recording


def _kind(path: Path) -> str:
    """What a path is that is there and is no file."""
    if path.is_dir():
        return "a folder"
    return "a pipe or a device" if path.exists() else "a link to nothing"


def _names_patient(name: str, patient: str) -> bool:
    """Whether a patient is named in the name of a recording, as a word of its own."""
    return bool(re.search(rf"(?<![^\W_]){re.escape(patient)}(?![^\W_])", name))
