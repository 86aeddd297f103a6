"""The unfinished file of a shard: locked while it is written, and renamed when it is complete."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from brainbrr_core.cache.shard import SUFFIX
from brainbrr_core.files.atomic import LEFTOVER_S, flush, is_same_file
from brainbrr_core.locking import locked, open_to_lock, server_time

#: Attempts to replace another user's file before the folder counts as not writable.
_REFUSALS = 100
_PARTIAL_NAME = re.compile(rf"\..+{re.escape(SUFFIX)}\.partial")


def partial_path(target: Path) -> Path:
    """The unfinished file that is renamed to the shard ``target`` when it is complete.

    Its lock is the lock of ``target``.
    """
    return target.with_name(f".{target.name}.partial")


def is_partial(name: str) -> bool:
    """Whether a file name is that of an unfinished shard (see :func:`partial_path`)."""
    return _PARTIAL_NAME.fullmatch(name) is not None


@contextmanager
def exclusive_partial(target: Path, *, wait: bool = True) -> Iterator[IO[bytes]]:
    """Open the unfinished file of ``target`` with a lock; wait while another process holds it.

    The file's name follows from the target's. So the next builder takes over what a killed one
    left, even another user's where the folder permits it, and a lock ends with its process. After
    waiting, check again whether ``target`` must be built: the other process may have built it.
    Raises ``BlockingIOError`` if another process holds the lock and ``wait`` is False.
    """
    partial = partial_path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    refused = 0
    while True:
        try:
            descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except PermissionError:
            refused += 1
            if refused > _REFUSALS:
                raise
            _remove_unheld(partial, wait=wait)
            continue
        except FileNotFoundError:
            # A collection of garbage removed the empty folder.
            target.parent.mkdir(parents=True, exist_ok=True)
            continue
        with os.fdopen(descriptor, "r+b") as file, locked(descriptor, partial, wait=wait):
            # Between open and lock the previous holder may have renamed this very file to the
            # finished shard: then it must not be touched.
            if not is_same_file(partial, file):
                continue
            file.truncate(0)
            try:
                yield file
            finally:
                if is_same_file(partial, file):
                    partial.unlink()
            return


def _remove_unheld(partial: Path, *, wait: bool) -> None:
    """Remove the unfinished file of another user's killed builder; wait while that builder lives.

    Raises ``PermissionError`` if the folder does not permit it, or the file cannot be opened.
    """
    try:
        descriptor = open_to_lock(partial)
    except FileNotFoundError:
        return
    except PermissionError:
        # Whether it is locked cannot be known; nothing builds for so long without writing.
        if server_time(partial.parent) - partial.stat().st_mtime < LEFTOVER_S:
            raise
        partial.unlink(missing_ok=True)
        return
    with os.fdopen(descriptor, "rb") as file, locked(descriptor, partial, wait=wait):
        if is_same_file(partial, file):
            partial.unlink()


def commit_shard(target: Path, *, flush_folder: bool = True) -> None:
    """Rename a complete unfinished file to ``target``, which so appears whole or not at all.

    Without ``flush_folder``, a power failure may lose the new name; the caller then flushes the
    folder later.
    """
    partial_path(target).rename(target)
    if flush_folder:
        flush(target.parent)
