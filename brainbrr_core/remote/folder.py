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
from brainbrr_core.machine.walk import walk
from brainbrr_core.remote.interface import (
    Document,
    ObjectState,
    Stopped,
    document_of,
)
from brainbrr_core.remote.retry import set_during

#: Bytes that are copied between two looks whether to stop.
_COPIED_BYTES = 4 * 2**20


class FolderRemote:
    """A folder of this machine or of a share: every file appears whole, replaced under a lock.

    A share on which a lock binds one host only (sshfs) is not told apart from others: let one
    host at a time push there.
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
            raise BrainbrrError(f"{address}: there is no such user's home folder") from None

    def read(self, name: str, start: int, stop: int) -> bytes:
        with (self._root / name).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def states(self, prefix: str) -> dict[str, ObjectState]:
        top = self._root / prefix
        if top.is_file():
            only = _file_state(top)
            return {} if only is None else {prefix: only}
        if not top.is_dir():
            return {}
        states = {}
        try:
            for listing in walk([top], above=self._root.resolve().parents):
                folder = Path(listing.folder).relative_to(self._root)
                for entry in listing.files:
                    if not entry.name.startswith(".") and (state := _file_state(entry)):
                        states[(folder / entry.name).as_posix()] = state
        except OSError as error:
            raise BrainbrrError(
                f"{error.filename} cannot be read ({error.strerror}), so nobody knows what is "
                f"below {self.address}: fix its permissions"
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

    def replace(self, name: str, content: bytes, known: Document | None) -> bool:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        guard = path.with_name(f".{path.name}.lock")
        with guard.open("a") as lock, locked(lock.fileno(), guard):
            if self.document(name) != known:
                return False
            with replacing(path) as temporary:
                temporary.write_bytes(content)
        return True

    def try_conditional_writes(self, name: str) -> None:
        """Nothing to try: where there is no ``flock``, a lock file stands for it."""

    def stopping(self) -> AbstractContextManager[None]:
        return set_during(self._stop)


def _file_state(path: Path | os.DirEntry[str]) -> ObjectState | None:
    """The state of a file; of no bytes and no content where it is a pipe, or a link to nowhere.

    None for what is gone since it was listed.
    """
    try:
        status = path.stat()
    except OSError:
        return _NO_FILE if path.is_symlink() else None
    if not stat.S_ISREG(status.st_mode):
        return _NO_FILE
    return ObjectState(status.st_size, f"{status.st_mtime_ns}-{status.st_ino}")


_NO_FILE = ObjectState(0, "no file", tells_content=False)
