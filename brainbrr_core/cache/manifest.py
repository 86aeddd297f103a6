"""The manifest: one row per window of a profile, derived from the index without reading signals.

It has all that a Dataset needs: shards with their fingerprints, the events that label their
samples, and the windows. It stores a digest of its inputs, by which a stale one is recognized.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event, merge_overlapping
from brainbrr_core.cache.plan import Item, Plan, State
from brainbrr_core.cache.shard import UnreadableShard, stored_samples
from brainbrr_core.cache.smaller_profile import or_smaller_profile
from brainbrr_core.configuration import Windows
from brainbrr_core.configuration.settings import ManifestSettings
from brainbrr_core.constants import RATE
from brainbrr_core.corpus.folds import HELD_OUT
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.display.counts import tally
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.canonical import canonical_json, digest, json_text

#: Bumped when the columns or the way windows are derived change.
SCHEMA_VERSION = 3
CATEGORIES = ("none", "partial", "full")


@dataclass(frozen=True, slots=True)
class ManifestRecording:
    """One recording of a manifest.

    Attributes
    ----------
    partition_key : str
        Key of the recording.
    split : str
        ``"train"``, ``"dev"`` or ``"eval"``.
    patient : str
        The patient's identifier in the corpus.
    montage : str
        The montage in which the recording was made.
    fingerprint : str
        Fingerprint of the recording's shard.
    samples : int
        Length of the stored signal in samples at 256 Hz.
    seizures : tuple of (float, float, str)
        Disjoint seizures within the signal: start and stop in seconds, and label.
    unknown : tuple of (float, float)
        Disjoint intervals in seconds that are neither seizure nor background.
    corpus : str
        Name of its corpus, where there are several; otherwise empty.
    """

    partition_key: str
    split: str
    patient: str
    montage: str
    fingerprint: str
    samples: int
    seizures: tuple[tuple[float, float, str], ...]
    unknown: tuple[tuple[float, float], ...] = ()
    corpus: str = ""

    @property
    def duration_s(self) -> float:
        """Length of the signal in seconds."""
        return self.samples / RATE

    @property
    def reference(self) -> tuple[Event, ...]:
        """The seizures as events, for scoring."""
        return tuple(Event(start, stop, label) for start, stop, label in self.seizures)

    @property
    def unknown_s(self) -> float:
        """Seconds that are neither seizure nor background."""
        return math.fsum(stop - start for start, stop in self.unknown)


@dataclass(frozen=True)
class Manifest:
    """The windows of a profile and the recordings they come from, ordered by partition key.

    Attributes
    ----------
    profile : str
        Name of the profile.
    version : str
        The preprocessing version of the shards.
    source : str
        Digest of everything that the manifest depends on. A different digest makes it stale.
    window_samples : int
        Length of a window in samples at 256 Hz.
    recordings : tuple of ManifestRecording
        The recordings.
    recording : ndarray of int32, shape (windows,)
        Position of each window's recording in ``recordings``.
    start : ndarray of int64, shape (windows,)
        First sample of each window, at 256 Hz.
    ictal : ndarray of float32, shape (windows,)
        Fraction of a window's known time that is seizure.
    category : ndarray of int8, shape (windows,)
        Position in ``CATEGORIES``, which follows from ``ictal``.
    unknown : ndarray of float32, shape (windows,)
        Fraction of a window that is neither seizure nor background. Windows without any known
        time are left out.
    without_windows : dict of str to int
        Recordings too short for a window, by split.
    unknown_windows : dict of str to int
        Windows that are left out because nothing in them is known, by split.
    """

    profile: str
    version: str
    source: str
    window_samples: int
    recordings: tuple[ManifestRecording, ...]
    recording: NDArray[np.int32]
    start: NDArray[np.int64]
    ictal: NDArray[np.float32]
    category: NDArray[np.int8]
    unknown: NDArray[np.float32]
    without_windows: dict[str, int]
    unknown_windows: dict[str, int]

    def __len__(self) -> int:
        return len(self.start)

    def rows_of(self, split: str) -> NDArray[np.int64]:
        """Numbers of the windows of one split."""
        inside = np.array([r.split == split for r in self.recordings], dtype=bool)
        return np.flatnonzero(inside[self.recording]) if len(inside) else np.zeros(0, np.int64)


def window_count(recording: Recording, windows: Windows, labels: tuple[str, ...]) -> int:
    """Windows of a usable recording of which at least one sample is known.

    There is none of a recording that is excluded or shorter than a window.
    """
    count = _positions(recording, windows)
    # Most recordings have no event at all.
    unknown = recording.unknown(labels) if count and recording.events else ()
    if not unknown:
        return count
    starts = np.arange(count, dtype=np.int64) * windows.stride_s * RATE
    length = windows.length_s * RATE
    return int(np.count_nonzero(_unknown_samples(unknown, starts, length) < length))


def _positions(recording: Recording, windows: Windows) -> int:
    """How many windows fit into a usable recording, one every stride."""
    if recording.reason is not None:
        return 0
    samples = stored_samples(recording)
    return max(0, (samples - windows.length_s * RATE) // (windows.stride_s * RATE) + 1)


def settings_digest(settings: ManifestSettings) -> str:
    """Hash of the settings that shape a manifest: selection, windows and label map."""
    selection = settings.selection.model_dump(mode="json")
    if settings.selection.train_patients is None:
        # So that manifests of before there was this setting stay current.
        del selection["train_patients"]
    return digest(
        {
            "schema": SCHEMA_VERSION,
            "selection": selection,
            "windows": settings.windows.model_dump(mode="json"),
            "labels": sorted(settings.seizure_labels),
            "full": settings.full_threshold,
        }
    )


def training_digest(plan: Plan, settings: ManifestSettings) -> str:
    """Digest of the inputs of trainings on a plan with the splits of a fold.

    Those whom the fold holds out and recordings that are not used shape no weight, and are left
    out.
    """
    return digest_of(
        (
            source_row(item)
            for item in plan.items
            if item.recording.split != HELD_OUT and item.recording.reason is None
        ),
        settings,
    )


def source_digest(plan: Plan, settings: ManifestSettings) -> str:
    """Digest of a manifest's inputs: fingerprints, events and settings."""
    return digest_of(map(source_row, plan.items), settings)


