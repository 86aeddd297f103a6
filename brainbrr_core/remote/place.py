"""What every remote place can do, and two of them: a folder, and whatever fsspec reaches.

A transient failure is tried again, with growing pauses; what lasts is one line. Nothing above
this module knows which place it talks to.
"""

from __future__ import annotations

import contextlib
import os
import random
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import replacing
from brainbrr_core.locking import locked
from brainbrr_core.machine.walk import walk, why_not_entered
from brainbrr_core.remote.address import checked_address, one_line, redacted

#: Bytes of the largest document that is read; TUSZ's catalogue has 2 MB, its index 3 MB.
DOCUMENT_LIMIT = 256 * 2**20
#: Attempts, and the pause before the second in seconds; it doubles each time, up to a limit.
ATTEMPTS, PAUSE_S, PAUSE_LIMIT_S = 8, 0.25, 8.0

Result = TypeVar("Result")


class RemoteUnavailable(WorkRemains):
    """The remote place failed again and again."""


class Stopped(WorkRemains):
    """A request was ended from another thread."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"a request to {where} was ended: what was moved stays; run the same command again"
        )


@contextmanager
def thrown(switch: threading.Event) -> Iterator[None]:
    """Set ``switch`` until the block ends."""
    switch.set()
    try:
        yield
    finally:
        switch.clear()


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What tells cheaply whether an object changed: bytes, and the ETag or what stands for it.

    ``tells_content`` is false where objects of other content may have the same tag, such as a
    time.
    """

    size: int
    tag: str
    tells_content: bool = True


@dataclass(frozen=True)
class Document:
    """A small file that is replaced whole; ``token`` names this state of it."""

    content: bytes
    token: str


