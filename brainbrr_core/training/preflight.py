"""Checks of the disk before the first batch: how fast it is, and whether it has room."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.cache.readiness import Preflight
from brainbrr_core.cache.shard import BLOCK_BYTES
from brainbrr_core.constants import BLOCK_S, RATE
from brainbrr_core.files.room import check_room
from brainbrr_core.machine.disk import read_rate

#: Bytes of one second of EEG in the store: 16 bits per sample.
_SECOND_BYTES = BLOCK_BYTES / BLOCK_S
#: Bytes per second below which a disk is called slow: 170 windows of 60 s a second.
SLOW_READ = 100e6


def disk_remarks(preflight: Preflight, seconds: float = 1.0) -> list[str]:
    """Measure how fast shards are read from disk; return lines for the log.

    The measurement takes about ``seconds``. There is a warning if the disk is slow, and no line if
    the shards are too small to measure.
    """
    store = preflight.plan.store
    paths = [store.shard_path(r.partition_key) for r in preflight.manifest.recordings]
    rate = read_rate(paths, seconds)
    if rate is None:
        return []
    length_s = preflight.manifest.window_samples / RATE
    figure = (
        f"{rate / 1e6:,.0f} MB/s read from {store.root}: at most "
        f"{rate / (_SECOND_BYTES * length_s):,.0f} windows/s on first use"
    )
    if rate >= SLOW_READ:
        return [f"disk: {figure}"]
    return [
        f"warning: a slow disk: {figure}; use a local SSD (`brainbrr doctor` says what this "
        "machine has)"
    ]


def check_space(runs_dir: Path, weight_bytes: int, keep_checkpoints: int) -> None:
    """Raise :class:`BrainbrrError` if the disk of ``runs_dir`` has too little space for a run.

    ``weight_bytes`` is the size of the network's weights.
    """
    check_room(
        runs_dir,
        checkpoint_bytes(weight_bytes, keep_checkpoints),
        "the checkpoints of a run need",
        "free some, set BRAINBRR_RUNS_DIR to another disk, or lower training.keep_checkpoints",
    )


def checkpoint_bytes(weight_bytes: int, keep_checkpoints: int) -> int:
    """The most bytes that the files of a run occupy at any time."""
    # A checkpoint has five copies of the weights: the weights, their average, two moments and the
    # best weights. There are the kept checkpoints, the last one and the one being written; in
    # addition the best and the final weights, each next to its temporary file.
    return weight_bytes * (5 * (keep_checkpoints + 2) + 4)
