"""The recordings of a split that a detector is judged on: the same in every place that judges.

Validation chooses weights by them, the operating point is tuned on them, reports score them.
"""

from __future__ import annotations

from brainbrr_core.cache.manifest import ManifestRecording, manifest_recording
from brainbrr_core.cache.plan import Item, Plan, State


def is_scorable(item: Item) -> bool:
    """Whether a recording has a shard and annotations to be trusted, however short it is."""
    return item.state is State.FRESH and item.recording.reason is None


def scorable(plan: Plan, labels: tuple[str, ...], split: str) -> list[ManifestRecording]:
    """The recordings of a split that are scored; ``labels`` are those of seizures.

    One that is shorter than the training's window, of which a manifest has no windows, is among
    them: it is padded.
    """
    return [
        manifest_recording(item, labels)
        for item in plan.items
        if item.recording.split == split and is_scorable(item)
    ]