class Remote(Protocol):
    """A remote place. Names are relative to its address; every method may be called at once.

    All raise :class:`RemoteUnavailable` when the place fails in spite of repetition, and
    :class:`BrainbrrError` when it refuses.
    """

    address: str
    #: Whether :meth:`replace` is safe when two do it at once; see :meth:`check_conditions`.
    conditional: bool

    def read(self, name: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of an object. Raises ``FileNotFoundError``."""

    def held(self, prefix: str) -> dict[str, ObjectState]:
        """The objects below a prefix, or the one of that name, by name."""

    def put(self, name: str, path: Path) -> None:
        """Make a file an object, replacing one of the same name."""

    def document(self, name: str) -> Document | None:
        """A small file, or None."""

    def remove(self, name: str) -> None:
        """Remove an object, which may be gone already."""

    def replace(self, name: str, content: bytes, known: Document | None) -> bool:
        """Replace a document that is still ``known``; False when another was faster."""

    def check_conditions(self, name: str) -> None:
        """Try out, on an object without worth that is there, whether ``conditional`` is true."""

    def stopping(self) -> AbstractContextManager[None]:
        """Until the block ends, requests of other threads end soon and raise :class:`Stopped`."""


def open_remote(url: str) -> Remote:
    """The remote place at ``url``: ``s3://``, a folder (a path or ``file://``), or any of fsspec's.

    Raises :class:`BrainbrrError` for an address that cannot be used.
    """
    address = checked_address(url)
    scheme = urlsplit(address).scheme if "://" in address else "file"
    if scheme == "file":
        return FolderRemote(address)
    if scheme in ("s3", "s3a"):
        from brainbrr_core.remote.s3 import S3Remote

        return S3Remote(address)
    return OtherRemote(address)


def put_content(remote: Remote, name: str, content: bytes) -> None:
    """Make bytes an object, replacing one of the same name."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        remote.put(name, Path(file.name))


def persist(
    attempt: Callable[[], Result],
    transient: tuple[type[Exception], ...],
    where: str,
    stop: threading.Event,
    *,
    lasts: Callable[[Exception], bool] = lambda _error: False,
) -> Result:
    """Call ``attempt`` until it succeeds; errors of ``transient`` are tried again.

    Raises :class:`Stopped` soon after ``stop`` is set. Never tried again is what says that a file
    is missing or that access is refused, or what ``lasts`` says will not change.
    """
    for number in range(ATTEMPTS):
        if stop.is_set():
            raise Stopped(where)
        try:
            return attempt()
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise BrainbrrError(
                f"{where} refused the access ({one_line(error)}): check the credentials that "
                "AWS_PROFILE, the AWS_* variables or the machine's role give"
            ) from None
        except transient as error:
            if lasts(error):
                raise BrainbrrError(f"{where} refused a request: {one_line(error)}") from None
            if number == ATTEMPTS - 1:
                raise RemoteUnavailable(
                    f"{where} failed {ATTEMPTS} times ({one_line(error)}): what was moved stays; "
                    "run the same command again"
                ) from None
            # Half of it random, so that many transfers do not come back at once.
            stop.wait(min(PAUSE_S * 2**number, PAUSE_LIMIT_S) * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable")


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
        self.conditional = True
        try:
            self._root = self._root.expanduser()
        except RuntimeError:
            raise BrainbrrError(f"{address}: there is no such user's home folder") from None

    def read(self, name: str, start: int, stop: int) -> bytes:
        with (self._root / name).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def held(self, prefix: str) -> dict[str, ObjectState]:
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
            return _document((self._root / name).read_bytes())
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

    def check_conditions(self, name: str) -> None:
        """Nothing to try: where there is no ``flock``, a lock file stands for it."""

    def stopping(self) -> AbstractContextManager[None]:
        return thrown(self._stop)


#: What the constructors of fsspec's file systems raise for an address that they cannot use.
_UNUSABLE = (ImportError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, OSError)


class OtherRemote:
    """A place of another protocol. It offers no condition: :meth:`replace` is for one at a time."""

    conditional = False

    def __init__(self, address: str) -> None:
        import fsspec

        try:
            self._files, self._root = fsspec.url_to_fs(address, use_listings_cache=False)
        except _UNUSABLE as error:
            raise BrainbrrError(f"{redacted(address)} cannot be used: {one_line(error)}") from None
        self._stop = threading.Event()
        self.address = redacted(address)

    def _call(self, attempt: Callable[[], Any]) -> Any:
        return persist(attempt, (OSError, TimeoutError), self.address, self._stop)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str, start: int, stop: int) -> bytes:
        path = self._path(name)
        return bytes(self._call(lambda: self._files.cat_file(path, start=start, end=stop)))

    def held(self, prefix: str) -> dict[str, ObjectState]:
        top = self._path(prefix)
        files = self._all_below(top) if self._has_own_find() else self._walked(top)
        start = len(self._files._strip_protocol(self._root)) + 1
        return {path[start:]: _object_state(about) for path, about in files.items()}

    def _has_own_find(self) -> bool:
        """Whether the place lists all objects at once, as one does that has no folders."""
        from fsspec.asyn import AsyncFileSystem
        from fsspec.spec import AbstractFileSystem

        kind = type(self._files)
        own = getattr(kind, "_find", AsyncFileSystem._find)
        return kind.find not in (AbstractFileSystem.find, AsyncFileSystem.find) or (
            own is not AsyncFileSystem._find
        )

    def _all_below(self, top: str) -> dict[str, dict[str, Any]]:
        files = self._call(lambda: self._files.find(top, detail=True))
        return {path: about for path, about in files.items() if about["type"] == "file"}

    def _walked(self, top: str) -> dict[str, dict[str, Any]]:
        """The files below a folder, links followed, hidden folders left out."""
        files: dict[str, dict[str, Any]] = {}
        waiting: list[tuple[str, tuple[frozenset[Any], ...]]] = [(top, ())]
        while waiting:
            folder, above = waiting.pop()
            entries = self._listed(folder, is_top=folder == top)
            # No file system of fsspec says what a link leads to. A folder that holds what one
            # above it holds, with the same times, is that one.
            mark = frozenset((_last(e["name"]), e["type"], _object_state(e)) for e in entries)
            if mark in above:
                continue
            for entry in entries:
                path = entry["name"].rstrip("/")
                if entry["type"] not in ("file", "directory") or entry.get("islink"):
                    entry = self._followed(path, entry)
                if entry["type"] != "directory":
                    files[path] = entry
                elif why_not_entered(_last(path)) is None:
                    waiting.append((path, (*above, mark)))
        return files

    def _listed(self, folder: str, *, is_top: bool) -> list[dict[str, Any]]:
        """What is in a folder. Raises :class:`BrainbrrError` for one that cannot be read."""
        try:
            return list(self._call(lambda: self._files.ls(folder, detail=True)))
        except (FileNotFoundError, NotADirectoryError):
            if is_top:
                return []
            raise BrainbrrError(
                f"{self.address}: {_last(folder)} went away while it was listed: run the command "
                "again"
            ) from None

    def _followed(self, path: str, entry: dict[str, Any]) -> dict[str, Any]:
        """What a link leads to; the link itself, as a file of no bytes, where that is nowhere."""
        try:
            return dict(self._call(lambda: self._files.info(path)))
        except FileNotFoundError:
            return {**entry, "type": "file", "size": 0}

    def put(self, name: str, path: Path) -> None:
        self._call(lambda: self._files.put_file(str(path), self._path(name)))

    def document(self, name: str) -> Document | None:
        path = self._path(name)
        try:
            content = self._call(lambda: self._files.cat_file(path, start=0, end=DOCUMENT_LIMIT))
        except FileNotFoundError:
            return None
        return _document(bytes(content))

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._call(lambda: self._files.rm_file(self._path(name)))

    def replace(self, name: str, content: bytes, known: Document | None) -> bool:
        if self.document(name) != known:
            return False
        self._call(lambda: self._files.pipe_file(self._path(name), content))
        return True

    def check_conditions(self, name: str) -> None:
        """There is nothing to try out."""

    def stopping(self) -> AbstractContextManager[None]:
        return thrown(self._stop)


def _document(content: bytes) -> Document:
    return Document(content, sha256(content).hexdigest())


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


#: Under which name a file system of fsspec says that an object is another one now.
_TAGS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
#: As many of them are those of a content; the others are times.
_OF_CONTENT = 3


def _object_state(about: dict[str, Any]) -> ObjectState:
    name = next((name for name in _TAGS if about.get(name)), "")
    tag = str(about[name]) if name else ""
    return ObjectState(int(about.get("size") or 0), tag, tells_content=name in _TAGS[:_OF_CONTENT])


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
