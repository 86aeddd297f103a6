"""Any other protocol that fsspec supports, as a remote location."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.walk import why_not_entered
from brainbrr_core.remote.address import one_line, redact
from brainbrr_core.remote.interface import DOCUMENT_LIMIT, Document, ObjectState, document_of
from brainbrr_core.remote.retry import set_during, with_retries

#: What the constructors of fsspec's file systems raise for an address that they cannot use.
_UNUSABLE = (ImportError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, OSError)
#: The keys under which fsspec's file systems tell that an object changed. Of these, the first
#: ``_CONTENT_TAGS`` identify the content; the others are times.
_TAGS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
_CONTENT_TAGS = 3
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of a listing; ``kind`` is fsspec's word, such as ``file`` or ``directory``."""

    path: str
    kind: str
    is_link: bool
    state: ObjectState

    @classmethod
    def of(cls, info: Mapping[str, object]) -> _Entry:
        """Read the description that fsspec gives of an entry."""
        size = info.get("size")
        key = next((key for key in _TAGS if info.get(key)), "")
        state = ObjectState(
            int(size) if isinstance(size, int | float | str) else 0,
            str(info[key]) if key else "",
            tells_content=key in _TAGS[:_CONTENT_TAGS],
        )
        path = str(info["name"]).rstrip("/")
        return cls(path, str(info["type"]), bool(info.get("islink")), state)

    @property
    def name(self) -> str:
        """The last component of the path."""
        return _last_component(self.path)


class FsspecRemote:
    """A location of another protocol, without conditional writes.

    Only one machine at a time may :meth:`replace` a document.
    """

    has_conditional_writes = False

    def __init__(self, address: str) -> None:
        import fsspec

        try:
            self._files, self._root = fsspec.url_to_fs(address, use_listings_cache=False)
        except _UNUSABLE as error:
            raise BrainbrrError(f"{redact(address)} cannot be used: {one_line(error)}") from None
        self._stop = threading.Event()
        self.address = redact(address)

    def _call(self, attempt: Callable[[], Result]) -> Result:
        return with_retries(attempt, (OSError, TimeoutError), self.address, self._stop)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str, start: int, stop: int) -> bytes:
        path = self._path(name)
        return bytes(self._call(lambda: self._files.cat_file(path, start=start, end=stop)))

    def states(self, prefix: str) -> dict[str, ObjectState]:
        top = self._path(prefix)
        files = self._find(top) if self._has_own_find() else self._walk(top)
        start = len(self._files._strip_protocol(self._root)) + 1
        return {path[start:]: state for path, state in files.items()}

    def _has_own_find(self) -> bool:
        """Whether the file system lists all objects at once, as one without folders does."""
        from fsspec.asyn import AsyncFileSystem
        from fsspec.spec import AbstractFileSystem

        kind = type(self._files)
        own = getattr(kind, "_find", AsyncFileSystem._find)
        return kind.find not in (AbstractFileSystem.find, AsyncFileSystem.find) or (
            own is not AsyncFileSystem._find
        )

    def _find(self, top: str) -> dict[str, ObjectState]:
        infos = self._call(lambda: self._files.find(top, detail=True))
        entries = {path: _Entry.of(info) for path, info in infos.items()}
        return {path: entry.state for path, entry in entries.items() if entry.kind == "file"}

    def _walk(self, top: str) -> dict[str, ObjectState]:
        """The files below a folder; links are followed, and hidden folders are left out."""
        files: dict[str, ObjectState] = {}
        Contents = frozenset[tuple[str, str, ObjectState]]
        pending: list[tuple[str, tuple[Contents, ...]]] = [(top, ())]
        while pending:
            folder, ancestors = pending.pop()
            entries = self._list(folder, is_top=folder == top)
            # fsspec does not say where a link leads. A folder with the same contents and the same
            # times as one of its ancestors is taken to be that ancestor.
            contents = frozenset((entry.name, entry.kind, entry.state) for entry in entries)
            if contents in ancestors:
                continue
            for entry in entries:
                if entry.kind not in ("file", "directory") or entry.is_link:
                    entry = self._follow(entry)
                if entry.kind != "directory":
                    files[entry.path] = entry.state
                elif why_not_entered(entry.name) is None:
                    pending.append((entry.path, (*ancestors, contents)))
        return files

    def _list(self, folder: str, *, is_top: bool) -> list[_Entry]:
        """List a folder. Raises :class:`BrainbrrError` if a folder below the top disappeared."""
        try:
            return [
                _Entry.of(info) for info in self._call(lambda: self._files.ls(folder, detail=True))
            ]
        except (FileNotFoundError, NotADirectoryError):
            if is_top:
                return []
            raise BrainbrrError(
                f"the folder {_last_component(folder)} at {self.address} disappeared while it was "
                "being listed: run the same command again"
            ) from None

    def _follow(self, entry: _Entry) -> _Entry:
        """The target of a link; for a broken link, a file of no bytes."""
        try:
            target = _Entry.of(self._call(lambda: self._files.info(entry.path)))
        except FileNotFoundError:
            return replace(entry, kind="file", state=replace(entry.state, size=0))
        return replace(target, path=entry.path)

    def put(self, name: str, path: Path) -> None:
        self._call(lambda: self._files.put_file(str(path), self._path(name)))

    def document(self, name: str) -> Document | None:
        path = self._path(name)
        try:
            content = self._call(lambda: self._files.cat_file(path, start=0, end=DOCUMENT_LIMIT))
        except FileNotFoundError:
            return None
        return document_of(bytes(content))

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._call(lambda: self._files.rm_file(self._path(name)))

    def replace(self, name: str, content: bytes, expected: Document | None) -> bool:
        if self.document(name) != expected:
            return False
        self._call(lambda: self._files.pipe_file(self._path(name), content))
        return True

    def try_conditional_writes(self, name: str) -> None:
        """Do nothing: fsspec offers no conditional writes."""

    def stopping(self) -> AbstractContextManager[None]:
        return set_during(self._stop)


def _last_component(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
