"""Labels of training windows: each sample's label is what is annotated at its time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.cache.manifest import Manifest, ManifestRecording, make_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Configuration, Sampling
from brainbrr_core.data import WindowDataset

WINDOW = 60 * 256


def annotate(manifest: Manifest, seed: int) -> Manifest:
    """The manifest with other annotations: seizures and unknown intervals at any times."""
    rng = np.random.default_rng(seed)
    recordings = []
    for recording in manifest.recordings:
        # Disjoint, in order, and nearly all of them between two samples.
        times = np.sort(rng.uniform(0, recording.duration_s, 8)).tolist()
        seizures = tuple((times[n], times[n + 1], "seiz") for n in (0, 4))
        unknown = tuple((times[n], times[n + 1]) for n in (2, 6))
        recordings.append(replace(recording, seizures=seizures, unknown=unknown))
    return replace(manifest, recordings=tuple(recordings))


def label_at(recording: ManifestRecording, sample: int) -> float:
    """The label at the middle of a sample of the recording."""
    time_s = (sample + 0.5) / 256
    if any(start <= time_s < stop for start, stop, _ in recording.seizures):
        return 1.0
    if any(start <= time_s < stop for start, stop in recording.unknown):
        return -1.0
    return 0.0


def weight_at(recording: ManifestRecording, weights: tuple[float, ...], sample: int) -> float:
    time_s = (sample + 0.5) / 256
    for (start, stop, _), weight in zip(recording.seizures, weights, strict=True):
        if start <= time_s < stop:
            return weight
    return 1.0


@pytest.mark.parametrize("seed", range(3))
def test_labels_and_weights_are_those_of_each_sample(one_built: Configuration, seed: int) -> None:
    plan = plan_corpus(one_built)
    manifest = annotate(make_manifest(plan, one_built.manifest_settings), seed)
    weights = tuple((2.0, 0.5) for _ in manifest.recordings)
    dataset = WindowDataset(manifest, plan.store, seizure_weights=weights)
    # A window of each recording: another one for each seed.
    rows = np.array(
        [
            np.flatnonzero(manifest.recording == number)[
                seed % (manifest.recording == number).sum()
            ]
            for number in range(len(manifest.recordings))
        ]
    )
    batch = dataset.fetch(rows)
    assert batch.weights is not None
    values: set[float] = set()
    for position, row in enumerate(rows.tolist()):
        number, first = int(manifest.recording[row]), int(manifest.start[row])
        recording = manifest.recordings[number]
        labels = [label_at(recording, first + n) for n in range(WINDOW)]
        values |= set(labels)
        assert batch.labels[position].tolist() == labels
        assert batch.known[position] == sum(label != -1.0 for label in labels)
        assert batch.weights[position].tolist() == [
            weight_at(recording, weights[number], first + n) for n in range(WINDOW)
        ]
    assert values == {-1.0, 0.0, 1.0}


def categories_of(settings: Configuration, seizure: Event) -> NDArray[np.int8]:
    """Categories of the windows of the longest recording, whose only event is this seizure."""
    plan = plan_corpus(settings)
    longest = max(plan.items, key=lambda item: item.samples)
    items = tuple(
        replace(item, recording=replace(item.recording, events=(seizure,)))
        if item is longest
        else item
        for item in plan.items
    )
    manifest = make_manifest(replace(plan, items=items), settings.manifest_settings)
    keys = [recording.partition_key for recording in manifest.recordings]
    of_longest = manifest.recording == keys.index(longest.recording.partition_key)
    return np.asarray(manifest.category[of_longest])


@pytest.mark.parametrize(
    ("threshold", "seizure_s", "category"),
    [(0.99, 59.5, 2), (0.99, 59.3, 1), (0.99, 60.0, 2), (0.95, 57.5, 2), (0.95, 56.5, 1)],
)
def test_the_threshold_of_wholly_ictal_windows_is_that_of_the_settings(
    one_built: Configuration, threshold: float, seizure_s: float, category: int
) -> None:
    """The window of 60 s from 10 s on is ictal from its first sample on."""
    sampling = Sampling(full_threshold=threshold)
    settings = one_built.model_copy(update={"sampling": sampling})
    assert categories_of(settings, Event(10.0, 10.0 + seizure_s, "seiz"))[1] == category
