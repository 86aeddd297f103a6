"""Channels of an EDF file: labels, rates, ranges, and the source of each.

The part of a channel that the header describes belongs here. ``source_of`` chooses the source by
the label alone, so that headers of real and of synthetic recordings are treated alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from brainbrr_core.synthesis.scalp import POSITIONS, RENAMED, TEN_TWENTY

#: Physical ranges in µV by sampling rate, as in the headers of TUSZ.
RANGES_UV = {
    250: (-4999.84, 4999.847),
    256: (-5482.28, 5482.288),
    400: (-29483.0, 29483.11),
    512: (-5482.28, 5482.288),
    1000: (-4999.85, 4999.85),
}
DIGITAL_RANGE = (-32767, 32767)
MONTAGES = ("01_tcp_ar", "02_tcp_le", "03_tcp_ar_a")
_HOUSEKEEPING = (("IBI", "sec"), ("BURSTS", "brst/min"), ("SUPPR", "%"))
_MICROVOLTS = {"uV": 1.0, "\N{MICRO SIGN}V": 1.0, "mV": 1e-3, "V": 1e-6}


@dataclass(frozen=True, slots=True)
class Channel:
    """One signal of an EDF file; ``samples`` is the number of samples in a data record."""

    label: str
    samples: int
    dimension: str
    physical: tuple[float, float]
    digital: tuple[int, int]


#: Electrodes that occur in derivations only, and the ones nearest to them.
_NEAREST = {"FT9": "T1", "FT10": "T2"}


#: The channels of most bipolar recordings of CHB-MIT. One derivation is there in both directions,
#: another one twice.
BIPOLAR_LABELS = (
    *("FP1-F7", "F7-T7", "T7-P7", "P7-O1", "FP1-F3", "F3-C3", "C3-P3", "P3-O1"),
    *("FP2-F4", "F4-C4", "C4-P4", "P4-O2", "FP2-F8", "F8-T8", "T8-P8", "P8-O2"),
    *("FZ-CZ", "CZ-PZ", "P7-T7", "T7-FT9", "FT9-FT10", "FT10-T8", "T8-P8"),
)
_BIPOLAR_RANGE_UV = (-800.0, 800.0)
_BIPOLAR_DIGITAL_RANGE = (-2048, 2047)


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a channel.

    ``electrode`` is empty unless the kind is "electrode" or "derivation"; a derivation is its
    potential minus that of ``other``.
    """

    kind: str
    electrode: str = ""
    other: str = ""


def source_of(label: str) -> Source:
    """The source of the channel with this label.

    Kinds: electrode, derivation (``FP1-F7``), ecg, emg, open (an unconnected input), quiet
    (anything else: trend values, photic marker, direct-current inputs).
    """
    name = re.sub(r"^EEG\s+", "", label.strip().upper())
    first, *others = re.split(r"[-\s]", name)
    ends = [_end_of_derivation(end) for end in (first, *others[:1])]
    if len(ends) == 2 and all(ends):
        return Source("derivation", *ends)
    electrode = RENAMED.get(first, first)
    if electrode in POSITIONS:
        return Source("electrode", electrode)
    if first.startswith(("EKG", "ECG")):
        return Source("ecg")
    if first.startswith("EMG"):
        return Source("emg")
    if first.isdigit():
        return Source("open")
    return Source("quiet")


def _end_of_derivation(name: str) -> str:
    """The electrode at an end of a derivation; empty where it is a reference or no electrode."""
    name = _NEAREST.get(name, RENAMED.get(name, name))
    return name if name in TEN_TWENTY or name in _NEAREST.values() else ""


def units_per_microvolt(dimension: str) -> float | None:
    """Units of ``dimension`` per µV; None when it is not a voltage."""
    return _MICROVOLTS.get(dimension.strip())


def synthetic_channels(
    montage: str, rate_hz: int, *, midline: bool, open_inputs: int, sphenoidal: bool, trends: bool
) -> tuple[Channel, ...]:
    """Channels of a synthetic recording with data records of 1 s.

    Without ``midline``, FZ and PZ are missing, as in 249 recordings of TUSZ 2.0. ``open_inputs`` is
    the number of unconnected inputs, named from 26 upwards. ``sphenoidal`` adds T1 and T2,
    ``trends`` three housekeeping channels at 1 Hz.
    """
    names = list(TEN_TWENTY[:16])
    if montage != "03_tcp_ar_a":
        names += ["A1", "A2"]
    names += ["FZ", "CZ", "PZ"] if midline else ["CZ"]
    if sphenoidal:
        names += ["T1", "T2"]
    names.append("EKG" if montage == "02_tcp_le" else "EKG1")
    names += [str(26 + number) for number in range(open_inputs)]
    suffix = "LE" if montage == "02_tcp_le" else "REF"
    channels = [
        Channel(f"EEG {name}-{suffix}", rate_hz, "uV", RANGES_UV[rate_hz], DIGITAL_RANGE)
        for name in names
    ]
    if trends:
        channels += [
            Channel(name, 1, dimension, (-3276.7, 3276.7), DIGITAL_RANGE)
            for name, dimension in _HOUSEKEEPING
        ]
    return tuple(channels)


def bipolar_channels(rate_hz: int) -> tuple[Channel, ...]:
    """Bipolar derivations as in CHB-MIT, with data records of 1 s."""
    return tuple(
        Channel(label, rate_hz, "uV", _BIPOLAR_RANGE_UV, _BIPOLAR_DIGITAL_RANGE)
        for label in BIPOLAR_LABELS
    )
