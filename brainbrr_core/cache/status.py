"""What a cache root holds, for people and machines; verification of every byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainbrr_core.cache.manifest import window_count
from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.shard import DamagedShard, Shard
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.layout import SPLITS
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
            other.version: _folder_bytes(other.folder) for other in plan.store.other_versions()
        },
    }


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.arrow"))


@dataclass(frozen=True)
class Verification:
    """Shards checked to the last byte, and those that failed, each with what was wrong."""

    checked: int
    damaged: dict[str, str]


def verify(store: Store, on_damaged: Callable[[str, str], None] | None = None) -> Verification:
    """Check every byte of every shard of a version; quarantine what fails.

    A quarantined shard is moved below ``<root>/quarantine``, so the plan finds it missing and
    the next build makes it anew.
    """
    damaged: dict[str, str] = {}
    keys = sorted(store.shard_keys())
    with progress("verify", len(keys), "shards") as bar:
        for key in keys:
            path = store.shard_path(key)
            try:
                shard = Shard(path)
                if shard.header.partition_key != key:
                    raise DamagedShard(f"shard of {shard.header.partition_key}")
                shard.verify()
            except DamagedShard as error:
                damaged[key] = str(error)
                _quarantine(store, key, path)
                if on_damaged is not None:
                    on_damaged(key, str(error))
            bar.advance()
    return Verification(len(keys), damaged)


def _quarantine(store: Store, key: str, path: Path) -> None:
    place = store.root / QUARANTINE / store.version / f"{key}.arrow"
    place.parent.mkdir(parents=True, exist_ok=True)
    path.rename(place)
