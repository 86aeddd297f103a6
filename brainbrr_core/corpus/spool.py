"""Remote EDFs for a build: downloaded one by one, hashed, and removed again."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from brainbrr_core.corpus.hash_memo import remember
from brainbrr_core.corpus.mirror import remote_state
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import WorkRemains
from brainbrr_core.files.state import EdfHasher, file_state
from brainbrr_core.locking import locked
from brainbrr_core.remote.connect import open_remote

#: Bytes of one request; only a failed request is repeated.
_PIECE = 8 << 20
#: EDFs that are downloaded in advance of those being built.
AHEAD = 4


#: Prefix of the folders of downloaded EDFs, and the file that marks each.
_PREFIX, _MARKER = ".spool-", "brainbrr-spool"
_SPOOL = re.compile(r"\.spool-[a-z0-9_]{8}")


class Spool:
    """A temporary folder in the cache root for the remote EDFs that a process builds."""

    def __init__(self, cache_root: Path) -> None:
        self._cache_root = cache_root
        self._closed = False
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=cache_root))
        self._lock = ExitStack()
        descriptor = os.open(self.folder, os.O_RDONLY)
        self._lock.callback(os.close, descriptor)
        self._lock.enter_context(locked(descriptor, self.folder))
        # Locked before it is marked, so that no other process sweeps it.
        (self.folder / _MARKER).touch()

    def close(self) -> None:
        """Remove the folder; a running download ends with its next request."""
        self._closed = True
        # A download may still recreate a file; the next build removes it.
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    @contextmanager
    def fetched(self, recording: Recording) -> Iterator[Recording]:
        """The recording with its EDF on this machine and the EDF's hash.

        Raises :class:`WorkRemains` when the object changed since it was indexed, and
        :class:`BrainbrrError` when the remote fails.
        """
        address, name = address_and_name(recording)
        remote = open_remote(address)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            path = folder / recording.file_name
            hasher = EdfHasher()
            size = recording.state.size
            with path.open("wb") as file:
                for start in range(0, size, _PIECE):
                    if self._closed:
                        raise WorkRemains("the build was stopped")
                    piece = remote.read(name, start, min(start + _PIECE, size))
                    hasher.update(piece)
                    file.write(piece)
            now = remote.states(name).get(name)
            if now is None or remote_state(now) != recording.state or path.stat().st_size != size:
                raise WorkRemains(
                    "the object changed since it was indexed: run `brainbrr index` and build"
                )
            hashes = hasher.hashes()
            remember(self._cache_root, recording, hashes)
            yield replace(
                recording,
                path=str(path),
                content_hash=hashes.content,
                data_hash=hashes.data,
                state=file_state(path),
            )
        except FileNotFoundError:
            raise WorkRemains(
                "the object is gone since it was indexed: run `brainbrr index` and build"
            ) from None
        finally:
            shutil.rmtree(folder, ignore_errors=self._closed)


def address_and_name(recording: Recording) -> tuple[str, str]:
    """The address of the corpus of a remote recording, and the name of its object there.

    In an address ``#``, ``?`` and ``%`` have a meaning; the name of an object may have any of them.
    """
    # The key of one of several corpora begins with the name of its corpus.
    keys = (recording.partition_key, recording.partition_key.partition("/")[2])
    for key in filter(None, keys):
        before, found, suffix = recording.path.rpartition(f"/{key}")
        if found and "://" in before and "/" not in suffix:
            return before, key + suffix
    address, _, name = recording.path.rpartition("/")
    return address, name


def is_spool(path: Path) -> bool:
    """Whether this is a folder of downloaded EDFs, of a running process or not."""
    if _SPOOL.fullmatch(path.name) is None or path.is_symlink():
        return False
    try:
        return (path / _MARKER).is_file()
    except PermissionError:
        # It belongs to another user.
        return True


def sweep(cache_root: Path) -> None:
    """Remove spools whose process has ended, except those of other users."""
    for folder in sorted(cache_root.glob(f"{_PREFIX}*")):
        try:
            if is_spool(folder):
                _remove_unlocked(folder)
        except (BlockingIOError, FileNotFoundError, PermissionError):
            continue


def _remove_unlocked(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with locked(descriptor, folder, wait=False):
            shutil.rmtree(folder)
    finally:
        os.close(descriptor)
