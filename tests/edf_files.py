"""Small EDFs, good ones and ones broken in one way each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import edfio
import numpy as np

from brainbrr_core.signal.montage import CHANNELS


def write_edf(
    path: Path,
    *,
    labels: Sequence[str] | None = None,
    rate: float = 256,
    seconds: float = 12,
    unit: str = "uV",
    scale: float = 1.0,
    rates: dict[str, float] | None = None,
    patient: str = "",
    seed: int = 0,
) -> Path:
    """Write noise of 20 µV in the named channels (the 19 wanted ones by default)."""
    rng = np.random.default_rng(seed)
    names = labels or [f"EEG {name.upper()}-REF" for name in CHANNELS]
    signals = []
    for name in names:
        own = (rates or {}).get(name, rate)
        data = 20 * scale * rng.standard_normal(int(own * seconds)).clip(-5, 5)
        signals.append(
            edfio.EdfSignal(
                data,
                own,
                label=name,
                physical_dimension=unit,
                physical_range=(-200 * scale, 200 * scale),
            )
        )
    edf = edfio.Edf(signals, data_record_duration=1)
    if patient:
        edf.patient = edfio.Patient(name=patient, code="MRN0042")
    path.parent.mkdir(parents=True, exist_ok=True)
    edf.write(path)
    return path


def patch(path: Path, offset: int, field: bytes, width: int) -> None:
    """Overwrite one header field, padded with blanks."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(field.ljust(width))


def patch_signal(path: Path, column: int, width: int, index: int, field: bytes) -> None:
    """Overwrite a field of signal ``index``; ``column`` is its offset per signal."""
    with path.open("rb") as file:
        signals = int(file.read(256)[252:])
    patch(path, 256 + column * signals + width * index, field, width)


def cut(path: Path, keep: Callable[[int], int]) -> None:
    """Keep the first ``keep(size)`` bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: keep(len(content))])
