"""Errors that a user can mend: one line that says what, where and how."""

from __future__ import annotations

from pathlib import Path


class BrainbrrError(Exception):
    """A mistake a user can mend.

    The message is one line: what is wrong, where, and the command or edit that mends it.
    The command line prints it without a traceback and exits with ``exit_status``.
    """

    exit_status = 2


class WorkRemains(BrainbrrError):
    """The request was sound, but something needs doing first or failed: exit status 1."""

    exit_status = 1


def not_writable(what: str, cache_root: Path, error: OSError) -> BrainbrrError:
    """What to raise where something below a cache root cannot be written."""
    return BrainbrrError(
        f"{what} is not writable ({error.strerror or error}): make {cache_root} writable, or set "
        "BRAINBRR_CACHE_ROOT to a folder that is"
    )
