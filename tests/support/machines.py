"""Machines that share a cache through an object store, for the tests of transfers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from blake3 import blake3

from brainbrr_core.annotation import Event
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.shard import BLOCK_SAMPLES, ShardHeader, write_shard
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.unfinished import commit_shard, exclusive_partial
from brainbrr_core.cache.version import FORMAT_VERSION, chain_parameters, shard_fingerprint
from brainbrr_core.configuration import Configuration
from brainbrr_core.configuration.settings import Selection
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index, write_index
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.files.state import FileState
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.remote.interface import Remote
from brainbrr_core.remote.s3 import s3_files
from brainbrr_core.transfer.archive import export_archive, import_archive
from brainbrr_core.transfer.parallel import TRANSFERS
from brainbrr_core.transfer.pull import pull
from brainbrr_core.transfer.push import push
from brainbrr_core.transfer.receive import Transfer
from tests.support.object_store import BUCKET

URL = f"s3://{BUCKET}/brainbrr"


def empty_bucket() -> None:
    """Create the bucket, or empty it."""
    files = s3_files()
    if files.exists(BUCKET):
        files.rm(BUCKET, recursive=True)
    files.mkdir(BUCKET)


def machine(settings: Configuration, folder: Path) -> Configuration:
    """The same settings for a machine without EDFs, with its cache and runs in a folder."""
    return settings.model_copy(
        update={"cache_root": folder / "cache", "data_dir": None, "runs_dir": folder / "runs"}
    )


def with_recordings(settings: Configuration, recordings: int) -> Configuration:
    """The same settings for a profile of so many recordings."""
    return settings.model_copy(
        update={"profile": f"first{recordings}", "selection": Selection(recordings=recordings)}
    )


def quiet(_line: str) -> None:
    """A log that shows nothing."""


def push_to(
    settings: Configuration,
    remote: str | Remote = URL,
    *,
    transfers: int = TRANSFERS,
    force: bool = False,
    repair: bool = False,
    log: Callable[[str], None] = quiet,
) -> Transfer:
    """Push the profile of a machine to a remote location."""
    opened = open_remote(remote) if isinstance(remote, str) else remote
    cache = ProfileCache.of(settings)
    return push(cache, opened, transfers=transfers, force=force, repair=repair, log=log)


def pull_from(
    settings: Configuration,
    remote: str | Remote = URL,
    *,
    transfers: int = TRANSFERS,
    force: bool = False,
    log: Callable[[str], None] = quiet,
) -> Transfer:
    """Pull the profile of a machine from a remote location."""
    opened = open_remote(remote) if isinstance(remote, str) else remote
    return pull(ProfileCache.of(settings), opened, transfers=transfers, force=force, log=log)


def export_to(settings: Configuration, path: Path) -> Transfer:
    """Export the profile of a machine to an archive."""
    return export_archive(ProfileCache.of(settings), path)


def import_from(settings: Configuration, path: Path) -> Transfer:
    """Import the profile of a machine from an archive."""
    return import_archive(ProfileCache.of(settings), path, log=quiet)


def stored_shards(settings: Configuration) -> dict[str, bytes]:
    """The bytes of every shard of a machine, by partition key."""
    store = Store.of(settings)
    return {key: store.shard_path(key).read_bytes() for key in sorted(store.shard_keys())}


def portable_rows(settings: Configuration) -> list[tuple[object, ...]]:
    """The rows of a machine's index without paths, times and inodes."""
    return [
        (r.partition_key, r.content_hash, r.events, r.samples, r.rate, r.reason, r.findings)
        for r in read_index(settings.cache_root)
    ]


def with_all_recordings(settings: Configuration) -> Configuration:
    """The same settings for a profile of every recording."""
    return settings.model_copy(update={"profile": "full", "selection": Selection()})


def write_shards(settings: Configuration, recordings: int, blocks: int = 1) -> None:
    """Fill a store with shards of so many blocks, each with different bytes, and their index."""
    store = Store.of(settings)
    rows = []
    for number in range(recordings):
        patient = f"p{number // 8:07d}"
        split = ("train", "dev", "eval")[(number // 8) % 3]
        key = f"{split}/{patient}/s001_2010/01_tcp_ar/{patient}_s001_t{number % 8:03d}"
        source = blake3(key.encode()).hexdigest()
        fingerprint = shard_fingerprint(settings.preprocessing, source, ())
        header = ShardHeader(
            FORMAT_VERSION,
            key,
            fingerprint,
            chain_parameters(settings.preprocessing),
            source,
            10**6,
            CHANNELS,
            256,
            blocks * BLOCK_SAMPLES,
            (0.0,) * 19,
            (1.0,) * 19,
            (),
            {"brainbrr": "0.1.0"},
        )
        block = np.random.default_rng(number).integers(
            -3000, 3000, (blocks, len(CHANNELS), BLOCK_SAMPLES), np.int16
        )
        target = store.shard_path(key)
        with exclusive_partial(target) as file:
            write_shard(file, header, [(block, np.zeros(block.shape[:2], np.int32))])
            commit_shard(target)
        rows.append(
            Recording(
                partition_key=key,
                split=split,
                patient=patient,
                session="s001_2010",
                montage="01_tcp_ar",
                path=f"/nowhere/{key}.edf",
                state=FileState(10**6, 1, 1),
                content_hash=source,
                rate=Fraction(256),
                samples=blocks * BLOCK_SAMPLES,
                signals=19,
                discontinuous=False,
                matched=(),
                missing=(),
                signal_reason=None,
                label_reason=None,
                label_source="csv_bi",
                companions=(),
                annotated_duration_s=10.0 * blocks,
                events=(Event(2.0, 5.0, "seiz", 1.0, ()),) if number % 3 == 0 else (),
                findings=(),
            )
        )
    rows.sort(key=lambda row: row.partition_key)
    write_index(Index(tuple(rows), "tusz"), settings.cache_root)
