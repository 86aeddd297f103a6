"""The cache root: its files and folders, and the records of what was built.

A version is a folder with the full name of a version *and* files that the store wrote into it.
Everything else in the root belongs to somebody else and is never touched.

``records.jsonl`` of a version documents what was built when, from what, and in how long. It also
saves time: if a shard's size, mtime and inode are those of its record, its fingerprint is known
without opening it. A shard that differs from its record, or has none, is read.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO

from brainbrr_core.cache.records import BuildRecord, Records
from brainbrr_core.cache.shard import SUFFIX, DamagedShard, Shard, UnreadableShard, verify_shard
from brainbrr_core.cache.version import is_imported, is_version_name, preprocessing_version
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.corpus.hash_memo import INDEX_HASHES
from brainbrr_core.corpus.index_file import index_path
from brainbrr_core.corpus.spool import is_spool
from brainbrr_core.errors import BrainbrrError, not_writable
from brainbrr_core.files.atomic import append_line, is_same_file, target_name
from brainbrr_core.files.state import FileState, file_state
from brainbrr_core.locking import locked
from brainbrr_core.machine.filesystem import real_path

#: Files and folders of a version, in addition to its shards.
MARKER = "brainbrr-version.json"
RECORDS = "records.jsonl"
RUNS = "runs.jsonl"
MANIFESTS = "manifests"
LEASES = ".leases"
#: What the store has in the root, in addition to its versions: the link to the newest complete
#: version, shards that failed verification, and the mirror of a corpus behind a URL.
LATEST, QUARANTINE, REMOTE = "latest", "quarantine", "remote"
#: Shards of a folder without a marker that are read to recognize it as a version.
_LOOKS = 16
#: Temporary files in the root, which killed processes leave behind.
_PASSING = re.compile(r"\.writable(-[0-9a-f]+)?|\.(clock|speed)-[0-9a-f]{16}")
_LOCK = re.compile(r"\.(?P<name>.+)\.lock(\.claim)?")
_REMOVED = re.compile(r"\.removed-(?P<version>.+)-[0-9a-f]{16}")


@dataclass(frozen=True)
class Store:
    """One preprocessing version in a cache root.

    Parameters
    ----------
    root : Path
        The cache root.
    version : str
        Name of the version, such as ``"v2_256hz_10-20_89f91765f0ac"``.
    """

    root: Path
    version: str

    @classmethod
    def of(cls, configuration: Configuration) -> Store:
        """The store that a configuration names.

        Raises :class:`BrainbrrError` for a version that is neither derived nor imported.
        """
        derived = cls.derived(configuration.cache_root, configuration.preprocessing)
        version = configuration.version or derived.version
        if version != derived.version and not is_imported(version):
            raise BrainbrrError(
                f"version {version} is neither imported nor that of the configuration, "
                f"{derived.version}: leave --cache-version out, or change the preprocessing section"
            )
        return cls(configuration.cache_root, version)

    @classmethod
    def derived(cls, cache_root: Path, preprocessing: Preprocessing) -> Store:
        """The store of the version that is built with these preprocessing settings."""
        return cls(cache_root, preprocessing_version(preprocessing))

    @property
    def folder(self) -> Path:
        """Folder of this version's shards."""
        return self.root / self.version

    @property
    def quarantine(self) -> Path:
        """Folder of this version's shards that failed verification, which need not exist."""
        return self.root / QUARANTINE / self.version

    @property
    def marker(self) -> Path:
        """The file that marks the folder as a version; its mtime is the time of the last use."""
        return self.folder / MARKER

    def shard_path(self, partition_key: str) -> Path:
        """Path of the shard of a recording, which need not exist."""
        return self.folder / f"{partition_key}{SUFFIX}"

    def has_whole_shard(self, partition_key: str, fingerprint: str) -> bool:
        """Whether a recording's shard is stored with this fingerprint and every byte is as written.

        Raises :class:`UnreadableShard` if the shard cannot be read.
        """
        try:
            verify_shard(self.shard_path(partition_key), partition_key, fingerprint)
        except (FileNotFoundError, DamagedShard):
            return False
        return True

    def shard_keys(self) -> set[str]:
        """Partition keys of all shards in this version's folder.

        Raises :class:`UnreadableShard` if a folder cannot be listed.
        """
        start = len(str(self.folder)) + 1
        keys = set()
        folders = [str(self.folder)]
        while folders:
            folder = folders.pop()
            try:
                # Not os.walk: that asks for the state of every folder, to know whether it is a
                # link. No file is asked for its state where the folder says what it is.
                for entry in _listed(folder):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                        continue
                    name = entry.name
                    if (
                        name.endswith(SUFFIX)
                        and name[0] != "."
                        and not (entry.is_symlink() and _is_folder(entry))
                    ):
                        keys.add(entry.path[start : -len(SUFFIX)])
            except OSError as error:
                raise UnreadableShard(Path(folder), error) from None
        return keys

    def create(self) -> None:
        """Create the folder of the version and its marker, if they are missing.

        Everything that writes to the store begins here. Raises :class:`BrainbrrError` if they
        cannot be created.
        """
        try:
            with self.exclusive():
                pass
        except OSError as error:
            raise not_writable(f"the version {self.folder}", self.root, error) from None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock of the version, for the moment in which a use of it begins or ends.

        Creates the folder and the marker if they are missing. Raises ``OSError`` if the folder is
        not writable.
        """
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                file = self._open_marker()
            except FileNotFoundError:
                continue
            with file, locked(file.fileno(), self.marker):
                # Another process may have removed the version meanwhile.
                if not is_same_file(self.marker, file):
                    continue
                if not self._is_marker(file.read()):
                    file.truncate(0)
                    text = {"version": self.version, "made_at": _now()}
                    file.write(json.dumps(text).encode() + b"\n")
                    file.flush()
                    # Whoever may write to the folder may take its lock, whatever the umask is.
                    with suppress(OSError):  # FAT and CIFS have no modes.
                        mode = stat.S_IMODE(self.folder.stat().st_mode)
                        os.fchmod(file.fileno(), mode & 0o666)
                yield
                return

    def _open_marker(self) -> IO[bytes]:
        try:
            file: IO[bytes] = self.marker.open("a+b")
        except PermissionError:
            if not self.marker.exists():
                # It cannot be created: trying again would never end.
                raise
            # Another user's marker can be locked as well; nothing need be written to it.
            return self.marker.open("rb")
        file.seek(0)
        return file

    def _is_marker(self, content: bytes) -> bool:
        try:
            values = json.loads(content)
        except ValueError:
            return False
        return isinstance(values, dict) and values.get("version") == self.version

    def is_here(self) -> bool:
        """Whether the folder is a version of the store, by its name and by its content.

        A version from before there were markers is recognized by a record or a shard in it.
        """
        if not is_version_name(self.version) or self.folder.is_symlink():
            return False
        try:
            if self._is_marker(self.marker.read_bytes()):
                return True
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return bool(self.read_records()) or self._has_own_shard()

    def _has_own_shard(self) -> bool:
        for key in islice(sorted(self.shard_keys()), _LOOKS):
            with suppress(DamagedShard, UnreadableShard, FileNotFoundError):
                if Shard(self.shard_path(key)).header.partition_key == key:
                    return True
        return False

    def last_use(self) -> float:
        """When a use of the version last began or ended, in seconds since the epoch."""
        for path in (self.marker, self.folder / RECORDS, self.folder):
            with suppress(OSError):
                return path.stat().st_mtime
        return 0.0

    def other_versions(self) -> list[Store]:
        """Other preprocessing versions below the same root."""
        return [
            other
            for name in _names(self.root)
            if name != self.version and is_version_name(name)
            for other in [Store(self.root, name)]
            if other.is_here()
        ]

    def foreign(self) -> list[Path]:
        """Files and folders in the root that brainbrr did not write; they are never touched."""
        own = {self.version, *(other.version for other in self.other_versions())}
        return [self.root / name for name in _names(self.root) if not self._is_own(name, own)]

    def _is_own(self, name: str, versions: set[str]) -> bool:
        locked_name = lock_of(name)
        if locked_name is not None:
            return self._is_own(locked_name, versions)
        path = self.root / name
        if name == LATEST or name.startswith(".latest-"):
            return path.is_symlink()
        if path.is_symlink():
            return name == index_path(self.root).name
        if name in versions or name in (QUARANTINE, REMOTE):
            return path.is_dir()
        if is_spool(path):
            return True
        replaceable = {index_path(self.root).name, *versions}
        return (
            name in (index_path(self.root).name, INDEX_HASHES)
            or _PASSING.fullmatch(name) is not None
            or self.removed_version(path) is not None
            or target_name(path) in replaceable
        )

    @staticmethod
    def removed_version(path: Path) -> str | None:
        """The version that this folder was renamed from for its removal; None for other folders."""
        match = _REMOVED.fullmatch(path.name)
        return match["version"] if match and is_version_name(match["version"]) else None

    def records(self) -> Mapping[str, BuildRecord]:
        """The newest build record of each partition, by partition key."""
        return self.read_records().all_newest()

    def read_records(self) -> Records:
        """All build records of the version at this moment."""
        path = self.folder / RECORDS
        try:
            state = file_state(path)
        except FileNotFoundError:
            return Records()
        if _newest.get(path, (None,))[0] != state:
            records = Records.read(path)
            _newest.clear()
            _newest[path] = (state, records)
        return _newest[path][1]

    def append_record(self, record: BuildRecord) -> None:
        """Append one record; records of concurrent builders do not mix."""
        self.append_records([record])

    def append_records(self, records: Iterable[BuildRecord]) -> None:
        """Append records; records of concurrent builders do not mix."""
        append_line(self.folder / RECORDS, "\n".join(record.as_line() for record in records))

    def note_run(self, directory: Path) -> None:
        """Record in the version that a run is trained on it, wherever the run's folder is.

        If the version is not writable, only runs of the runs folder count as its users.
        """
        line = json.dumps({"run": str(real_path(directory)), "host": platform.node()})
        with suppress(OSError):
            if line not in self._run_lines():
                append_line(self.folder / RUNS, line)

    def noted_runs(self) -> list[str]:
        """Folders of runs trained on this version: existing ones, and all of other hosts."""
        runs = []
        for line in self._run_lines():
            try:
                values = json.loads(line)
                run, host = str(values["run"]), str(values["host"])
            except (ValueError, TypeError, KeyError):
                continue
            if Path(run).is_dir():
                runs.append(run)
            elif host != platform.node():
                runs.append(f"{run} on {host}")
        return runs

    def _run_lines(self) -> list[str]:
        try:
            return (self.folder / RUNS).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def check_writable(self) -> None:
        """Raise :class:`BrainbrrError` if the root is not writable."""
        # A unique name, so that no other process removes it first.
        probe = self.root / f".writable-{secrets.token_hex(8)}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            raise not_writable(f"the cache root {self.root}", self.root, error) from None


#: The records that were read last, as long as their file stays the same.
_newest: dict[Path, tuple[FileState, Records]] = {}


def _names(root: Path) -> list[str]:
    try:
        return sorted(path.name for path in root.iterdir())
    except FileNotFoundError:
        return []


def _listed(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder. Raises :class:`UnreadableShard` if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        # A folder that was removed meanwhile is empty.
        return []
    except OSError as error:
        raise UnreadableShard(Path(folder), error) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def lock_of(name: str) -> str | None:
    """The name of the file that a lock file of this name protects; None for other names."""
    match = _LOCK.fullmatch(name)
    return match["name"] if match else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def folder_bytes(folder: Path) -> int:
    """Bytes of the shards below a folder; no link is followed."""
    total = 0
    for subfolder, _, names in os.walk(folder):
        for name in names:
            if name.endswith(SUFFIX):
                with suppress(FileNotFoundError):
                    total += Path(subfolder, name).lstat().st_size
    return total
