"""Colors of events by their label, the same in the page and in the picture."""

from __future__ import annotations

from collections.abc import Iterable

from brainbrr_core.annotation import UNKNOWN, Event
from brainbrr_core.display.colors import GRAY, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION

_SEIZURES = (VERMILLION, PURPLE, GREEN, SKY_BLUE, ORANGE)


def event_colors(events: Iterable[Event]) -> dict[str, str]:
    """A color for each label, assigned in alphabetical order; a sixth label repeats the first.

    Intervals that are neither seizure nor background (``UNKNOWN``) are gray.
    """
    labels = {event.label for event in events}
    seizures = sorted(labels - {UNKNOWN})
    colors = {label: _SEIZURES[n % len(_SEIZURES)] for n, label in enumerate(seizures)}
    return colors | dict.fromkeys(labels & {UNKNOWN}, GRAY)
