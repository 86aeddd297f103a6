"""Planning a copy of a corpus in the layout in which it is published, such as that of CHB-MIT.

A plan has the file names, channels, rates, ranges, durations and seizures of the original, whose
annotation files are copied. Free text of a header is never read into a plan.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from datetime import time
from fractions import Fraction
from pathlib import Path

from brainbrr_core.annotation import UNKNOWN
from brainbrr_core.corpus.layouts.base import Layout, RecordingFile, RecordingLabels
from brainbrr_core.corpus.layouts.known import detect_layout
from brainbrr_core.corpus.layouts.tusz import TuszLayout
from brainbrr_core.edf.reader import recording_start
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.regular import read_bytes
from brainbrr_core.progress import progress
from brainbrr_core.synthesis.plan import RecordingPlan, Seizure, patient_focus
from brainbrr_core.synthesis.template import YEAR, read_channels, record_length

#: Seconds for which a recording goes on after its last seizure, if nothing gives its duration.
_AFTER_S = 60
#: Longest recording in seconds that annotations are read for.
_LONGEST_S = 86_400.0


def published_layout(like: Path) -> Layout | None:
    """The layout of a corpus that is recognized; None for that of TUSZ and for other folders."""
    layout = detect_layout(like)
    return None if isinstance(layout, TuszLayout) else layout


def plan_published(layout: Layout, seed: int) -> tuple[list[RecordingPlan], dict[str, bytes], str]:
    """Plan a copy of every recording of a layout.

    Also the annotation files, by their paths below the root, and a digest of what was read. A copy
    lasts as long as the annotations say, otherwise as long as its EDF, or until a minute after its
    last seizure if that is later.

    Raises :class:`BrainbrrError` where there is no recording, or one without a readable header.
    """
    files = sorted(layout.recordings(), key=lambda file: file.partition_key)
    if not files:
        raise BrainbrrError(f"no EDF below {layout.root}; give the folder of a corpus")
    plans = []
    with progress("reading headers", len(files), "recordings") as bar:
        for file in files:
            plans.append(_plan(layout, file, seed))
            bar.advance()
    companions = _companions(layout, files)
    content = [*map(repr, plans), *(f"{name} {text!r}" for name, text in companions.items())]
    digest = hashlib.sha256("\n".join(content).encode()).hexdigest()
    return plans, companions, digest


def _companions(layout: Layout, files: list[RecordingFile]) -> dict[str, bytes]:
    companions: dict[str, bytes] = {}
    for file in files:
        for path in file.companions:
            name = path.relative_to(layout.root).as_posix()
            if name not in companions:
                try:
                    companions[name] = read_bytes(path)
                except OSError as error:
                    raise BrainbrrError(f"{path} cannot be read ({error.strerror})") from None
    return dict(sorted(companions.items()))


def _plan(layout: Layout, file: RecordingFile, seed: int) -> RecordingPlan:
    channels, usual_s, own_s = read_channels(file.path)
    start = recording_start(file.path) if layout.has_clock_times else None
    labels = layout.read_labels(file, _LONGEST_S, start)
    duration_s = _duration(labels, own_s)
    rates = [channel.samples / usual_s for channel in channels]
    record_s = record_length(duration_s, rates, usual_s)
    records = max(1, math.ceil(duration_s / record_s))
    end = float(records * record_s)
    focus = patient_focus(seed, file.patient)
    return RecordingPlan(
        key=file.partition_key,
        split=file.split or "",
        patient=file.patient,
        seed=seed,
        records=records,
        record_s=record_s,
        channels=tuple(
            replace(channel, samples=int(rate * record_s))
            for channel, rate in zip(channels, rates, strict=True)
        ),
        seizures=tuple(
            Seizure(event.start, min(event.stop, end), focus)
            for event in labels.events
            if event.label != UNKNOWN and event.start < min(event.stop, end)
        ),
        annotations=(),
        year=YEAR,
        # Annotations with clock times count from the start.
        start=time(0) if start is None else start.time(),
    )


def _duration(labels: RecordingLabels, own_s: Fraction) -> Fraction:
    if labels.duration_s is not None:
        return Fraction(str(labels.duration_s))
    # A seizure without an end reaches to the end of the recording, which is not known yet.
    reached = max(
        (event.start if event.stop >= _LONGEST_S else event.stop for event in labels.events),
        default=0.0,
    )
    return own_s if reached <= own_s else Fraction(math.ceil(reached) + _AFTER_S)