def digest_of(rows: Iterable[str], settings: ManifestSettings) -> str:
    """Digest of recordings, each as :func:`source_row` writes it, and of the settings."""
    # The digest of {"recordings": [...], "settings": ...} as canonical JSON, some recordings at a
    # time: as one text, all of them would take hundreds of bytes each.
    hasher = hashlib.sha256(b'{"recordings":[')
    waiting, comma = iter(rows), ""
    while some := list(islice(waiting, AT_ONCE)):
        hasher.update(f"{comma}{','.join(some)}".encode())
        comma = ","
    hasher.update(f'],"settings":{canonical_json(settings_digest(settings))}}}'.encode())
    return hasher.hexdigest()


#: Recordings that are written to JSON at once.
AT_ONCE = 500


def source_row(item: Item) -> str:
    """One recording's inputs to a manifest, as canonical JSON."""
    before, after = around_split(item)
    return f"{before}{json_text(item.recording.split)}{after}"


def around_split(item: Item) -> tuple[str, str]:
    """What :func:`source_row` writes before and after the split of a recording.

    Put together here: a general encoder would take three times as long.
    """
    recording = item.recording
    reason = recording.reason
    events = [
        f"[{event.start!r},{event.stop!r},{json_text(event.label)}]" for event in recording.events
    ]
    # Only a patient of one of several corpora can become another one with the same files.
    patient = ""
    if recording.corpus and recording.partition_key.startswith(f"{recording.corpus}/"):
        patient = f",{json_text(recording.patient)}"
    return (
        f"[{json_text(recording.partition_key)},{json_text(item.fingerprint)},",
        f",{'null' if reason is None else json_text(reason)},[{','.join(events)}]{patient}]",
    )


