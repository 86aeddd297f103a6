"""Machines that share a cache through an object store, for the tests of transfers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from object_store import BUCKET

from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.configuration.model import Selection
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.remote.place import open_remote
from brainbrr_core.remote.s3 import S3Remote
from brainbrr_core.transfer.pull import pull
from brainbrr_core.transfer.push import push
from brainbrr_core.transfer.receive import Transfer

URL = f"s3://{BUCKET}/brainbrr"


def fresh_bucket() -> None:
    files = S3Remote(URL)._files
    if files.exists(BUCKET):
        files.rm(BUCKET, recursive=True)
    files.mkdir(BUCKET)


def machine(settings: Configuration, place: Path) -> Configuration:
    return settings.model_copy(
        update={"cache_root": place / "cache", "data_dir": None, "runs_dir": place / "runs"}
    )


def of_profile(settings: Configuration, recordings: int) -> Configuration:
    return settings.model_copy(
        update={"profile": f"first{recordings}", "selection": Selection(recordings=recordings)}
    )


def quiet(_line: str) -> None:
    pass


def sent(settings: Configuration, url: str = URL, **options: Any) -> Transfer:
    return push(settings, open_remote(url), log=quiet, **options)


def fetched(settings: Configuration, url: str = URL, **options: Any) -> Transfer:
    return pull(settings, open_remote(url), log=quiet, **options)


def content(settings: Configuration) -> dict[str, bytes]:
    store = Store.of(settings)
    return {key: store.shard_path(key).read_bytes() for key in sorted(store.shard_keys())}


def without_places(settings: Configuration) -> list[tuple[object, ...]]:
    """What an index says of its recordings, but for paths, times and inodes."""
    return [
        (r.partition_key, r.content_hash, r.events, r.samples, r.rate, r.reason, r.findings)
        for r in read_index(settings.cache_root)
    ]
