"""Where the files of a corpus are, and what is asked of them.

A layout walks a folder. For a corpus on this machine that is the corpus itself; for one behind a
URL it is a mirror that has the annotations and, for each EDF, an empty file in its place
(``remote``).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

from brainbrr_core.corpus.hash_memo import IndexMemo
from brainbrr_core.corpus.recording import UNSEEN
from brainbrr_core.edf.source import EdfBytes, LocalEdf
from brainbrr_core.files.state import FileState, Hashes, edf_hashes, file_state
from brainbrr_core.machine.filesystem import file_system
from brainbrr_core.machine.processors import usable_cores


class CorpusFiles(Protocol):
    """The files of a corpus as an index needs them; ``path`` is always one below ``root``."""

    @property
    def root(self) -> Path:
        """The folder that a layout walks."""

    def state(self, path: Path | str) -> FileState:
        """What tells cheaply whether a file changed. Raises ``OSError`` when it cannot be seen."""

    def hashes(self, path: Path) -> Hashes:
        """The hashes of an EDF; empty where it would have to be fetched to know them."""

    def object_tag(self, path: Path | str) -> str:
        """What two objects of the same content have in common; empty where nothing is known."""

    def edf(self, path: Path) -> EdfBytes:
        """An EDF, to be read."""

    def address(self, path: Path | str) -> str:
        """Where a file is, for the index: a path or a URL."""

    @property
    def requests(self) -> int:
        """How many files are worth reading at once."""

    @property
    def looks(self) -> int:
        """How many files are worth asking for their state at once."""

    @property
    def hashed(self) -> int:
        """How many files were read to their end for their hash."""


class LocalFiles:
    """A corpus on this machine; with a memo, a hash is kept as soon as it is known."""

    def __init__(self, root: Path, memo: IndexMemo | None = None) -> None:
        self._root, self._memo = root, memo
        self._hashed = 0

    @property
    def root(self) -> Path:
        """The folder itself."""
        return self._root

    @property
    def hashed(self) -> int:
        """How many files were read to their end for their hash."""
        return self._hashed

    def state(self, path: Path | str) -> FileState:
        """Size, mtime and inode. Raises ``OSError`` for a file that may not be read, too."""
        state = file_state(path)
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return state

    def hashes(self, path: Path) -> Hashes:
        """The hashes of the file, read now unless the memo knows it in its state."""
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
        """Nothing: a file is hashed."""
        return ""

    def edf(self, path: Path) -> EdfBytes:
        """The file itself."""
        return LocalEdf(path)

    def address(self, path: Path | str) -> str:
        """The path."""
        return str(path)

    @property
    def requests(self) -> int:
        """One for each core."""
        return usable_cores()

    @property
    def looks(self) -> int:
        """One, but where a server must answer each time: here, threads only stand in their way."""
        system = file_system(self._root)
        return self.requests if system is not None and system.is_shared else 1


def state_of(source: CorpusFiles, path: Path | str) -> FileState:
    """The state of a file, :data:`UNSEEN` where nothing can be seen of it."""
    try:
        return source.state(path)
    except OSError:
        return UNSEEN
