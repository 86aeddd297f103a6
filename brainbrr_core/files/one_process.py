"""Work in a folder that only one process may do at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import IO

from brainbrr_core.errors import BrainbrrError, cannot_write
from brainbrr_core.files.atomic import is_same_file
from brainbrr_core.locking import locked
from brainbrr_core.machine.filesystem import real_path


@contextmanager
def one_process(lock: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of a file while the block runs, as only one process can.

    The file and its folder are created where they are missing, and removed at the end, the folder
    only where the block has left it empty; the file of a killed process is taken over. Raises
    :class:`BrainbrrError` with the text ``refusal`` where another process holds the lock, and
    ``OSError`` where the file cannot be created.
    """
    missing = list(takewhile(lambda folder: not folder.exists(), lock.parents))
    with ExitStack() as stack:
        stack.callback(_remove_empty, missing)
        file = _take(lock, refusal, stack)
        try:
            yield
        finally:
            # Where somebody removed the file, another process may have one of the same name.
            if is_same_file(lock, file):
                lock.unlink(missing_ok=True)


def _remove_empty(folders: Iterable[Path]) -> None:
    """Remove these folders, each of which is in the next, up to the first that has files."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def only_writer(out: Path, refusal: str) -> Iterator[None]:
    """Hold a lock while the block writes to ``out``, as :func:`one_process` does.

    The lock is the file ``.NAME.lock`` beside ``out``, whose folder is created where it is missing,
    or in ``out`` where only that is writable. Raises :class:`BrainbrrError` where neither is.
    """
    # ``.`` has no name.
    target = real_path(out)
    name = f".{target.name}.lock"
    with ExitStack() as lock:
        try:
            try:
                lock.enter_context(one_process(target.parent / name, refusal))
            except OSError:
                if not target.is_dir():
                    raise
                lock.enter_context(one_process(target / name, refusal))
        except OSError as error:
            raise cannot_write(out, error) from None
        yield


def _take(lock: Path, refusal: str, stack: ExitStack) -> IO[bytes]:
    """Lock a file until ``stack`` is closed, and return it."""
    while True:
        with ExitStack() as attempt:
            lock.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            except FileNotFoundError:
                # Another process that ended has removed the folder.
                continue
            file = attempt.enter_context(os.fdopen(descriptor, "r+b"))
            try:
                attempt.enter_context(locked(descriptor, lock, wait=False))
            except BlockingIOError:
                raise BrainbrrError(refusal) from None
            # Between open and lock, the holder before may have removed this very file.
            if is_same_file(lock, file):
                stack.enter_context(attempt.pop_all())
                return file
