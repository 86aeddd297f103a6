"""What a cache root holds, for people and machines; verification of every byte."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from brainbrr_core.cache.manifest import window_count
from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.shard import DamagedShard, Shard
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.hashing import content_hash
from brainbrr_core.corpus.layout import SPLITS
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.machine.pools import thread_pool
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.progress import progress

#: Where shards that failed verification are kept, below the root.
QUARANTINE = "quarantine"


def status(plan: Plan, configuration: Configuration) -> dict[str, Any]:
    """Counts, bytes, hours and windows of a plan's selection, as ``cache status --json`` gives."""
    fresh = [item for item in plan.items if item.state is State.FRESH]
    windows = {
        item.recording.partition_key: window_count(item.recording, configuration.windows)
        for item in fresh
    }
    splits = {}
    for split in SPLITS:
        items = [item for item in plan.items if item.recording.split == split]
        if items:
            held = [item for item in items if item.state is State.FRESH]
            splits[split] = {
                "selected": len(items),
                "fresh": len(held),
                "hours": round(sum(item.recording.duration_s for item in held) / 3600, 4),
                "windows": sum(windows[item.recording.partition_key] for item in held),
            }
    return {
        "root": str(plan.store.root),
        "version": plan.store.version,
        "profile": configuration.profile,
        "selected": len(plan.items),
        **{state.value: plan.count(state) for state in State},
        "orphaned": len(plan.orphans),
        "bytes": sum(item.bytes for item in plan.items),
        "hours": round(sum(item.recording.duration_s for item in fresh) / 3600, 4),
        "windows": sum(windows.values()),
        "splits": splits,
        "reasons": plan.reasons(),
        "sources_unseen": plan.sources_unseen,
        "other_versions": {
            other.version: folder_bytes(other.folder) for other in plan.store.other_versions()
        },
    }


def folder_bytes(folder: Path) -> int:
    """Bytes of the shards below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*.arrow"))


@dataclass(frozen=True)
class Verification:
    """Shards checked to the last byte, and what failed, each with what was wrong.

    ``changed_sources`` are EDFs whose bytes are not those of the index, ``sources`` how many were
    read to know (none unless asked).
    """

    checked: int
    damaged: dict[str, str]
    sources: int
    changed_sources: tuple[str, ...]


def verify(store: Store, sources: Iterable[Recording] = ()) -> Verification:
    """Check every byte of every shard of a version; quarantine what fails.

    A quarantined shard is moved below ``<root>/quarantine``, so the plan finds it missing and
    the next build makes it anew. ``sources`` are recordings whose EDFs are hashed again, which
    finds one that changed though its size and time did not.
    """
    keys = sorted(store.shard_keys())
    recordings = list(sources)
    # Hashing releases Python's lock, so threads use all cores.
    with (
        thread_pool(usable_cores()) as pool,
        progress("verify", len(keys) + len(recordings), "files") as bar,
    ):
        damaged: dict[str, str] = {}
        for key, how in zip(keys, pool.map(partial(_damage, store), keys), strict=True):
            if how is not None:
                damaged[key] = how
                quarantine(store, key)
            bar.advance()
        changed = []
        for recording, same in zip(recordings, pool.map(_is_indexed, recordings), strict=True):
            if not same:
                changed.append(recording.partition_key)
            bar.advance()
    return Verification(len(keys), damaged, len(recordings), tuple(changed))


def _damage(store: Store, key: str) -> str | None:
    """What is wrong with a shard, or None."""
    try:
        shard = Shard(store.shard_path(key))
        if shard.header.partition_key != key:
            raise DamagedShard(f"shard of {shard.header.partition_key}")
        shard.verify()
    except DamagedShard as error:
        return str(error)
    return None


def _is_indexed(recording: Recording) -> bool:
    """Whether an EDF has the bytes that the index says; one that is not here passes."""
    path = Path(recording.path)
    return not path.is_file() or content_hash(path) == recording.content_hash


def quarantine(store: Store, key: str) -> None:
    """Move a damaged shard out of the way: the plan finds it missing then."""
    place = store.root / QUARANTINE / store.version / f"{key}.arrow"
    place.parent.mkdir(parents=True, exist_ok=True)
    store.shard_path(key).rename(place)