def make_manifest(plan: Plan, settings: ManifestSettings) -> Manifest:
    """Make the manifest of a plan in which every shard is fresh.

    Parameters
    ----------
    plan : Plan
        The selected recordings.
    settings : ManifestSettings
        Windows, seizure labels and the threshold of the category "full".

    Returns
    -------
    Manifest
        The windows of all recordings, in the order of the partition keys.

    Raises
    ------
    WorkRemains
        If a shard is not fresh or cannot be read, or no recording has windows.
    BrainbrrError
        If no window has a seizure.
    """
    for item in plan.unreadable:
        raise UnreadableShard(plan.store.shard_path(item.recording.partition_key), item.reason)
    if plan.to_build:
        raise WorkRemains(
            f"{len(plan.to_build)} of {len(plan.items)} recordings are not in the cache: run "
            f"`brainbrr cache build{settings.options}`{or_smaller_profile(plan)}"
        )
    windows = settings.windows
    grid = _Grid.of(windows, max((item.samples for item in plan.items), default=0))
    recordings: list[ManifestRecording] = []
    parts: list[_Part] = []
    without: Counter[str] = Counter()
    unknown_windows: Counter[str] = Counter()
    for item in plan.items:
        fresh = item.state is State.FRESH
        count = _positions(item.recording, windows) if fresh else 0
        if count == 0:
            excluded = item.recording.reason or item.reason
            without[excluded or "shorter_than_window"] += 1
            continue
        recording = manifest_recording(item, settings.seizure_labels)
        part = _part(recording, grid, count)
        unknown_windows[recording.split] += count - len(part.starts)
        if len(part.starts) == 0:
            without["unknown_throughout"] += 1
            continue
        recordings.append(recording)
        parts.append(part)
    if not plan.items:
        raise WorkRemains(
            f"profile {settings.profile} selects no recording: `brainbrr index` counts what is "
            "there; change the configuration's selection"
        )
    if not parts:
        raise WorkRemains(
            f"no recording of profile {settings.profile} has a window: {tally(without)}: "
            "`brainbrr index` tells what that means, and `brainbrr index --list` what was found in "
            "each recording"
        )
    lengths = np.array([len(part.starts) for part in parts], np.int64)
    unknown = np.concatenate([part.unknown for part in parts])
    seizure_s = np.concatenate([part.seizure_s for part in parts])
    fraction = seizure_s / (windows.length_s - unknown / RATE)
    # What is unknown is counted in samples, a seizure in seconds.
    has_unknown = np.repeat(np.array([bool(r.unknown) for r in recordings], bool), lengths)
    ictal = np.where(has_unknown, np.minimum(fraction, 1.0), fraction).astype(np.float32)
    if not (ictal > 0).any():
        others = f" (recordings without windows: {tally(without)})" if without else ""
        raise BrainbrrError(
            f"no window of profile {settings.profile} has a seizure{others}: check the annotations "
            "(`brainbrr index`) and the configuration's labels.seizure"
        )
    full = settings.full_threshold
    return Manifest(
        profile=settings.profile,
        version=plan.store.version,
        source=source_digest(plan, settings),
        window_samples=windows.length_s * RATE,
        recordings=tuple(recordings),
        recording=np.repeat(np.arange(len(parts), dtype=np.int32), lengths),
        start=np.concatenate([part.starts for part in parts]),
        ictal=ictal,
        category=np.where(ictal >= full, 2, np.where(ictal > 0, 1, 0)).astype(np.int8),
        unknown=(unknown / (windows.length_s * RATE)).astype(np.float32),
        without_windows=dict(sorted(without.items())),
        unknown_windows=dict(sorted((+unknown_windows).items())),
    )


def with_splits(manifest: Manifest, plan: Plan, settings: ManifestSettings) -> Manifest:
    """The manifest with the splits of a fold, as a plan of the same recordings and shards has them.

    Its ``source`` is what trainings in the fold depend on (:func:`training_digest`).
    """
    splits = {item.recording.partition_key: item.recording.split for item in plan.items}
    windows, labels = settings.windows, settings.seizure_labels
    unknown_windows: Counter[str] = Counter()
    for item in plan.items:
        recording = item.recording
        if item.state is State.FRESH and recording.events:
            left_out = _positions(recording, windows) - window_count(recording, windows, labels)
            unknown_windows[recording.split] += left_out
    return replace(
        manifest,
        source=training_digest(plan, settings),
        recordings=tuple(replace(r, split=splits[r.partition_key]) for r in manifest.recordings),
        unknown_windows=dict(sorted((+unknown_windows).items())),
    )


def manifest_recording(item: Item, labels: tuple[str, ...]) -> ManifestRecording:
    """A recording with a shard as a manifest lists it, whether or not it has windows."""
    recording = item.recording
    seizures, unknown = annotated_time(recording, item.samples / RATE, labels)
    return ManifestRecording(
        recording.partition_key,
        recording.split,
        recording.patient,
        recording.montage,
        item.fingerprint,
        item.samples,
        seizures,
        unknown,
        recording.corpus,
    )


def annotated_time(
    recording: Recording, end: float, labels: tuple[str, ...]
) -> tuple[tuple[tuple[float, float, str], ...], tuple[tuple[float, float], ...]]:
    """Seizures and unknown intervals of a recording up to ``end``, as a manifest lists them."""
    seizures = [
        (event.start, min(event.stop, end), event.label)
        for event in recording.seizures(labels)
        if event.start < min(event.stop, end)
    ]
    if len(seizures) > 1:
        merged = merge_overlapping((Event(*seizure) for seizure in seizures), touching=False)
        seizures = [(event.start, event.stop, event.label) for event in merged]
    unknown = (
        (start, min(stop, end))
        for start, stop in recording.unknown(labels)
        if start < min(stop, end)
    )
    return tuple(seizures), tuple(unknown)


