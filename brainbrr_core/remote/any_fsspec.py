"""Whatever else fsspec reaches as a remote location."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.walk import why_not_entered
from brainbrr_core.remote.address import one_line, redact
from brainbrr_core.remote.interface import (
    DOCUMENT_LIMIT,
    Document,
    ObjectState,
    document_of,
)
from brainbrr_core.remote.retry import set_during, with_retries

#: What the constructors of fsspec's file systems raise for an address that they cannot use.
_UNUSABLE = (ImportError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, OSError)


class FsspecRemote:
    """A place of another protocol. It offers no condition: :meth:`replace` is for one at a time."""

    has_conditional_writes = False

    def __init__(self, address: str) -> None:
        import fsspec

        try:
            self._files, self._root = fsspec.url_to_fs(address, use_listings_cache=False)
        except _UNUSABLE as error:
            raise BrainbrrError(f"{redact(address)} cannot be used: {one_line(error)}") from None
        self._stop = threading.Event()
        self.address = redact(address)

    def _call(self, attempt: Callable[[], Any]) -> Any:
        return with_retries(attempt, (OSError, TimeoutError), self.address, self._stop)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str, start: int, stop: int) -> bytes:
        path = self._path(name)
        return bytes(self._call(lambda: self._files.cat_file(path, start=start, end=stop)))

    def states(self, prefix: str) -> dict[str, ObjectState]:
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
        return document_of(bytes(content))

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._call(lambda: self._files.rm_file(self._path(name)))

    def replace(self, name: str, content: bytes, known: Document | None) -> bool:
        if self.document(name) != known:
            return False
        self._call(lambda: self._files.pipe_file(self._path(name), content))
        return True

    def try_conditional_writes(self, name: str) -> None:
        """There is nothing to try out."""

    def stopping(self) -> AbstractContextManager[None]:
        return set_during(self._stop)


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
