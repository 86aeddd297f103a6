"""Walk through folders, following links and listing every folder once.

Folders are listed before links are followed: a folder that is reachable both directly and through
a link is listed under its own path, whichever of the two sorts first, and the link is skipped.
Hidden folders (``.git``) and folders of the operating system are not entered.
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

#: Lower-case names of folders that operating systems and storage devices create for their own use.
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
#: Suffixes of folders that are a single recording in a format other than EDF.
RECORDING_FOLDERS = (".mff", ".mefd")

#: Why a walk skipped something; ``brainbrr_core.corpus.skipped`` explains each reason.
HIDDEN_FOLDER, SYSTEM_FOLDER, LINKED_AGAIN, BROKEN_LINK, NO_TEXT, OTHER_FORMAT = (
    "hidden_folder",
    "system_folder",
    "linked_again",
    "broken_link",
    "no_text",
    "other_format",
)

#: Unicode categories: control, unassigned, surrogate, line separator, paragraph separator.
_NO_TEXT = ("Cc", "Cn", "Cs", "Zl", "Zp")


def is_text(name: str) -> bool:
    """Whether a name is plain text: valid UTF-8 on disk, without control characters."""
    # Fast path: nearly every name is printable.
    return name.isprintable() or not any(
        unicodedata.category(character) in _NO_TEXT for character in name
    )


def is_utf8(path: str) -> bool:
    """Whether a path is valid UTF-8 on disk; Python decodes other bytes to lone surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(path: str) -> str:
    """Return a path with unprintable characters and undecodable bytes escaped."""
    return "".join(
        character
        if character == " " or character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in path
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder and its entries that are not folders, sorted by name.

    The entries need not be regular files: they may be pipes or broken links.
    """

    folder: str
    files: list[os.DirEntry[str]]


def raise_unreadable(error: OSError) -> None:
    """Raise the error of a folder that cannot be read: the default of :func:`walk`."""
    raise error


def walk(
    tops: Sequence[str | os.PathLike[str]],
    passed_over: Callable[[str, str], None] = lambda _kind, _path: None,
    *,
    above: Iterable[str | os.PathLike[str]] = (),
    unreadable: Callable[[OSError], None] = raise_unreadable,
) -> Iterator[Listing]:
    """Yield a listing of each of the folders ``tops`` and of every folder below them.

    ``passed_over`` is called with a reason and a path for each folder that is not entered (its
    path ends in a slash) and for each broken link whose name has no suffix. Links to the folders
    ``above`` are not followed. Files are not stat'ed where the file system's directory entries
    tell files from folders.

    A folder that cannot be listed is passed to ``unreadable`` as an ``OSError``, which by default
    is raised.
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
        """Record a folder as entered; False if it already was, under any path, or is ``above``."""
        identity = _identity(path)
        if identity in self._entered or (identity in self._above and not is_top):
            return False
        self._entered.add(identity)
        return True

    def _sorted_out(
        self, entries: Iterable[os.DirEntry[str]]
    ) -> tuple[list[os.DirEntry[str]], list[str]]:
        """Split entries into files and folders to enter; links to folders are queued for later."""
        files, folders = [], []
        for entry in entries:
            # Fast path: nearly every entry is a file, which is known without a stat.
            if entry.is_file(follow_symlinks=False):
                files.append(entry)
                continue
            if not is_folder(entry):
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


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one.

    Raises ``OSError`` where a link that may lead to a folder cannot be resolved.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP and "." not in entry.name:
            raise
        return False


def why_not_entered(name: str) -> str | None:
    """Why a folder with this name is not entered; None if it is entered."""
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
    """Device and inode, which identify a folder under any of its paths."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _identities(paths: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[int, int]]:
    for path in paths:
        with suppress(OSError):
            yield _identity(os.fspath(path))
