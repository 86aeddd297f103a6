"""The recordings of a split that detections are scored on.

They are the same for validation, which chooses weights, for tuning of the operating point, and for
reports.
"""

from __future__ import annotations

from dataclasses import replace

from brainbrr_core.cache.manifest import ManifestRecording, manifest_recording
from brainbrr_core.cache.plan import Item, Plan, State
from brainbrr_core.corpus.people import one_person


def is_scorable(item: Item) -> bool:
    """Whether a recording has a shard and usable annotations, whatever its length."""
    return item.state is State.FRESH and item.recording.reason is None


def scorable(plan: Plan, labels: tuple[str, ...], split: str) -> list[ManifestRecording]:
    """The recordings of a split that are scored; ``labels`` are those of seizures.

    Recordings shorter than the training's window, which have no window in the manifest, are
    included: they are padded. Patients of several corpora who are one person
    (:func:`~brainbrr_core.corpus.people.one_person`) have one name, so that figures over patients
    count that person once.
    """
    people = one_person(plan.index) if len(plan.index.corpora) > 1 else {}
    rows = [
        manifest_recording(item, labels)
        for item in plan.items
        if item.recording.split == split and is_scorable(item)
    ]
    return [replace(row, patient=people.get(row.patient, row.patient)) for row in rows]
