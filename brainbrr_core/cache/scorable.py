"""The recordings of a split that detections are scored on.

They are the same for validation, which chooses weights, for tuning of the operating point, and for
reports.
"""

from __future__ import annotations

from brainbrr_core.cache.manifest import ManifestRecording, manifest_recording
from brainbrr_core.cache.plan import Item, Plan, State


def is_scorable(item: Item) -> bool:
    """Whether a recording has a shard and usable annotations, whatever its length."""
    return item.state is State.FRESH and item.recording.reason is None


def scorable(plan: Plan, labels: tuple[str, ...], split: str) -> list[ManifestRecording]:
    """The recordings of a split that are scored; ``labels`` are those of seizures.

    Recordings shorter than the training's window, which have no window in the manifest, are
    included: they are padded.
    """
    return [
        manifest_recording(item, labels)
        for item in plan.items
        if item.recording.split == split and is_scorable(item)
    ]
