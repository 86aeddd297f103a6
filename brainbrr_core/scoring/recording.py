"""The reference and the hypothesis of one recording, and their preparation for the rules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event, merge_overlapping
from brainbrr_core.constants import BACKGROUND
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.scoring.unknown import UnknownTime


@dataclass(frozen=True, slots=True)
class RecordingEvents:
    """What was annotated and what was detected in one recording.

    Parameters
    ----------
    subject : str
        The patient. Confidence intervals are over patients.
    duration_s : float
        Length of the recording in seconds.
    reference, hypothesis : tuple of Event
        Annotated and detected events, times in seconds, in any order. Those with the label ``bckg``
        are left out.
    name : str
        Name of the recording in messages.
    hypothesis_duration_s : float, optional
        Length of the recording according to the hypothesis, where it states one (a file written
        by another program).
    unknown : tuple of (float, float)
        Intervals, start and stop in seconds, that are neither seizure nor background. They are
        not counted, and a detection that overlaps no seizure is left out where at least half of
        it lies in them.
    """

    subject: str
    duration_s: float
    reference: tuple[Event, ...]
    hypothesis: tuple[Event, ...]
    name: str = ""
    hypothesis_duration_s: float | None = None
    unknown: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRecording:
    """What was annotated in one recording, and the scores that a detector gave it.

    Parameters
    ----------
    patient : str
        The patient.
    duration_s : float
        Length of the recording in seconds.
    reference : tuple of Event
        Annotated seizures, times in seconds.
    scores_8hz : array of float32, shape (ceil(duration_s * 8),)
        A score for each frame of 1/8 s; a network's are logits.
    unknown : tuple of (float, float)
        Intervals, start and stop in seconds, that are neither seizure nor background.
    hypothesis : tuple of Event
        Detected events; empty until an operating point is chosen.
    partition_key, montage : str
        Name of the recording in the store, and its electrode montage; empty if not needed.
    corpus : str
        Name of its corpus, where there are several; otherwise empty.
    """

    patient: str
    duration_s: float
    reference: tuple[Event, ...]
    scores_8hz: NDArray[np.float32]
    unknown: tuple[tuple[float, float], ...] = ()
    hypothesis: tuple[Event, ...] = ()
    partition_key: str = ""
    montage: str = ""
    corpus: str = ""

    @property
    def events(self) -> RecordingEvents:
        """The recording without its scores, as the rules take it."""
        return RecordingEvents(
            self.patient,
            self.duration_s,
            self.reference,
            self.hypothesis,
            self.partition_key,
            unknown=self.unknown,
        )


def seizures(events: Iterable[Event], where: str) -> list[Event]:
    """Sort events, and drop background and events without a duration.

    The times of the others do not change. Raises :class:`BrainbrrError` for a
    time that is not finite or an event that ends before it starts; ``where`` names the
    recording in the message.
    """
    ordered = sorted(event for event in events if event.label != BACKGROUND)
    for event in ordered:
        if not (math.isfinite(event.start) and math.isfinite(event.stop)):
            raise BrainbrrError(f"{where}: an event's time is not finite: correct its annotation")
        if event.stop < event.start:
            raise BrainbrrError(
                f"{where}: the event from {event.start:g} to {event.stop:g} s ends before it "
                "starts: correct its annotation"
            )
    return [event for event in ordered if event.stop > event.start]


def normalize_events(
    events: Iterable[Event], duration_s: float, where: str, *, touching: bool = True
) -> list[Event]:
    """Cut seizures at the recording's ends, sort them, and merge those that overlap.

    With ``touching``, those that touch are merged, too. Seizures outside the recording are dropped.
    Raises as :func:`seizures`.
    """
    within = [
        Event(max(event.start, 0.0), min(event.stop, duration_s), event.label, event.confidence)
        for event in seizures(events, where)
    ]
    return merge_overlapping(
        (event for event in within if event.stop > event.start), touching=touching
    )


def scored_events(
    recording: RecordingEvents, *, touching: bool = True
) -> tuple[list[Event], list[Event], UnknownTime]:
    """Reference, hypothesis and unknown time of a recording, ready to be scored.

    Both are prepared by :func:`normalize_events`. Detections that unknown time leaves out are not
    in the hypothesis. Raises as :func:`normalize_events`.
    """
    where, end = recording.name or recording.subject, recording.duration_s
    reference = normalize_events(recording.reference, end, where, touching=touching)
    unknown = UnknownTime.of(recording.unknown, reference, end)
    if not unknown:
        return (
            reference,
            normalize_events(recording.hypothesis, end, where, touching=touching),
            unknown,
        )
    # Each detection is judged by itself, even if it is merged with one that touches it afterwards.
    separate = normalize_events(recording.hypothesis, end, where, touching=False)
    scored = unknown.scored(separate, reference)
    return reference, merge_overlapping(scored, touching=touching), unknown


def check_duration(recording: RecordingEvents) -> None:
    """Raise :class:`BrainbrrError` where the recording's length is not a positive number."""
    if not (math.isfinite(recording.duration_s) and recording.duration_s > 0):
        raise BrainbrrError(
            f"{recording.name or recording.subject}: a recording of {recording.duration_s:g} s "
            "cannot be scored: leave it out"
        )


def check_hypothesis_duration(recording: RecordingEvents, tolerance_s: float = 0.1) -> None:
    """Raise :class:`BrainbrrError` where the hypothesis states another length."""
    given = recording.hypothesis_duration_s
    if given is not None and abs(given - recording.duration_s) >= tolerance_s:
        raise BrainbrrError(
            f"{recording.name or recording.subject}: the hypothesis is {given:g} s long, the "
            f"recording {recording.duration_s:g} s: detect seizures in this recording again"
        )
