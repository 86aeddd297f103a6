"""Hashes of EDFs, stored as soon as they are computed, so that unchanged EDFs are not read again.

There are two files with one line for each EDF and state. That of remote EDFs is permanent and grows
with each download. That of a running index has the EDFs hashed so far, in case it is interrupted,
and is removed when the index is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import append_line
from brainbrr_core.files.state import FileState, Hashes

#: The file of a running index.
INDEX_HASHES = "index-hashes.jsonl"


def memo_path(cache_root: Path) -> Path:
    """Path of the hashes of remote EDFs of a cache root."""
    return cache_root / "remote" / "hashes.jsonl"


def remember(cache_root: Path, recording: Recording, hashes: Hashes) -> None:
    """Store the hashes of a remote EDF in the state in which it was downloaded."""
    path = memo_path(cache_root)
    path.parent.mkdir(parents=True, exist_ok=True)
    append_line(path, _line(recording.path, recording.state, hashes))


def with_known_hashes(recordings: tuple[Recording, ...], cache_root: Path) -> tuple[Recording, ...]:
    """The recordings of an index with the hashes of EDFs that were downloaded since it was written.

    They are the same tuple where there is none.
    """
    if all(map(attrgetter("content_hash"), recordings)) or not any(map(_lacks_hash, recordings)):
        return recordings
    known = known_hashes(cache_root)
    return tuple(
        _with_hashes(recording, known.get((recording.path, recording.state), Hashes()))
        if _lacks_hash(recording)
        else recording
        for recording in recordings
    )


def _with_hashes(recording: Recording, hashes: Hashes) -> Recording:
    return replace(recording, content_hash=hashes.content, data_hash=hashes.data)


def _lacks_hash(recording: Recording) -> bool:
    return not recording.content_hash and recording.is_remote


def known_hashes(cache_root: Path) -> dict[tuple[str, FileState], Hashes]:
    """Hashes of remote EDFs by URL and state."""
    return _entries(memo_path(cache_root))


class IndexMemo:
    """Hashes of local EDFs from the running index, or from one that was interrupted.

    ``earlier`` are the hashes of an index that is otherwise unusable.
    """

    def __init__(
        self, cache_root: Path, earlier: Mapping[tuple[str, FileState], Hashes] | None = None
    ) -> None:
        self._path = cache_root / INDEX_HASHES
        self._known = {**(earlier or {}), **_entries(self._path)}

    def get(self, path: Path, state: FileState) -> Hashes:
        """The hashes of an EDF in this state; empty where they are unknown."""
        return self._known.get((str(path), state), Hashes())

    def add(self, path: Path, state: FileState, hashes: Hashes) -> None:
        """Store hashes. Raises :class:`BrainbrrError` where the cache root is not writable."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            append_line(self._path, _line(str(path), state, hashes))
        except OSError as error:
            raise BrainbrrError(
                f"the cache root {self._path.parent} is not writable ({error.strerror}): set "
                "BRAINBRR_CACHE_ROOT to a folder that is"
            ) from None

    def clear(self) -> None:
        """Remove the file: the index has the hashes now."""
        # A read-only file system also refuses to remove a file that does not exist.
        if self._path.exists():
            self._path.unlink(missing_ok=True)


def _line(address: str, state: FileState, hashes: Hashes) -> str:
    entry: dict[str, object] = {"path": address, "size": state.size, "mark": state.mtime_ns}
    # A remote object has no inode.
    if state.inode:
        entry["inode"] = state.inode
    if hashes.data:
        entry["data"] = hashes.data
    return json.dumps(entry | {"hash": hashes.content}, sort_keys=True)


def _entries(path: Path) -> dict[tuple[str, FileState], Hashes]:
    if not path.is_file():
        return {}
    entries = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            state = FileState(entry["size"], entry["mark"], entry.get("inode", 0))
            hashes = Hashes(str(entry["hash"]), str(entry.get("data", "")))
            entries[(str(entry["path"]), state)] = hashes
        except (ValueError, TypeError, KeyError, AttributeError):
            # A line cut short by a crash: that EDF is hashed again.
            continue
    return entries
