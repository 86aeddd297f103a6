"""EDFs with given signals: referential ones, and the same recording as bipolar derivations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import edfio
import numpy as np
from numpy.typing import NDArray

from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA
from tests.support.signal_reference import synthetic_eeg

_OLD = {"T7": "T3", "P7": "T5", "T8": "T4", "P8": "T6"}
#: The two electrodes of each derivation, by the names of the 19.
ELECTRODES_OF = {
    name: tuple(_OLD.get(part, part) for part in name.split("-")) for name in DOUBLE_BANANA
}
#: The labels of CHB-MIT's files: a derivation in both directions, and one twice.
CHBMIT_LABELS = (
    *("FP1-F7", "F7-T7", "T7-P7", "P7-O1", "FP1-F3", "F3-C3", "C3-P3", "P3-O1"),
    *("FP2-F4", "F4-C4", "C4-P4", "P4-O2", "FP2-F8", "F8-T8", "T8-P8", "P8-O2"),
    *("FZ-CZ", "CZ-PZ", "P7-T7", "T7-FT9", "FT9-FT10", "FT10-T8", "T8-P8"),
)
_RANGE = (-3276.8, 3276.7)


def write_signals(
    path: Path,
    signals: Mapping[str, NDArray[np.floating]] | Sequence[tuple[str, NDArray[np.floating]]],
    rate: float,
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> tuple[Path, dict[str, NDArray[np.float64]]]:
    """Write signals in µV; returns also what the file holds, in µV, by label.

    A range whose first value is the larger one turns the polarity round: so does the file.
    """
    items = list(signals.items()) if isinstance(signals, Mapping) else list(signals)
    made, held = [], {}
    for label, values in items:
        low, high = (ranges or {}).get(label, _RANGE)
        signal = edfio.EdfSignal(
            np.clip(values, min(low, high), max(low, high)),
            rate,
            label=label,
            physical_dimension="uV",
            physical_range=(min(low, high), max(low, high)),
        )
        held[label] = np.asarray(signal.data, np.float64)
        made.append(signal)
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(made, data_record_duration=1).write(path)
    for number, (label, _) in enumerate(items):
        low, high = (ranges or {}).get(label, _RANGE)
        if low > high:
            _swap_range(path, len(items), number)
            held[label] = low + high - held[label]
    return path, held


def _swap_range(path: Path, count: int, number: int) -> None:
    """Exchange the physical minimum and maximum of a signal in a header."""
    content = bytearray(path.read_bytes())
    low = 256 + 104 * count + 8 * number
    high = 256 + 112 * count + 8 * number
    content[low : low + 8], content[high : high + 8] = (
        content[high : high + 8],
        content[low : low + 8],
    )
    path.write_bytes(content)


def electrodes(rate: float, seconds: float, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Potentials of the 19 electrodes and of three more, in µV."""
    names = (*CHANNELS, "FT9", "FT10", "Oz")
    data = synthetic_eeg(rate, seconds, len(names)) + 3 * seed
    return dict(zip(names, data, strict=True))


def bipolar_signals(
    labels: Sequence[str], potentials: Mapping[str, NDArray[np.float64]]
) -> list[tuple[str, NDArray[np.float64]]]:
    """The channels of a bipolar file with these labels; a label that is no pair is silent."""
    by_name = {name.upper(): row for name, row in potentials.items()}
    by_name |= {new: by_name[old] for new, old in _OLD.items()}
    some = next(iter(potentials.values()))
    rows = []
    for label in labels:
        first, _, second = (
            label.removeprefix("EEG ").removesuffix("-0").removesuffix("-1").partition("-")
        )
        pair = first.upper() in by_name and second.upper() in by_name
        rows.append((label, by_name[first.upper()] - by_name[second.upper()] if pair else 0 * some))
    return rows
