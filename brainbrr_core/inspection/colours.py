"""Colours of events by their label, the same in the page and in the picture."""

from __future__ import annotations

from collections.abc import Iterable

from brainbrr_core.annotation import UNKNOWN, Event

#: Okabe and Ito (2008), without those of the signals; they stay apart for the colour-blind.
_SEIZURE = ("#D55E00", "#CC79A7", "#009E73", "#56B4E9", "#E69F00")
_UNKNOWN = "#999999"


def event_colours(events: Iterable[Event]) -> dict[str, str]:
    """A colour for each label, in the order of their names; more than five begin again.

    What nobody can say is gray.
    """
    labels = {event.label for event in events}
    seizures = sorted(labels - {UNKNOWN})
    colours = {label: _SEIZURE[n % len(_SEIZURE)] for n, label in enumerate(seizures)}
    return colours | dict.fromkeys(labels & {UNKNOWN}, _UNKNOWN)
