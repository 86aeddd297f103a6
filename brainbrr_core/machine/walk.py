"""The one walk through folders: links are followed, and every folder is looked into once.

Folders before links: what lies in a folder is reached by its own path, and a link to it is passed
over, whichever of the two sorts first. Hidden folders (``.git``) and those of an operating system
are not entered.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

#: Folders that an operating system or a storage device makes and keeps for itself, in lower case.
_SYSTEM_FOLDERS = frozenset(
    {
        "lost+found",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "@tmp",
        "#recycle",
        "#snapshot",
    }
)
#: Endings of folders that are one recording in another format.
RECORDING_FOLDERS = (".mff", ".mefd")

#: Why a walk passed something over; ``brainbrr_core.corpus.skipped`` explains each.
HIDDEN_FOLDER, SYSTEM_FOLDER, LINKED_AGAIN, BROKEN_LINK, NO_TEXT, OTHER_FORMAT = (
    "hidden_folder",
    "system_folder",
    "linked_again",
    "broken_link",
    "no_text",
    "other_format",
)

#: Control characters, what no text has, halves of characters, ends of lines and paragraphs.
_NO_TEXT = ("Cc", "Cn", "Cs", "Zl", "Zp")


def is_text(name: str) -> bool:
    """Whether a name is plain text: UTF-8 on the disk, and no character that controls a screen."""
    # Of nearly every name, no character need be looked at.
    return name.isprintable() or not any(
        unicodedata.category(character) in _NO_TEXT for character in name
    )


def is_utf8(path: str) -> bool:
    """Whether a path is UTF-8 on the disk; Python has halves of characters where it is not."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(path: str) -> str:
    """A path as it can be printed and stored, whatever its bytes are."""
    return "".join(
        character
        if character == " " or character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in path
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder that was looked into, and what is in it besides folders, in order of the names.

    That a file is there says nothing about what it is: it may be a pipe, or a link that leads
    nowhere.
    """

    folder: str
    files: list[os.DirEntry[str]]


def raise_unreadable(error: OSError) -> None:
    """The default of :func:`walk`: a folder that cannot be read ends the walk."""
    raise error


def walk(
    tops: Sequence[str | os.PathLike[str]],
    passed_over: Callable[[str, str], None] = lambda _kind, _path: None,
    *,
    above: Iterable[str | os.PathLike[str]] = (),
    unreadable: Callable[[OSError], None] = raise_unreadable,
) -> Iterator[Listing]:
    """Look into the folders ``tops`` and all below them.

    ``passed_over`` is told a kind and the path of each folder that is not entered (with a slash
    at its end) and of each link without an ending that leads nowhere. Links to the folders
    ``above`` are not followed. No file is asked for its state, where the file system says with
    the name what is a folder.

    Raises ``OSError``, by way of ``unreadable``, for a folder that cannot be listed.
    """
    yield from _Walk(passed_over, unreadable, frozenset(_identities(above))).through(tops)


_BY_NAME = attrgetter("name")


class _Walk:
    def __init__(
        self,
        passed_over: Callable[[str, str], None],
        unreadable: Callable[[OSError], None],
        above: frozenset[tuple[int, int]],
    ) -> None:
        self._passed_over, self._unreadable, self._above = passed_over, unreadable, above
        self._entered: set[tuple[int, int]] = set()
        self._links: deque[str] = deque()

    def through(self, tops: Sequence[str | os.PathLike[str]]) -> Iterator[Listing]:
        paths = [os.fspath(top) for top in tops]
        linked = {path for path in paths if Path(path).is_symlink()}
        self._links.extend(path for path in paths if path in linked)
        waiting = [path for path in reversed(paths) if path not in linked]
        own = frozenset(paths)
        while waiting or self._links:
            path = waiting.pop() if waiting else self._links.popleft()
            try:
                if not self._enters(path, is_top=path in own):
                    self._passed_over(LINKED_AGAIN, f"{path}/")
                    continue
                with os.scandir(path) as entries:
                    ordered = sorted(entries, key=_BY_NAME)
                files, folders = self._sorted_out(ordered)
            except OSError as error:
                self._unreadable(error)
                continue
            yield Listing(path, files)
            waiting.extend(reversed(folders))

    def _enters(self, path: str, *, is_top: bool) -> bool:
        """Whether a folder is another one than those looked into, by whatever path."""
        identity = _identity(path)
        if identity in self._entered or (identity in self._above and not is_top):
            return False
        self._entered.add(identity)
        return True

    def _sorted_out(
        self, entries: Iterable[os.DirEntry[str]]
    ) -> tuple[list[os.DirEntry[str]], list[str]]:
        """What is no folder, and the folders to enter; links to folders wait for their turn."""
        files, folders = [], []
        for entry in entries:
            # Of nearly every entry, the folder's own list says that it is a file.
            if entry.is_file(follow_symlinks=False):
                files.append(entry)
                continue
            if not _is_folder(entry):
                files.append(entry)
                if entry.is_symlink() and "." not in entry.name and not _exists(entry.path):
                    self._passed_over(BROKEN_LINK, entry.path)
                continue
            reason = why_not_entered(entry.name)
            if reason is not None:
                self._passed_over(reason, f"{entry.path}/")
            elif entry.is_symlink():
                self._links.append(entry.path)
            else:
                folders.append(entry.path)
        return files, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one.

    Raises ``OSError`` where a link that may well be to a folder leads where nobody may look.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP and "." not in entry.name:
            raise
        return False


def why_not_entered(name: str) -> str | None:
    """Why a folder of this name is not entered; None where it is."""
    if name.startswith("."):
        return HIDDEN_FOLDER
    if name.lower() in _SYSTEM_FOLDERS:
        return SYSTEM_FOLDER
    if name.lower().endswith(RECORDING_FOLDERS):
        return OTHER_FORMAT
    return None if is_text(name) else NO_TEXT


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def _identity(path: str) -> tuple[int, int]:
    """What tells a folder from another, by whatever path."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _identities(paths: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[int, int]]:
    for path in paths:
        with suppress(OSError):
            yield _identity(os.fspath(path))
