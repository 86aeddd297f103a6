"""Events as an EDF+ file without signals, which viewers show on top of the recording.

It has one annotation for each event, with its confidence in the text, and the standard text
"Recording ends" at the end of the recording. (EDF+ specification, 2003, section 2.2 and its list of
standard texts.)
"""

from __future__ import annotations

import datetime

from brainbrr_core.annotation.events import Event
from brainbrr_core.annotation.times import duration_to

ENDS = "Recording ends"
TEXTS = {"seiz": "Seizure"}


def format_edf_plus(
    events: list[Event], duration_s: float, start: datetime.datetime | None
) -> bytes:
    """Bytes of an EDF+C file with the events; it does not name a patient.

    ``start`` is that of the recording, None where it is unknown. Times are exact to the picosecond,
    the resolution of the library that writes them.
    """
    import edfio

    annotations = [
        edfio.EdfAnnotation(
            event.start,
            duration_to(event.start, event.stop),
            f"{TEXTS.get(event.label, event.label)}, confidence {event.confidence:.4f}",
        )
        for event in sorted(events)
    ]
    edf = edfio.Edf(
        [],
        recording=edfio.Recording(startdate=start.date()) if start else None,
        starttime=start.time() if start else None,
        annotations=[*annotations, edfio.EdfAnnotation(duration_s, None, ENDS)],
    )
    return edf.to_bytes()
