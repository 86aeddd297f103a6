"""How much memory a worker needs to build a recording.

This module imports only what a worker needs, since the worker's process imports it.
"""

from __future__ import annotations

from brainbrr_core.benchmark.peak_memory import peak_mb
from brainbrr_core.cache.plan import Item
from brainbrr_core.cache.shard_build import build_one
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.pools import process_pool


def peak_of_build(store: Store, preprocessing: Preprocessing, item: Item) -> float:
    """Peak resident memory in MB of a new worker that builds one recording, libraries included."""
    store.shard_path(item.recording.partition_key).unlink(missing_ok=True)
    with process_pool(1) as pool:
        return pool.submit(_build, store, preprocessing, item).result()


def _build(store: Store, preprocessing: Preprocessing, item: Item) -> float:
    done = build_one(store, preprocessing, item.recording, item.fingerprint)
    if done.error:
        raise BrainbrrError(f"{done.partition_key}: {done.error}")
    return peak_mb()
