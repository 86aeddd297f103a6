"""What every remote place can do, and two of them: a folder, and whatever fsspec reaches.

A transient failure is tried again, with growing pauses; what lasts is one line. Nothing above
this module knows which place it talks to.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from brainbrr_core.atomic import flush, replacing
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.locking import locked
from brainbrr_core.remote.address import checked_address, one_line, redacted

#: Bytes of the largest document that is read; TUSZ's catalogue has 2 MB, its index 3 MB.
DOCUMENT_LIMIT = 256 * 2**20
#: Attempts, and the pause before the second in seconds; it doubles each time, up to a limit.
ATTEMPTS, PAUSE_S, PAUSE_LIMIT_S = 8, 0.25, 8.0

Result = TypeVar("Result")


class RemoteUnavailable(WorkRemains):
    """The remote place failed again and again."""


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What tells cheaply whether an object changed: bytes, and the ETag or what stands for it."""

    size: int
    tag: str


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
    #: Whether :meth:`replace` is safe when two do it at once.
    conditional: bool

    def read(self, name: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of an object. Raises ``FileNotFoundError``."""

    def held(self, prefix: str) -> dict[str, ObjectState]:
        """The objects below a prefix, or the one of that name, by name."""

    def put(self, name: str, path: Path) -> None:
        """Make a file an object, replacing one of the same name."""

    def document(self, name: str) -> Document | None:
        """A small file, or None."""

    def replace(self, name: str, content: bytes, known: Document | None) -> bool:
        """Replace a document that is still ``known``; False when another was faster."""


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


def persist(
    attempt: Callable[[], Result],
    transient: tuple[type[Exception], ...],
    where: str,
    *,
    lasts: Callable[[Exception], bool] = lambda _error: False,
) -> Result:
    """Call ``attempt`` until it succeeds; errors of ``transient`` are tried again.

    Never tried again is what says that a file is missing or that access is refused, or what
    ``lasts`` says will not change.
    """
    for number in range(ATTEMPTS):
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
            time.sleep(min(PAUSE_S * 2**number, PAUSE_LIMIT_S) * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable")


class FolderRemote:
    """A folder of this machine or of a share: every file appears whole, replaced under a lock."""

    conditional = True

    def __init__(self, address: str) -> None:
        path = unquote(urlsplit(address).path) if address.startswith("file://") else address
        self._root = Path(path).expanduser()
        self.address = address

    def read(self, name: str, start: int, stop: int) -> bytes:
        with (self._root / name).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def held(self, prefix: str) -> dict[str, ObjectState]:
        place = self._root / prefix
        found = [place] if place.is_file() else place.rglob("*")
        return {
            str(path.relative_to(self._root)): _file_state(path)
            for path in found
            if path.is_file() and not path.name.startswith(".")
        }

    def put(self, name: str, path: Path) -> None:
        target = self._root / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, temporary)
            flush(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def document(self, name: str) -> Document | None:
        try:
            return _document((self._root / name).read_bytes())
        except FileNotFoundError:
            return None

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


class OtherRemote:
    """A place of another protocol. It offers no condition: of two pushers one may be forgotten.

    Nothing is corrupt then: its objects are there, and its next push names them.
    """

    conditional = False

    def __init__(self, address: str) -> None:
        import fsspec

        try:
            self._files, self._root = fsspec.url_to_fs(address, use_listings_cache=False)
        except (ImportError, ValueError, TypeError) as error:
            raise BrainbrrError(f"{address} cannot be used: {one_line(error)}") from None
        self.address = redacted(address)

    def _call(self, attempt: Callable[[], Any]) -> Any:
        return persist(attempt, (OSError, TimeoutError), self.address)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str, start: int, stop: int) -> bytes:
        path = self._path(name)
        return bytes(self._call(lambda: self._files.cat_file(path, start=start, end=stop)))

    def held(self, prefix: str) -> dict[str, ObjectState]:
        found = self._call(lambda: self._files.find(self._path(prefix), detail=True))
        skipped = len(self._files._strip_protocol(self._root)) + 1
        return {
            path[skipped:]: _object_state(about)
            for path, about in found.items()
            if about["type"] == "file"
        }

    def put(self, name: str, path: Path) -> None:
        self._call(lambda: self._files.put_file(str(path), self._path(name)))

    def document(self, name: str) -> Document | None:
        path = self._path(name)
        try:
            content = self._call(lambda: self._files.cat_file(path, start=0, end=DOCUMENT_LIMIT))
        except FileNotFoundError:
            return None
        return _document(bytes(content))

    def replace(self, name: str, content: bytes, known: Document | None) -> bool:
        if self.document(name) != known:
            return False
        self._call(lambda: self._files.pipe_file(self._path(name), content))
        return True


def _document(content: bytes) -> Document:
    return Document(content, sha256(content).hexdigest())


def _file_state(path: Path) -> ObjectState:
    status = path.stat()
    return ObjectState(status.st_size, f"{status.st_mtime_ns}-{status.st_ino}")


#: Under which name a file system of fsspec says that an object is another one now.
_TAGS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


def _object_state(about: dict[str, Any]) -> ObjectState:
    tag = next((str(about[name]) for name in _TAGS if about.get(name)), "")
    return ObjectState(int(about["size"]), tag)
