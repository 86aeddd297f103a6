"""How much memory a worker needs to build a recording; its process imports nothing else."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.cache.build import build_one
from brainbrr_core.cache.plan import Item
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.pools import process_pool


def peak_of_build(store: Store, settings: Preprocessing, item: Item) -> float:
    """Peak resident MB of a fresh worker that builds one recording, libraries included."""
    store.shard_path(item.recording.partition_key).unlink(missing_ok=True)
    with process_pool(1) as pool:
        return pool.submit(_build, store, settings, item).result()


def _build(store: Store, settings: Preprocessing, item: Item) -> float:
    done = build_one(store, settings, item.recording, item.fingerprint)
    if done.error:
        raise BrainbrrError(f"{done.partition_key}: {done.error}")
    return peak_mb()


def peak_mb() -> float:
    """Peak resident MB of this process so far. Raises :class:`BrainbrrError` outside of Linux."""
    # Not getrusage: what that gives to a new process begins with its parent's peak.
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="ascii").splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BrainbrrError("the peak memory of a process can be read on Linux only")
