"""The SzCORE rule, sample-based and event-based, by the timescoring library.

Dan et al., "SzCORE: seizure community open-source research evaluation framework for the validation
of electroencephalography-based automated seizure detection algorithms", Epilepsia 66, Suppl. 3
(online 2024); library timescoring 0.0.7.

What the library leaves to its caller is done here:

- events are cut at the recording's ends, sorted and made disjoint, background rows dropped;
- its comparisons are in floating point: 100.2 to 190.2 s would be a gap below 90 s, and
  212.2 to 512.2 s an event longer than 300 s. Times are taken to 0.1 ms (the resolution of
  TUSZ's annotations) and both limits are moved by a hundredth of that, so that a gap of exactly
  90 s is not merged and an event of exactly 300 s is not split;
- a hypothesis too short to cover a sample of the 10 Hz grid is dropped: the library would call
  it false even in the middle of a seizure;
- a hypothesis of another length than its recording is an error.

How unknown time is treated is described in :mod:`brainbrr_core.scoring.unknown`.

Recordings without seizures count because of their false positives. Events keep their times until
they are sampled on the library's grid of 10 Hz; the program behind SzCORE's leaderboard first
samples them at 1 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass

from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring, SampleScoring

from brainbrr_core.annotation import Event
from brainbrr_core.scoring.counts import Counts
from brainbrr_core.scoring.recording import (
    RecordingEvents,
    check_duration,
    check_hypothesis_duration,
    scored_events,
)
from brainbrr_core.scoring.unknown import UnknownTime

SAMPLE_HZ = 1
EVENT_HZ = 10
TOLERANCE_BEFORE_S = 30.0
TOLERANCE_AFTER_S = 60.0
MERGE_BELOW_S = 90.0
SPLIT_ABOVE_S = 300.0
TIME_DECIMALS = 4
_FLOAT_MARGIN_S = 1e-6
#: The limits as they are given to the library.
SPLIT_MARGIN_S = SPLIT_ABOVE_S + _FLOAT_MARGIN_S
MERGE_MARGIN_S = MERGE_BELOW_S - _FLOAT_MARGIN_S
Pairs = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class SzcoreCounts:
    """Counts of one recording under SzCORE's rules.

    Attributes
    ----------
    event : Counts
        Events, merged and split as SzCORE does.
    sample : Counts
        Seconds.
    """

    event: Counts
    sample: Counts


def score_recording(recording: RecordingEvents) -> SzcoreCounts:
    """Count the events and the seconds of one recording under SzCORE's rules.

    Parameters
    ----------
    recording : RecordingEvents
        What was annotated and what was detected, in seconds.

    Returns
    -------
    SzcoreCounts
        Events (on a grid of 10 Hz, merged below gaps of 90 s, split above 300 s, with a tolerance
        of 30 s before and 60 s after a reference), and seconds (on a grid of 1 Hz).

    Raises
    ------
    BrainbrrError
        For a recording without length, for times that are not finite or run backwards, and where
        the hypothesis has another length than the recording.
    """
    reference, hypothesis, unknown = _events(recording)
    events_samples = grid_samples(recording.duration_s, EVENT_HZ)
    event = EventScoring(
        Annotation(reference, EVENT_HZ, events_samples),
        Annotation(hypothesis, EVENT_HZ, events_samples),
        EventScoring.Parameters(
            toleranceStart=TOLERANCE_BEFORE_S,
            toleranceEnd=TOLERANCE_AFTER_S,
            minOverlap=0,
            maxEventDuration=SPLIT_MARGIN_S,
            minDurationBetweenEvents=MERGE_MARGIN_S,
        ),
    )
    samples = grid_samples(recording.duration_s, SAMPLE_HZ)
    sample = SampleScoring(
        Annotation(reference, SAMPLE_HZ, samples),
        Annotation(hypothesis, SAMPLE_HZ, samples),
        fs=SAMPLE_HZ,
    )
    if unknown:
        return SzcoreCounts(
            _known_events(event, recording, unknown), _known_samples(sample, unknown)
        )
    return SzcoreCounts(_counts(event), _counts(sample))


def _events(recording: RecordingEvents) -> tuple[Pairs, Pairs, UnknownTime]:
    """Reference and hypothesis in the form that the library takes, and the unknown time."""
    check_duration(recording)
    check_hypothesis_duration(recording, 1 / EVENT_HZ)
    reference, detected, unknown = scored_events(recording)
    hypothesis = [pair for pair in _pairs(detected) if _tenths(pair)[1] > _tenths(pair)[0]]
    return _pairs(reference), hypothesis, unknown


def _known_events(score: EventScoring, recording: RecordingEvents, unknown: UnknownTime) -> Counts:
    """The library's counts of events, without the false pieces that unknown time leaves out."""
    annotated, _, _ = scored_events(recording, touching=False)
    left_out = unknown.leaves_out(
        score.hyp.events, [(event.start, event.stop) for event in annotated]
    )
    false = sum(
        not out and not score.tpMask[slice(*_tenths(piece))].any()
        for piece, out in zip(score.hyp.events, left_out, strict=True)
    )
    seconds = unknown.known_seconds(score.numSamples / score.fs)
    return Counts(float(score.refTrue), float(score.tp), float(false), seconds)


def _known_samples(score: SampleScoring, unknown: UnknownTime) -> Counts:
    """The library's counts of seconds outside unknown time."""
    known_mask = unknown.known_seconds_mask(score.numSamples)
    return Counts(
        float((score.ref.mask & known_mask).sum()),
        float((score.tpMask & known_mask).sum()),
        float((score.fpMask & known_mask).sum()),
        float(known_mask.sum()) / score.fs,
    )


def grid_samples(duration_s: float, rate_hz: int) -> int:
    """Number of samples of a grid: at least one, because the library divides by it."""
    return max(1, round(duration_s * rate_hz))


def _pairs(events: list[Event]) -> Pairs:
    return [
        (round(event.start, TIME_DECIMALS), round(event.stop, TIME_DECIMALS)) for event in events
    ]


def _counts(score: EventScoring | SampleScoring) -> Counts:
    return Counts(
        float(score.refTrue), float(score.tp), float(score.fp), score.numSamples / score.fs
    )


def _tenths(pair: tuple[float, float]) -> tuple[int, int]:
    return round(pair[0] * EVENT_HZ), round(pair[1] * EVENT_HZ)
