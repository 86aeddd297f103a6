"""Planning a corpus: patients, recordings, durations and seizures, before any signal.

Every decision that shows in annotation files and headers is made here. A plan is plain data that is
sent to the process that writes the recording, which makes no decisions.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from datetime import time
from fractions import Fraction

import numpy as np

from brainbrr_core.annotation import Event, seizure_seconds, tuh
from brainbrr_core.constants import BACKGROUND, SPLITS
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.synthesis.channels import (
    MONTAGES,
    Channel,
    bipolar_channels,
    synthetic_channels,
)
from brainbrr_core.synthesis.scalp import (
    CORE_REACH,
    RING_REACH,
    tcp_channels,
    touching,
    within,
)

#: Sampling rates of successive recordings: mostly 250 and 256 Hz, and all of TUSZ's in any ten.
RATES_HZ = (256, 250, 256, 400, 250, 512, 256, 1000, 250, 256)
MIN_RECORDING_S = 70
MAX_MEAN_RECORDING_S = 7200
MAX_RECORDINGS = 100_000
#: Electrodes at which a focal seizure can start.
FOCI = ("T3", "T4", "F7", "F8", "T5", "T6", "F3", "F4", "C3", "C4", "P3", "P4")
GENERALIZED, FOCAL = "gnsz", "fnsz"
#: Fraction of a focal seizure after which it reaches the ring around its focus.
RING_ONSET = 0.25
#: Mean number of seconds of recording for each seizure after the first.
FURTHER_EVERY_S = 700.0
_MARGIN_S, _GAP_S = 5.0, 20.0


@dataclass(frozen=True, slots=True)
class CorpusSummary:
    """Contents of a synthetic corpus.

    Attributes
    ----------
    recordings, patients : int
        Numbers of recordings and patients.
    hours : float
        Hours of EEG.
    seizures : int
        Number of seizures.
    ictal_hours : float
        Hours of seizures.
    splits : dict of str to int
        Recordings of each split; empty where the corpus has no splits.
    """

    recordings: int
    patients: int
    hours: float
    seizures: int
    ictal_hours: float
    splits: dict[str, int]


@dataclass(frozen=True, slots=True)
class Seizure:
    """A seizure in seconds; ``focus`` is an electrode, or empty if it is generalized."""

    start: float
    stop: float
    focus: str = ""


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """One recording to be written.

    ``key`` is its path below the data root without suffix; ``split`` is empty where the corpus has
    no splits. ``annotations`` are the suffix and the content of each file next to the EDF. The
    signal depends on ``seed`` and ``key``, the traits of the patient on ``seed`` and ``patient``.
    ``start`` is the time of day at which it starts.
    """

    key: str
    split: str
    patient: str
    seed: int
    records: int
    record_s: Fraction
    channels: tuple[Channel, ...]
    seizures: tuple[Seizure, ...]
    annotations: tuple[tuple[str, bytes], ...]
    year: int
    start: time = time(0)

    @property
    def duration_s(self) -> float:
        """Duration of the signal in seconds."""
        return float(self.records * self.record_s)


def random_source(seed: int, *names: str) -> np.random.Generator:
    """A random generator that depends only on ``seed`` and ``names``, in any process."""
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return np.random.default_rng(np.random.SeedSequence([seed, int.from_bytes(digest[:8])]))


def patient_focus(seed: int, patient: str) -> str:
    """Electrode at which the seizures of a patient start; empty for generalized seizures."""
    rng = random_source(seed, "focus", patient)
    return "" if rng.random() < 0.4 else str(rng.choice(FOCI))


def plan_corpus(
    recordings: int,
    hours: float,
    seed: int,
    further_every_s: float | None = FURTHER_EVERY_S,
    *,
    bipolar: bool = False,
) -> list[RecordingPlan]:
    """Plan a corpus of ``recordings`` recordings with ``hours`` hours in total.

    A recording with seizures has one, plus one for every ``further_every_s`` seconds on average;
    None adds none. ``bipolar`` recordings have derivations instead of electrodes. Raises
    :class:`BrainbrrError` for values out of range.
    """
    _check(recordings, hours, seed)
    if further_every_s is not None and not further_every_s > 0:
        raise BrainbrrError(f"further seizures every {further_every_s:g} s: give more than 0")
    rng = random_source(seed, "corpus", str(recordings), repr(float(hours)))
    durations = _durations(rng, recordings, hours)
    plans: list[RecordingPlan] = []
    patients = sessions = 0
    for split, count in zip(SPLITS, _split_sizes(recordings), strict=True):
        for number, size in enumerate(_patient_sizes(count, 2 if recordings >= 12 else 1)):
            patients += 1
            patient = patient_name(patients)
            ictal = _ictal_flags(rng, size, first=number == 0)
            for position, (session, token) in enumerate(_sessions(rng, size)):
                sessions += token == 0
                year = 2011 + session
                montage = MONTAGES[(0, 0, 2, 0, 1, 0, 0, 2)[sessions % 8]]
                key = (
                    f"{split}/{patient}/s{session:03d}_{year}/{montage}/"
                    f"{patient}_s{session:03d}_t{token:03d}"
                )
                plans.append(
                    _plan_recording(
                        key,
                        seed,
                        len(plans),
                        durations[len(plans)],
                        ictal[position],
                        further_every_s,
                        year,
                    )
                )
    if bipolar:
        # The first channel is an electrode; records last 1 s.
        return [
            replace(plan, channels=bipolar_channels(plan.channels[0].samples)) for plan in plans
        ]
    return plans


def summarize(plans: list[RecordingPlan]) -> CorpusSummary:
    """Count the contents of ``plans``."""
    has_splits = any(plan.split for plan in plans)
    splits = {split: sum(plan.split == split for plan in plans) for split in SPLITS}
    return CorpusSummary(
        recordings=len(plans),
        patients=len({plan.patient for plan in plans}),
        hours=sum(plan.duration_s for plan in plans) / 3600,
        seizures=sum(len(plan.seizures) for plan in plans),
        ictal_hours=sum(
            seizure_seconds(Event(s.start, s.stop) for s in plan.seizures) for plan in plans
        )
        / 3600,
        splits=splits if has_splits else {},
    )


def check_seed(seed: int) -> None:
    """Raise :class:`BrainbrrError` for a negative seed."""
    if seed < 0:
        raise BrainbrrError(f"seed {seed} is negative; give 0 or more")


def _check(recordings: int, hours: float, seed: int) -> None:
    check_seed(seed)
    if not len(SPLITS) <= recordings <= MAX_RECORDINGS:
        raise BrainbrrError(
            f"{recordings} recordings cannot fill train, dev and eval; "
            f"give between {len(SPLITS)} and {MAX_RECORDINGS}"
        )
    low, high = (recordings * s / 3600 for s in (MIN_RECORDING_S, MAX_MEAN_RECORDING_S))
    if not math.isfinite(hours) or not low <= hours <= high:
        raise BrainbrrError(
            f"{hours:g} hours in {recordings} recordings would make them shorter than "
            f"{MIN_RECORDING_S} s or longer than {MAX_MEAN_RECORDING_S} s on average; "
            f"give between {low:.4g} and {high:.4g} hours"
        )


def _durations(rng: np.random.Generator, recordings: int, hours: float) -> list[int]:
    """Whole seconds within 30 % of the mean, in pairs above and below it to keep the total."""
    mean = hours * 3600 / recordings
    spread = min(0.3, 1 - MIN_RECORDING_S / mean)
    above = rng.uniform(0, spread, recordings // 2)
    factors = np.concatenate([1 + above, 1 - above, np.ones(recordings % 2)])
    ends = np.rint(np.cumsum(mean * rng.permutation(factors)))
    return [max(MIN_RECORDING_S, int(s)) for s in np.diff(ends, prepend=0.0)]


def _split_sizes(recordings: int) -> tuple[int, int, int]:
    fifth = math.ceil(recordings / 5)
    return recordings - 2 * fifth, fifth, fifth


def _patient_sizes(count: int, least: int) -> list[int]:
    """Number of recordings of each patient: two to four, fewer in a small split."""
    patients = min(count, max(least, round(count / 3)))
    return [count // patients + (number < count % patients) for number in range(patients)]


def patient_name(number: int) -> str:
    """Eight letters that name a patient of a synthetic corpus."""
    letters = []
    for _ in range(8):
        number, letter = divmod(number, 26)
        letters.append(chr(ord("a") + letter))
    return "".join(reversed(letters))


def _ictal_flags(rng: np.random.Generator, size: int, *, first: bool) -> list[bool]:
    """Which recordings of a patient have seizures.

    The ``first`` patient of a split ensures that the split has both kinds: the first recording has
    a seizure and the last does not, unless there is only one.
    """
    has_seizures = first or rng.random() < 0.8
    flags = [has_seizures and (n == 0 or rng.random() < 0.65) for n in range(size)]
    if first and size > 1:
        flags[-1] = False
    return flags


def _sessions(rng: np.random.Generator, size: int) -> list[tuple[int, int]]:
    """Session and token number of each recording of a patient, in up to two sessions."""
    first = int(rng.integers(1, size + 1))
    return [(1, token) for token in range(first)] + [(2, token) for token in range(size - first)]


def _plan_recording(
    key: str,
    seed: int,
    index: int,
    duration_s: int,
    ictal: bool,
    further_every_s: float | None,
    year: int,
) -> RecordingPlan:
    rng = random_source(seed, "plan", key)
    split, patient, _, montage, name = key.split("/")
    midline = index % 12 != 7
    channels = synthetic_channels(
        montage,
        RATES_HZ[index % len(RATES_HZ)],
        midline=midline,
        open_inputs=int(rng.integers(0 if midline else 2, 7)),
        sphenoidal=bool(rng.random() < 0.6) or not midline,
        trends=bool(rng.random() < 0.7),
    )
    seizures: tuple[Seizure, ...] = ()
    if ictal:
        focus = patient_focus(seed, patient)
        seizures = _seizures(rng, duration_s, further_every_s, focus)
    return RecordingPlan(
        key=key,
        split=split,
        patient=patient,
        seed=seed,
        records=duration_s,
        record_s=Fraction(1),
        channels=channels,
        seizures=seizures,
        annotations=_annotation_files(name, montage, duration_s, seizures),
        year=year,
    )


def _seizures(
    rng: np.random.Generator, duration_s: int, further_every_s: float | None, focus: str
) -> tuple[Seizure, ...]:
    """At least one seizure; more only up to a third of the recording in total."""
    longest = max(12.0, min(120.0, 0.3 * duration_s))
    shortest = max(12.0, min(15.0, 0.7 * longest))
    wanted = 1
    if further_every_s is not None:
        wanted += int(rng.poisson(duration_s / further_every_s))
    lengths: list[float] = []
    for _ in range(wanted):
        length = math.exp(rng.uniform(math.log(shortest), math.log(longest)))
        if not lengths or math.fsum(lengths) + length <= duration_s / 3:
            lengths.append(length)
    free = duration_s - 2 * _MARGIN_S - math.fsum(lengths) - _GAP_S * (len(lengths) - 1)
    seizures, position, used = [], _MARGIN_S, 0.0
    for length, offset in zip(lengths, np.sort(rng.uniform(0, free, len(lengths))), strict=True):
        start = position + float(offset) - used
        seizures.append(Seizure(round(start, 4), round(start + length, 4), focus))
        position, used = start + length + _GAP_S, float(offset)
    return tuple(seizures)


def _annotation_files(
    name: str, montage: str, duration_s: int, seizures: tuple[Seizure, ...]
) -> tuple[tuple[str, bytes], ...]:
    pairs = tcp_channels(montage)
    whole = [Event(s.start, s.stop) for s in seizures]
    rows: list[Event] = []
    for seizure in seizures:
        rows.extend(_rows_with_types(seizure, pairs))
    rows = rows or [Event(0.0, float(duration_s), BACKGROUND, 1.0, pairs)]
    return (
        (".csv_bi", tuh.format_csv_bi(whole, duration_s, name).encode()),
        (".csv", tuh.format_csv(rows, duration_s, name).encode()),
    )


def _rows_with_types(seizure: Seizure, pairs: tuple[str, ...]) -> list[Event]:
    """Rows of the per-channel file: a focal seizure reaches the ring later than the core."""
    if not seizure.focus:
        return [Event(seizure.start, seizure.stop, GENERALIZED, 1.0, pairs)]
    core = touching(pairs, within(seizure.focus, CORE_REACH))
    ring = touching(pairs, within(seizure.focus, RING_REACH))
    ring_start = round(seizure.start + RING_ONSET * (seizure.stop - seizure.start), 4)
    rows = [Event(seizure.start, seizure.stop, FOCAL, 1.0, core)]
    later = tuple(pair for pair in ring if pair not in core)
    if later:
        rows.append(Event(ring_start, seizure.stop, FOCAL, 1.0, later))
    return rows
