"""Event counts of one recording under SzCORE's event rule and OVLP, for thousands of hypotheses.

A sweep scores every recording at hundreds of thresholds. What depends on the reference is worked
out once here; a hypothesis then costs microseconds. SzCORE's figures themselves come from the
timescoring library (:mod:`brainbrr_core.scoring.szcore`), whose comparisons are followed to the
rounding, so that both agree on every input; OVLP's from :mod:`brainbrr_core.scoring.nedc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brainbrr_core.annotation import Event
from brainbrr_core.scoring.recording import normalised
from brainbrr_core.scoring.szcore import (
    EVENT_HZ,
    MERGE_MARGIN_S,
    SPLIT_MARGIN_S,
    TIME_DECIMALS,
    TOLERANCE_AFTER_S,
    TOLERANCE_BEFORE_S,
    grid_samples,
)
from brainbrr_core.scoring.unknown import Span, UnknownTime, overlapped


class EventCounter:
    """Counts hypotheses against the reference of one recording.

    ``szcore_reference`` and ``ovlp_reference`` are its events under the two rules,
    ``szcore_seconds`` and ``ovlp_seconds`` the length that counts: SzCORE's is that of its grid,
    and neither has what lies in ``unknown``. Raises :class:`BrainbrrError` for a reference whose
    times are not finite or run backwards.
    """

    def __init__(
        self,
        reference: Iterable[Event],
        duration_s: float,
        where: str = "",
        unknown: Sequence[Span] = (),
    ) -> None:
        events = list(reference)
        samples = grid_samples(duration_s, EVENT_HZ)
        joined = normalised(events, duration_s, where)
        pieces = _pieces(
            (round(event.start, TIME_DECIMALS), round(event.stop, TIME_DECIMALS))
            for event in joined
        )
        length_s = samples / EVENT_HZ
        extended = [
            _on_grid(max(0.0, start - TOLERANCE_BEFORE_S), min(length_s, stop + TOLERANCE_AFTER_S))
            for start, stop in pieces
        ]
        self._extended = extended
        self._joined = [(event.start, event.stop) for event in joined]
        self.szcore_reference = len(pieces)
        self.ovlp_reference = len(joined)
        time = UnknownTime.of(unknown, joined, duration_s)
        self._unknown = time if time else None
        self.szcore_seconds = time.known_seconds(length_s)
        self.ovlp_seconds = time.known_seconds(duration_s)

    def count(self, hypothesis: Sequence[Span]) -> tuple[int, int, int, int]:
        """Detected and false events of SzCORE's rule, then hits and false alarms of OVLP.

        ``hypothesis`` is sorted and disjoint and lies within the recording.
        """
        events = _joined(hypothesis)
        if self._unknown is not None:
            left_out = self._unknown.leaves_out(events, self._joined)
            events = [span for span, without in zip(events, left_out, strict=True) if not without]
        covering = [
            (round(start, TIME_DECIMALS), round(stop, TIME_DECIMALS))
            for start, stop in events
            if round(round(stop, TIME_DECIMALS) * EVENT_HZ)
            > round(round(start, TIME_DECIMALS) * EVENT_HZ)
        ]
        whole = _pieces(covering)
        pieces = [_on_grid(*piece) for piece in whole]
        found = overlapped(self._extended, [piece for piece in pieces if piece[1] > piece[0]])
        detected = [ref for ref, hit in zip(self._extended, found, strict=True) if hit]
        true = overlapped(pieces, detected)
        false = len(true) - sum(true)
        if self._unknown is not None and false:
            left_out = self._unknown.leaves_out(whole, self._joined)
            false -= sum(out and not hit for out, hit in zip(left_out, true, strict=True))
        hits = overlapped(self._joined, events)
        alarms = overlapped(events, self._joined)
        return len(detected), false, sum(hits), len(alarms) - sum(alarms)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans of which those that touch are one."""
    joined: list[Span] = []
    for start, stop in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined


def _pieces(spans: Iterable[Span]) -> list[Span]:
    """Spans merged and split as SzCORE does."""
    merged: list[Span] = []
    for start, stop in spans:
        if merged and start - merged[-1][1] < MERGE_MARGIN_S:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    pieces: list[Span] = []
    for start, stop in merged:
        while stop - start > SPLIT_MARGIN_S:
            pieces.append((start, start + SPLIT_MARGIN_S))
            start += SPLIT_MARGIN_S
        pieces.append((start, stop))
    return pieces


def _on_grid(start: float, stop: float) -> tuple[int, int]:
    return round(start * EVENT_HZ), round(stop * EVENT_HZ)
