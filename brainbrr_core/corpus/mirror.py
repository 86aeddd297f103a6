"""A corpus behind a URL: a local mirror of its annotations, and EDFs read in ranges.

The mirror, below the cache root, has every annotation and table. EDFs, and other files that are
reported as not read, are empty files in it, so that a layout walks it like any folder. The index
reads the header and some data records of an EDF over the network. The whole EDF is downloaded, and
its hash computed, when its shard is built.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.corpus.hash_memo import known_hashes
from brainbrr_core.corpus.skipped import is_worth_naming
from brainbrr_core.edf.formats import NATIVE, format_of, is_native
from brainbrr_core.edf.source import Digital, EdfBytes, from_24_bits
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.state import FileState, Hashes
from brainbrr_core.machine.filesystem import real_path
from brainbrr_core.machine.pools import thread_pool
from brainbrr_core.progress import progress
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.remote.interface import ObjectState, Remote

#: Ends of the names of files that describe an EDF, and the start of another kind of them; in lower
#: case.
_COMPANIONS = (
    ".csv",
    ".csv_bi",
    ".tse",
    ".tse_bi",
    ".lbl",
    ".lbl_bi",
    ".tsv",
    "-summary.txt",
    "records-with-seizures",
    "aareadme.txt",
    "_eeg.json",
)
_SEIZURE_LIST = ("seizures-list-", ".txt")
#: Concurrent requests.
REQUESTS = 32
#: Bytes of an EDF that the first request reads: the header and usually the first data record.
_FIRST_BYTES = 1 << 16
_LARGEST_COMPANION = 1 << 26


class RemoteEdf:
    """An EDF behind a URL; reading beyond its first bytes is one request each."""

    def __init__(self, remote: Remote, name: str, size: int) -> None:
        self._remote, self._object, self._size = remote, name, size

    @property
    def name(self) -> str:
        """File name of the object."""
        return self._object.rpartition("/")[2]

    def size(self) -> int:
        """Size of the object in bytes."""
        return self._size

    @cached_property
    def _first(self) -> bytes:
        if not self._size:
            # An empty object is not requested.
            return b""
        return self._remote.read(self._object, 0, min(_FIRST_BYTES, self._size))

    def head(self, count: int) -> bytes:
        """The first ``count`` bytes, fewer where the object is shorter."""
        return self._read(0, count)

    def samples(self, offset: int, count: int, sample_bytes: int = 2) -> NDArray[Digital]:
        """``count`` numbers from byte ``offset`` of the object."""
        content = self._read(offset, offset + sample_bytes * count)
        if sample_bytes == 3:
            return from_24_bits(np.frombuffer(content, np.uint8))
        return np.frombuffer(content, np.dtype("<i2"), len(content) // 2)

    def _read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self._size)
        if stop <= len(self._first):
            return self._first[start:stop]
        return self._remote.read(self._object, start, stop)


class MirroredFiles:
    """The files of a corpus at ``url``, for :func:`brainbrr_core.corpus.index.scan`.

    Opening it lists the corpus and downloads annotations that changed. Raises
    :class:`BrainbrrError` when the URL cannot be used or read.
    """

    def __init__(self, url: str, cache_root: Path) -> None:
        self._remote = open_remote(url)
        self.url = self._remote.address
        folder = hashlib.sha256(self.url.encode()).hexdigest()[:12]
        self._folder = cache_root / "remote" / folder
        self._hashes = known_hashes(cache_root)
        self._objects = {
            name: state
            for name, state in self._remote.states("").items()
            if is_native(name) or _is_companion(name) or is_worth_naming(_file_name(name))
        }
        if not any(map(is_native, self._objects)):
            others = {own.name for name in self._objects if (own := format_of(name)) is not None}
            if others:
                raise BrainbrrError(
                    f"the recordings at {self.url} are in {' and '.join(sorted(others))}, and "
                    "behind a URL only EDF and BDF are read: copy the corpus to this machine and "
                    "give its folder"
                )
            raise BrainbrrError(
                f"no .edf or .bdf object at {self.url}: set BRAINBRR_DATA_DIR to the address of "
                "the corpus"
            )
        untagged = next(
            (name for name, state in self._objects.items() if not state.tag and _is_read(name)),
            None,
        )
        if untagged is not None:
            raise BrainbrrError(
                f"{self.url} gives no ETag or time of {untagged}, so a change would not be "
                "noticed: copy the corpus to a store that does"
            )
        self._update()

    @property
    def formats(self) -> frozenset[str]:
        """EDF and BDF: other formats are read from files, not from objects."""
        return NATIVE

    @property
    def root(self) -> Path:
        """Folder of the mirror."""
        return self._folder / "files"

    def state(self, path: Path | str) -> FileState:
        """Size of the object, and a number derived from its tag."""
        state = self._objects.get(self._name(path))
        if state is None:
            raise FileNotFoundError(path)
        return remote_state(state)

    def hashes(self, path: Path, _parts: Sequence[Path] = ()) -> Hashes:
        """The hashes, if the EDF was downloaded in its present state."""
        return self._hashes.get((self.address(path), self.state(path)), Hashes())

    def object_tag(self, path: Path | str) -> str:
        """Size and tag, where the tag identifies the content."""
        state = self._objects.get(self._name(path))
        return f"{state.size}-{state.tag}" if state is not None and state.tells_content else ""

    def edf(self, path: Path) -> EdfBytes:
        """The EDF, for reading."""
        name = self._name(path)
        return RemoteEdf(self._remote, name, self._objects[name].size)

    def address(self, path: Path | str) -> str:
        """URL of the object."""
        return self.url if str(path) == str(self.root) else f"{self.url}/{self._name(path)}"

    @property
    def concurrent_reads(self) -> int:
        """How many files to read concurrently."""
        return REQUESTS

    @property
    def concurrent_states(self) -> int:
        """One: all states are in the listing."""
        return 1

    @property
    def hashed(self) -> int:
        """Zero: a remote EDF is hashed when its shard is built."""
        return 0

    def _name(self, path: Path | str) -> str:
        return Path(path).relative_to(self.root).as_posix()

    def _update(self) -> None:
        """Update the mirror to the listing."""
        mirrored = self._mirrored()
        wanted = {name: [state.size, state.tag] for name, state in self._objects.items()}
        for name in sorted(mirrored.keys() - wanted.keys()):
            (self.root / name).unlink(missing_ok=True)
        changed = [name for name in sorted(wanted) if mirrored.get(name) != wanted[name]]
        for name in changed:
            if not _is_companion(name):
                self._path(name).touch()
        companions = [name for name in changed if _is_companion(name)]
        if companions:
            with (
                thread_pool(REQUESTS) as pool,
                progress("annotations", len(companions), "files") as bar,
            ):
                for _ in pool.map(self._fetch, companions):
                    bar.advance()
        if changed or mirrored.keys() - wanted.keys():
            with replacing(self._folder / "objects.json") as temporary:
                temporary.write_text(json.dumps(wanted), encoding="utf-8")

    def _mirrored(self) -> dict[str, list[object]]:
        """Files of the mirror and the states they have; empty where that is unknown."""
        try:
            text = (self._folder / "objects.json").read_text(encoding="utf-8")
            mirrored: dict[str, list[object]] = json.loads(text)
        except (OSError, ValueError):
            return {}
        return {name: state for name, state in mirrored.items() if (self.root / name).is_file()}

    def _path(self, name: str) -> Path:
        path = self.root / name
        if not real_path(path).is_relative_to(real_path(self.root)):
            raise BrainbrrError(
                f"{self.url} has an object whose name is outside of it: {name!r}: remove it"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _fetch(self, name: str) -> None:
        size = self._objects[name].size
        if size > _LARGEST_COMPANION:
            raise BrainbrrError(
                f"{self.url}/{name} has {size} bytes, too many for an annotation: remove it"
            )
        try:
            content = self._remote.read(name, 0, size)
        except FileNotFoundError:
            raise BrainbrrError(
                f"{self.url}/{name} vanished while the corpus was listed: run the command again"
            ) from None
        if len(content) != size:
            # Cut between two lines, a table looks whole.
            raise BrainbrrError(
                f"{self.url}/{name} changed while the corpus was listed: run the command again"
            )
        with replacing(self._path(name)) as temporary:
            temporary.write_bytes(content)


def remote_state(state: ObjectState) -> FileState:
    """The state of an object as that of a file, with a hash of its tag as the time."""
    mark = hashlib.sha256(state.tag.encode()).digest()[:8]
    return FileState(state.size, int.from_bytes(mark, "big") >> 1, 0)


def _is_read(name: str) -> bool:
    return is_native(name) or _is_companion(name)


def _is_companion(name: str) -> bool:
    start, end = _SEIZURE_LIST
    lower = name.lower()
    return lower.endswith(_COMPANIONS) or (
        _file_name(lower).startswith(start) and lower.endswith(end)
    )


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]
