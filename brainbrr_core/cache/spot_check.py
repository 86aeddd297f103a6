"""The checksums of a few shards, where all of them would take a night."""

from __future__ import annotations

from collections.abc import Iterable

from brainbrr_core.cache.shard import DamagedShard, Shard
from brainbrr_core.cache.status import quarantine
from brainbrr_core.cache.store import Store


def spot_check(store: Store, keys: Iterable[str]) -> dict[str, str]:
    """What is wrong with each of these shards that is damaged; these go to quarantine."""
    damaged = {}
    for key in keys:
        try:
            Shard(store.shard_path(key)).verify()
        except (DamagedShard, FileNotFoundError) as error:
            damaged[key] = str(error)
    for key in damaged:
        if store.shard_path(key).is_file():
            quarantine(store, key)
    return damaged
