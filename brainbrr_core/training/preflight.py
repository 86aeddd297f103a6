"""What must hold before the first batch, checked in seconds, each failure with its remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brainbrr_core.cache.readiness import Preflight
from brainbrr_core.cache.shard import BLOCK_BYTES
from brainbrr_core.configuration import Configuration
from brainbrr_core.constants import BLOCK_S, RATE
from brainbrr_core.files.room import check_room
from brainbrr_core.machine.disk import read_rate

if TYPE_CHECKING:
    import torch

#: Bytes of one second of EEG in the store: 19 channels of 16 bits at 256 Hz.
_SECOND_BYTES = BLOCK_BYTES / BLOCK_S
#: Bytes per second below which a disk is called slow: 170 windows of 60 s a second.
SLOW_READ = 100e6


def disk_remarks(preflight: Preflight, seconds: float = 1.0) -> list[str]:
    """How fast shards are read here, measured for about a second; a warning where it is slow.

    Nothing where the shards are too few to measure.
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


def check_machine(configuration: Configuration, card: int = 0) -> torch.device:
    """The device that the configuration is bound to, on a machine that can train on it.

    Raises :class:`BrainbrrError` for another device, and where the checkpoints find no room.
    """
    # Heavy, and of no use where it is the cache that is not fit for training.
    from brainbrr_core.model.device import check_device

    device = check_device(configuration.hardware, card)
    check_room(
        configuration.runs_dir,
        checkpoint_bytes(configuration),
        "the checkpoints of a run need",
        "free some, set BRAINBRR_RUNS_DIR to another disk, or lower training.keep_checkpoints",
    )
    return device


def checkpoint_bytes(configuration: Configuration) -> int:
    """The most that the files of a run hold at a time."""
    import torch

    from brainbrr_core.model import build

    with torch.device("meta"):
        network = build(configuration.model.preset)
    weights = sum(parameter.numel() for parameter in network.parameters()) * 4
    # Weights, their average, two moments and the best weights; kept, last and the one being
    # written. Besides, the best weights and the final ones, each beside its temporary file.
    return weights * (5 * (configuration.training.keep_checkpoints + 2) + 4)
