"""Writing one recording: its annotation files, then its EDF.

Each file is written under a temporary name, flushed to disk and renamed. The EDF comes last, so a
recording whose EDF exists is complete.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.errors import cannot_write
from brainbrr_core.files.atomic import flush
from brainbrr_core.synthesis.plan import RecordingPlan

TEMPORARY = ".unfinished"
#: Gives the digital samples of each channel of a plan.
Renderer = Callable[[RecordingPlan], list[NDArray[np.int16]]]


def edf_path(root: Path, plan: RecordingPlan) -> Path:
    """Path of the EDF of a plan below ``root``, the folder of the splits."""
    folder, _, name = plan.key.rpartition("/")
    return root / folder / f"{name}.edf"


def write_recording(root: Path, render: Renderer | None, plan: RecordingPlan) -> str:
    """Write the files of a plan below ``root``; returns its key.

    The EDF is EDF+C with an anonymous header. Its bytes depend only on the plan and on ``render``,
    which is this package's own where it is None.
    """
    path = edf_path(root, plan)
    for suffix, content in plan.annotations:
        write_file(path.with_suffix(suffix), content)
    write_file(path, _edf(plan, render))
    flush(path.parent)
    return plan.key


def write_file(path: Path, content: bytes) -> None:
    """Write a file of a corpus, whole or not at all.

    Raises :class:`BrainbrrError` where it cannot be written, and :class:`WorkRemains` where the
    disk is full.
    """
    unfinished = path.with_name(path.name + TEMPORARY)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        flush(unfinished)
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise cannot_write(path, error) from None


def _exact_range(physical: tuple[float, float]) -> tuple[float, float]:
    """A range for which edfio writes exactly ``physical`` into the header.

    edfio rounds a range outwards to eight characters, after a multiplication whose error turns
    -4999.85 into -4999.86. A range that is smaller by a trillionth is rounded back to the original.
    """
    low, high = physical
    return low + abs(low) * 1e-12, high - abs(high) * 1e-12


def _edf(plan: RecordingPlan, render: Renderer | None) -> bytes:
    from edfio import Edf, EdfSignal, Recording

    if render is None:
        from brainbrr_core.synthesis.rendering import render as render_here

        render = render_here
    record_s = float(plan.record_s)
    signals = [
        EdfSignal.from_digital(
            digital,
            channel.samples / record_s,
            label=channel.label,
            physical_dimension=channel.dimension,
            physical_range=_exact_range(channel.physical),
            digital_range=channel.digital,
            prefiltering="HP:0.000 Hz LP:0.0 Hz N:0.0",
        )
        for channel, digital in zip(plan.channels, render(plan), strict=True)
    ]
    edf = Edf(
        signals,
        recording=Recording(startdate=datetime.date(plan.year, 1, 1)),
        starttime=plan.start,
        data_record_duration=record_s,
        annotations=(),
    )
    # A file that edfio itself writes fails without the reason where the disk has no room for it.
    content = io.BytesIO()
    edf.write(content)
    return content.getvalue()
