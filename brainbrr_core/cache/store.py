"""The cache root: where things lie in it, and what was built there.

``records.jsonl`` of a version is both the audit (what was built when, from what, in how long)
and a memo: a shard whose size, mtime and inode are as recorded need not be opened to know its
fingerprint. It is never trusted over the file: a shard that differs, or has no record, is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from brainbrr_core.atomic import append_line
from brainbrr_core.cache.version import is_imported, preprocessing_version
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.memory import no_collection

RECORDS = "records.jsonl"
MANIFESTS = "manifests"


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """One line of ``records.jsonl``; ``state`` is (size, mtime in ns, inode) of the shard."""

    partition_key: str
    fingerprint: str
    source_hash: str
    state: tuple[int, int, int]
    built_at: str
    seconds: float
    program: str


@dataclass(frozen=True)
class Store:
    """One preprocessing version of one cache root."""

    root: Path
    version: str

    @classmethod
    def of(cls, configuration: Configuration) -> Store:
        """The store that a configuration names.

        Raises :class:`BrainbrrError` for a version that is neither the derived one nor there.
        """
        derived = cls.derived(configuration)
        version = configuration.version or derived.version
        if version != derived.version and not is_imported(version):
            raise BrainbrrError(
                f"version {version} is neither imported nor that of the configuration, "
                f"{derived.version}: leave --version out, or change the preprocessing section"
            )
        return cls(configuration.cache_root, version)

    @classmethod
    def derived(cls, configuration: Configuration) -> Store:
        """The store of the version that the configuration's signal chain builds."""
        return cls(configuration.cache_root, preprocessing_version(configuration.preprocessing))

    @property
    def folder(self) -> Path:
        """Where this version's shards lie."""
        return self.root / self.version

    def shard_path(self, partition_key: str) -> Path:
        """Where the shard of a recording lies."""
        return self.folder / f"{partition_key}.arrow"

    def shard_keys(self) -> set[str]:
        """Partition keys of every shard that lies in this version's folder."""
        start, suffix = len(str(self.folder)) + 1, ".arrow"
        return {
            f"{place}/{name}"[start : -len(suffix)]
            for place, _, names in os.walk(self.folder)
            for name in names
            if name.endswith(suffix) and not name.startswith(".")
        }

    def other_versions(self) -> list[Store]:
        """Other preprocessing versions below the same root."""
        if not self.root.is_dir():
            return []
        return [
            Store(self.root, path.name)
            for path in sorted(self.root.iterdir())
            if path.is_dir()
            and not path.is_symlink()
            and path.name != self.version
            and path.name.startswith("v")
        ]

    def records(self) -> Mapping[str, BuildRecord]:
        """The newest record of each partition; a line cut short by a crash is passed over."""
        path = self.folder / RECORDS
        try:
            state = shard_state(path)
        except FileNotFoundError:
            return {}
        if _newest.get(path, (None,))[0] != state:
            records = _read_records(path)
            _newest.clear()
            _newest[path] = (state, records)
        return _newest[path][1]

    def append_record(self, record: BuildRecord) -> None:
        """Add one record, whole even when several builders write."""
        append_line(self.folder / RECORDS, json.dumps(asdict(record), sort_keys=True))

    def check_writable(self) -> None:
        """Raise :class:`BrainbrrError` when nothing can be written below the root."""
        probe = self.root / ".writable"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise BrainbrrError(
                f"the cache root {self.root} is not writable ({error.strerror}): set "
                "BRAINBRR_CACHE_ROOT to a folder that is"
            ) from None


#: The records that were read last, as long as their file stays the same.
_newest: dict[Path, tuple[tuple[int, int, int], dict[str, BuildRecord]]] = {}


def _read_records(path: Path) -> dict[str, BuildRecord]:
    records: dict[str, BuildRecord] = {}
    with no_collection():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                values = json.loads(line)
                values["state"] = tuple(values["state"])
                record = BuildRecord(**values)
            except (ValueError, TypeError, KeyError):
                continue
            records[record.partition_key] = record
    return records


def shard_state(path: Path) -> tuple[int, int, int]:
    """Size, mtime in ns and inode of a shard. Raises ``FileNotFoundError``."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