@dataclass(frozen=True)
class _Grid:
    """Where the windows of the longest recording are; those of any other are the first of these.

    ``starts`` (n,) are in samples, ``bounds`` (2, n), where they start and stop, in seconds.
    ``nothing`` and ``no_time`` (n,) are zeros: samples and seconds of none of them.
    """

    length: int
    starts: NDArray[np.int64]
    bounds: NDArray[np.float64]
    nothing: NDArray[np.int64]
    no_time: NDArray[np.float64]

    @classmethod
    def of(cls, windows: Windows, samples: int) -> _Grid:
        """For recordings of at most so many samples."""
        starts = np.arange(0, samples, windows.stride_s * RATE, dtype=np.int64)
        begin = starts / RATE
        bounds = np.stack([begin, begin + windows.length_s])
        return cls(
            windows.length_s * RATE, starts, bounds, np.zeros_like(starts), np.zeros_like(begin)
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """The windows of one recording that are not wholly unknown.

    Where they start, how many of their samples are unknown, and how many of their seconds are
    seizure.
    """

    starts: NDArray[np.int64]
    unknown: NDArray[np.int64]
    seizure_s: NDArray[np.float64]


def _part(recording: ManifestRecording, grid: _Grid, count: int) -> _Part:
    starts, bounds, unknown = grid.starts[:count], grid.bounds[:, :count], grid.nothing[:count]
    if recording.unknown:
        unknown = _unknown_samples(recording.unknown, starts, grid.length)
        is_known = unknown < grid.length
        starts, bounds, unknown = starts[is_known], bounds[:, is_known], unknown[is_known]
    if not recording.seizures:
        return _Part(starts, unknown, grid.no_time[: len(starts)])
    return _Part(starts, unknown, _seizure_seconds(recording, bounds))


def _unknown_samples(
    unknown: Sequence[tuple[float, float]], starts: NDArray[np.int64], length: int
) -> NDArray[np.int64]:
    """How many samples of the windows of ``length`` samples from ``starts`` are unknown."""
    samples = np.zeros(len(starts), np.int64)
    for begin, end in unknown:
        first, last = round(begin * RATE), round(end * RATE)
        inside = np.minimum(last, starts + length) - np.maximum(first, starts)
        samples += np.maximum(inside, 0)
    return samples


def _seizure_seconds(
    recording: ManifestRecording, bounds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Seconds of seizure between ``bounds`` (2, n): those up to each time, by interpolation."""
    if len(recording.seizures) == 1:
        ((start, stop, _),) = recording.seizures
        begin, end = (bounds - start).clip(0.0, stop - start)
        return np.asarray(end - begin)
    times, seconds = [0.0], [0.0]
    for start, stop, _ in recording.seizures:
        times += [start, stop]
        seconds += [seconds[-1], seconds[-1] + stop - start]
    begin, end = np.interp(bounds, times, seconds)
    return np.asarray(end - begin)


def counts(manifest: Manifest, splits: Iterable[str]) -> dict[str, dict[str, float]]:
    """Windows by category, seizures, hours of seizure and seconds that are unknown, by split.

    A split without recordings is not there. ``unknown_windows`` are those that are wholly
    unknown, and so none of the others.
    """
    summary = {}
    for split in splits:
        rows = manifest.rows_of(split)
        of_split = [r for r in manifest.recordings if r.split == split]
        if of_split:
            by_category = np.bincount(manifest.category[rows], minlength=len(CATEGORIES))
            summary[split] = {
                "recordings": len(of_split),
                "patients": len({r.patient for r in of_split}),
                "hours": round(sum(r.samples for r in of_split) / RATE / 3600, 4),
                "seizures": sum(len(r.seizures) for r in of_split),
                "ictal_hours": round(
                    sum(b - a for r in of_split for a, b, _ in r.seizures) / 3600, 4
                ),
                "unknown_seconds": round(sum(r.unknown_s for r in of_split), 2),
                "unknown_windows": manifest.unknown_windows.get(split, 0),
                **{name: int(n) for name, n in zip(CATEGORIES, by_category, strict=True)},
            }
    return summary
