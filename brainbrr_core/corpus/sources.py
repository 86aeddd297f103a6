"""Access to the files of a corpus, on this machine or behind a URL.

A layout walks a folder. For a local corpus, that is the corpus itself. For a corpus behind a URL,
it is a mirror with the annotation files and an empty file for each EDF (``mirror``).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from brainbrr_core.corpus.hash_memo import IndexMemo
from brainbrr_core.corpus.recording import UNSEEN
from brainbrr_core.edf.formats import FORMATS
from brainbrr_core.edf.reader import recording_file
from brainbrr_core.edf.source import EdfBytes
from brainbrr_core.files.state import FileState, Hashes, combined_hash, edf_hashes, file_state
from brainbrr_core.machine.filesystem import file_system
from brainbrr_core.machine.processors import usable_cores


class CorpusFiles(Protocol):
    """What an index needs of the files of a corpus; every ``path`` is below ``root``."""

    @property
    def root(self) -> Path:
        """The folder that a layout walks."""

    @property
    def formats(self) -> frozenset[str]:
        """Suffixes of the recordings that can be read."""

    def state(self, path: Path | str) -> FileState:
        """Size, time and inode of a file. Raises ``OSError`` when it cannot be accessed."""

    def hashes(self, path: Path, parts: Sequence[Path] = ()) -> Hashes:
        """The hashes of an EDF, or of a recording with further ``parts``.

        Empty where it would have to be downloaded for them.
        """

    def object_tag(self, path: Path | str) -> str:
        """A tag that objects with the same content share; empty where there is none."""

    def edf(self, path: Path) -> EdfBytes:
        """A recording, for reading."""

    def address(self, path: Path | str) -> str:
        """Path or URL of a file, for the index."""

    @property
    def concurrent_reads(self) -> int:
        """How many files to read concurrently."""

    @property
    def concurrent_states(self) -> int:
        """How many files to ask for their state concurrently."""

    @property
    def hashed(self) -> int:
        """How many files were hashed."""


class LocalFiles:
    """A corpus on this machine; each new hash is stored in the memo at once, if there is one."""

    def __init__(self, root: Path, memo: IndexMemo | None = None) -> None:
        self._root, self._memo = root, memo
        self._hashed = 0

    @property
    def formats(self) -> frozenset[str]:
        """Every format."""
        return frozenset(FORMATS)

    @property
    def root(self) -> Path:
        """The folder itself."""
        return self._root

    @property
    def hashed(self) -> int:
        """How many files were hashed."""
        return self._hashed

    def state(self, path: Path | str) -> FileState:
        """Size, mtime and inode. Raises ``OSError`` also for a file without read permission."""
        state = file_state(path)
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return state

    def hashes(self, path: Path, parts: Sequence[Path] = ()) -> Hashes:
        """The hashes of a file and of its parts, computed unless the memo has them."""
        own = self._hashes_of(path)
        if not parts:
            return own
        each = [own, *map(self._hashes_of, parts)]
        return Hashes(combined_hash(hashes.content for hashes in each))

    def _hashes_of(self, path: Path) -> Hashes:
        """The hashes of one file, computed unless the memo has them for its present state."""
        state = file_state(path)
        hashes = self._memo.get(path, state) if self._memo is not None else Hashes()
        if hashes.content:
            return hashes
        hashes = edf_hashes(path)
        self._hashed += 1
        if self._memo is not None and file_state(path) == state:
            self._memo.add(path, state, hashes)
        return hashes

    def object_tag(self, _path: Path | str) -> str:
        """Empty: the content of a local file is known by its hash."""
        return ""

    def edf(self, path: Path) -> EdfBytes:
        """The file itself."""
        return recording_file(path)

    def address(self, path: Path | str) -> str:
        """The path."""
        return str(path)

    @property
    def concurrent_reads(self) -> int:
        """As many as cores."""
        return usable_cores()

    @property
    def concurrent_states(self) -> int:
        """One, unless a server answers each request: on a local disk, threads only slow it down."""
        system = file_system(self._root)
        return self.concurrent_reads if system is not None and system.is_shared else 1


def state_of(source: CorpusFiles, path: Path | str) -> FileState:
    """The state of a file; :data:`UNSEEN` where it cannot be accessed."""
    try:
        return source.state(path)
    except OSError:
        return UNSEEN


def open_corpus(data_dir: str, cache_root: Path, memo: IndexMemo | None = None) -> CorpusFiles:
    """The files of the corpus at a folder or a URL.

    A corpus behind a URL is mirrored below the cache root. ``memo`` stores the hashes of local
    EDFs. Raises :class:`BrainbrrError` when a URL cannot be used.
    """
    if "://" not in data_dir:
        return LocalFiles(Path(data_dir), memo)
    # Imported here because it is heavy and most corpora are local.
    from brainbrr_core.corpus.mirror import MirroredFiles

    return MirroredFiles(data_dir, cache_root)
