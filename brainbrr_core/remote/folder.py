"""A folder as a remote location."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import replacing
from brainbrr_core.locking import locked
from brainbrr_core.machine.filesystem import real_path
from brainbrr_core.machine.walk import walk
from brainbrr_core.remote.interface import Document, ObjectState, Stopped, document_of
from brainbrr_core.remote.retry import set_during

#: Bytes copied between two checks whether to stop.
_COPIED_BYTES = 4 * 2**20
#: The state of a pipe, or of a link that leads nowhere.
_NOT_A_FILE = ObjectState(0, "no file", tells_content=False)


class FolderRemote:
    """A folder of this machine or of a network share.

    Every file is written whole, and documents are replaced under a lock. On a share whose locks
    are not seen by other hosts (sshfs), only one host at a time may push.
    """

    def __init__(self, address: str) -> None:
        path = unquote(urlsplit(address).path) if address.startswith("file://") else address
        self._root = Path(path)
        self._stop = threading.Event()
        self.address = address
        self.has_conditional_writes = True
        try:
            self._root = self._root.expanduser()
        except RuntimeError:
            raise BrainbrrError(
                f"{address}: this user has no home folder here; give the path without ~"
            ) from None

    def read(self, name: str, start: int, stop: int) -> bytes:
        with (self._root / name).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def states(self, prefix: str) -> dict[str, ObjectState]:
        top = self._root / prefix
        if top.is_file():
            state = _file_state(top)
            return {} if state is None else {prefix: state}
        if not top.is_dir():
            return {}
        states = {}
        try:
            for listing in walk([top], above=real_path(self._root).parents):
                folder = Path(listing.folder).relative_to(self._root)
                for entry in listing.files:
                    if not entry.name.startswith(".") and (state := _file_state(entry)):
                        states[(folder / entry.name).as_posix()] = state
        except OSError as error:
            raise BrainbrrError(
                f"{error.filename} cannot be read ({error.strerror}), so the contents of "
                f"{self.address} are not fully known: fix its permissions"
            ) from None
        return states

    def put(self, name: str, path: Path) -> None:
        with (
            replacing(self._root / name) as temporary,
            path.open("rb") as source,
            temporary.open("wb") as copy,
        ):
            while content := source.read(_COPIED_BYTES):
                if self._stop.is_set():
                    raise Stopped(self.address)
                copy.write(content)

    def document(self, name: str) -> Document | None:
        try:
            return document_of((self._root / name).read_bytes())
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def replace(self, name: str, content: bytes, expected: Document | None) -> bool:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lock_path = path.with_name(f".{path.name}.lock")
        with lock_path.open("a") as lock, locked(lock.fileno(), lock_path):
            if self.document(name) != expected:
                return False
            with replacing(path) as temporary:
                temporary.write_bytes(content)
        return True

    def try_conditional_writes(self, name: str) -> None:
        """Do nothing: where the file system has no ``flock``, a lock file replaces it."""

    def stopping(self) -> AbstractContextManager[None]:
        return set_during(self._stop)


def _file_state(path: Path | os.DirEntry[str]) -> ObjectState | None:
    """The state of a file; None if it disappeared after it was listed."""
    try:
        status = path.stat()
    except OSError:
        return _NOT_A_FILE if path.is_symlink() else None
    if not stat.S_ISREG(status.st_mode):
        return _NOT_A_FILE
    return ObjectState(status.st_size, f"{status.st_mtime_ns}-{status.st_ino}")
