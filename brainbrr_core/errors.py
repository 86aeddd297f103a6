"""Errors that a user can fix: one line that says what is wrong, where, and how to fix it."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class BrainbrrError(Exception):
    """A mistake that a user can fix.

    The message is one line: what is wrong, where, and the command or edit that fixes it.
    The command line prints it without a traceback and exits with ``exit_status``.
    """

    exit_status = 2


class WorkRemains(BrainbrrError):
    """The request was sound, but something needs doing first or failed: exit status 1."""

    exit_status = 1


class OutOfMemory(WorkRemains):
    """Memory ran out while a recording was read, which says nothing about the recording."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(
            f"{path}: memory ran out while it was read, which says nothing about the file: end "
            "other programs or use a machine with more memory, then run the same command again"
        )


def not_writable(what: str, cache_root: Path, error: OSError) -> BrainbrrError:
    """The error to raise if something below a cache root cannot be written."""
    return BrainbrrError(
        f"{what} is not writable ({error.strerror or error}): make {cache_root} writable, or set "
        "BRAINBRR_CACHE_ROOT to a folder that is"
    )


#: What a system says where a disk is full, or a user has used all that is theirs of it.
_FULL = {errno.ENOSPC, errno.EDQUOT}


def is_full(error: OSError) -> bool:
    """Whether something could not be written for want of space."""
    return error.errno in _FULL


def cannot_write(path: str | Path, error: OSError) -> BrainbrrError:
    """The error to raise where a file or folder that a user named cannot be written."""
    # Libraries have texts of their own.
    reason = str(error) if error.errno is None else os.strerror(error.errno)
    if is_full(error):
        return WorkRemains(
            f"{path} cannot be written ({reason}): free some space, then run the same command again"
        )
    if isinstance(error, FileExistsError | NotADirectoryError):
        at = f" at {error.filename}" if error.filename else ""
        return BrainbrrError(
            f"{path} cannot be written: there is a file, or a link to nothing{at}, where a folder "
            "is needed: name another folder, or remove it"
        )
    return BrainbrrError(
        f"{path} cannot be written ({reason}): make its folder writable, or name another"
    )


def cannot_read(path: str | Path, error: OSError) -> BrainbrrError:
    """The error to raise where a file that a user named cannot be read."""
    return BrainbrrError(
        f"{path} cannot be read ({error.strerror or error}): correct the path, or make it readable"
    )


def cannot_use(error: OSError) -> BrainbrrError:
    """The error to report for one of the system that nothing has explained."""
    if is_full(error):
        return cannot_write(error.filename or "a file", error)
    if error.filename is None or error.errno is None:
        return BrainbrrError(str(error))
    return BrainbrrError(
        f"{error.filename} cannot be used ({os.strerror(error.errno)}): check the path and its "
        "permissions"
    )


#: What a system says when the process or the machine is out of something, whatever the file is.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def is_exhausted(error: OSError) -> bool:
    """Whether a file could not be read for want of open files or memory: it may well be whole."""
    return error.errno in _EXHAUSTED


def check_exhausted(path: str, error: OSError) -> None:
    """Raise :class:`BrainbrrError` where nothing can be concluded about a file from an error."""
    if is_exhausted(error):
        raise BrainbrrError(
            f"{path} could not be read ({error.strerror}), which says nothing about the file: "
            "raise the limit of open files or of memory (`ulimit -a`), then run the same command "
            "again"
        ) from None
