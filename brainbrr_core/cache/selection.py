"""Which recordings a profile uses: a deterministic choice that grows without dropping any.

All recordings are put in one fixed order, and a profile takes the first of them. So smoke is part
of dev, dev is part of full, and recordings with seizures of every split come early.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

from brainbrr_core.configuration.settings import Selection
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.recording import Recording

#: Of every five recordings at the beginning, this many come from each split.
_SHARES = {"train": 3, "dev": 1, "eval": 1}


def select(recordings: Iterable[Recording], selection: Selection) -> list[Recording]:
    """The recordings of a profile, in the order of their partition keys."""
    everything = list(recordings)
    if selection.train_patients is not None:
        everything = _with_train_patients(everything, selection.train_patients, selection.seed)
    if selection.recordings is None or selection.recordings >= len(everything):
        chosen = everything
    else:
        chosen = _ranked(everything, selection.seed)[: selection.recordings]
    return sorted(chosen, key=lambda recording: recording.partition_key)


def _with_train_patients(recordings: list[Recording], count: int, seed: int) -> list[Recording]:
    """Drop the training recordings of all but ``count`` patients; those with seizures come first.

    Of two counts, the patients of the smaller one are among those of the larger one.
    """
    usable = [r for r in recordings if r.split == "train" and r.reason is None]
    ictal = {r.patient for r in usable if r.all_seizures}
    patients = sorted(
        {r.patient for r in usable},
        key=lambda patient: (patient not in ictal, _rank(seed, patient)),
    )
    kept = set(patients[:count])
    return [r for r in recordings if r.split != "train" or r.patient in kept]


def _ranked(recordings: list[Recording], seed: int) -> list[Recording]:
    usable = [r for r in recordings if r.reason is None]
    excluded = [r for r in recordings if r.reason is not None]
    queues = {
        split: _seizures_first([r for r in usable if r.split == split], seed) for split in SPLITS
    }
    ranked: list[Recording] = []
    while any(queues.values()):
        for split in SPLITS:
            share = _SHARES[split]
            ranked += queues[split][:share]
            queues[split] = queues[split][share:]
    return ranked + _shuffled(excluded, seed)


def _seizures_first(recordings: Sequence[Recording], seed: int) -> list[Recording]:
    """Alternate recordings with and without seizures, beginning with one that has some."""
    ictal = _by_patient(_shuffled([r for r in recordings if r.all_seizures], seed))
    other = _by_patient(_shuffled([r for r in recordings if not r.all_seizures], seed))
    pairs = zip_longest(ictal, other)
    return [recording for recording in chain.from_iterable(pairs) if recording is not None]


def _by_patient(recordings: list[Recording]) -> list[Recording]:
    """The first recording of each patient, then the second of each, and so on."""
    recordings_of_patient: dict[str, int] = {}
    rounds: list[tuple[int, int]] = []
    for position, recording in enumerate(recordings):
        recordings_of_patient[recording.patient] = (
            recordings_of_patient.get(recording.patient, 0) + 1
        )
        rounds.append((recordings_of_patient[recording.patient], position))
    return [recordings[position] for _, position in sorted(rounds)]


def _shuffled(recordings: list[Recording], seed: int) -> list[Recording]:
    """The recordings in a fixed order that does not depend on their names' order."""
    return sorted(recordings, key=lambda recording: _rank(seed, recording.partition_key))


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
