"""Recorders: references, filters, sampling, resolution and hum.

Sources
-------
Sinha et al. (2016), J. Clin. Neurophysiol. 33, 303-307: minimum requirements of clinical EEG.
Yao et al. (2019), Brain Topogr. 32, 530-549: references in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.simulation.head import NAMES, SCALP_COUNT
from brainbrr_core.simulation.ranges import Recorders, draw, pick
from brainbrr_core.synthesis.channels import Channel
from brainbrr_core.synthesis.scalp import TEN_TWENTY
from brainbrr_core.synthesis.sources import Wave, random_course

_LARGEST_DIGITAL = 32767
#: Share of the sampling rate from which an amplifier lets nothing pass.
_ANTI_ALIASING = 0.42
#: Electrodes that are not at the edge of the cap, where two missing neighbors exclude a recording.
_INNER = ("F3", "F4", "C3", "C4", "P3", "P4", "FZ", "CZ", "PZ")
#: As many are interpolated by default where a corpus is read.
_MOST_MISSING = 3
_ROWS = {name: row for row, name in enumerate(NAMES)}


@dataclass(frozen=True, slots=True)
class Recorder:
    """An amplifier and how it is set; a ``lowpass_hz`` or ``notch_hz`` of 0 is none."""

    rate_hz: int
    reference: str
    highpass_hz: float
    lowpass_hz: float
    notch_hz: int
    mains_hz: int
    hum_uv: float
    resolution_uv: float
    range_uv: float
    gain: float
    ears: bool
    missing: tuple[str, ...] = ()

    @property
    def montage(self) -> str:
        """TUSZ's name of the montage."""
        if self.reference == "linked ears":
            return "02_tcp_le"
        return "01_tcp_ar" if self.ears else "03_tcp_ar_a"

    @property
    def electrodes(self) -> tuple[str, ...]:
        """The electrodes that are recorded, in the order of the file."""
        present = tuple(name for name in TEN_TWENTY if name not in self.missing)
        return present + (("A1", "A2") if self.ears else ())

    def channels(self) -> tuple[Channel, ...]:
        """The channels of its files, with data records of 1 s."""
        suffix = "LE" if self.reference == "linked ears" else "REF"
        digital = min(_LARGEST_DIGITAL, int(self.range_uv / self.resolution_uv))
        physical = round(digital * self.resolution_uv, 2)
        return tuple(
            Channel(
                f"EEG {name}-{suffix}",
                self.rate_hz,
                "uV",
                (-physical, physical),
                (-digital, digital),
            )
            for name in self.electrodes
        )


def draw_recorder(rng: np.random.Generator, ranges: Recorders) -> Recorder:
    """A recorder."""
    mains = pick(rng, ranges.mains_hz)
    reference = pick(rng, ranges.references)
    strong = rng.random() < ranges.strong_hum
    return Recorder(
        rate_hz=pick(rng, ranges.rates_hz),
        reference=reference,
        highpass_hz=pick(rng, ranges.highpass_hz),
        lowpass_hz=pick(rng, ranges.lowpass_hz),
        notch_hz=mains if rng.random() < ranges.notch else 0,
        mains_hz=mains,
        hum_uv=draw(rng, ranges.strong_hum_uv if strong else ranges.hum_uv),
        resolution_uv=draw(rng, ranges.resolution_uv),
        range_uv=pick(rng, ranges.range_uv),
        gain=draw(rng, ranges.gain),
        ears=bool(reference != "left ear" and rng.random() < ranges.ear_electrodes),
        missing=_missing(rng, ranges.missing),
    )


def _missing(rng: np.random.Generator, share: float) -> tuple[str, ...]:
    if rng.random() >= share:
        return ()
    count = int(rng.integers(1, _MOST_MISSING, endpoint=True))
    candidates = TEN_TWENTY if count == 1 else _INNER
    return tuple(candidates[n] for n in sorted(rng.permutation(len(candidates))[:count]))


def record(
    rng: np.random.Generator, potentials: NDArray[np.float32], recorder: Recorder
) -> NDArray[np.float32]:
    """What a recorder makes of potentials (electrodes of ``head.NAMES``, samples).

    Returns
    -------
    array of float32, shape (channels, samples)
        Voltages in µV of ``recorder.electrodes``, before they are digital.
    """
    # A heavy import, needed only where signals are computed.
    from brainbrr_core.signal.recurrence import filter_in_place

    reference = _reference(potentials, recorder.reference)
    signals = np.empty((len(recorder.electrodes), potentials.shape[1]), np.float32)
    for row, name in enumerate(recorder.electrodes):
        np.subtract(potentials[_ROWS[name]], reference, out=signals[row])
    _add_hum(rng, signals, recorder)
    signals -= signals[:, :1].copy()
    sections = filter_sections(recorder)
    filter_in_place(signals, sections, np.zeros((len(sections), len(signals), 2)))
    signals *= np.float32(recorder.gain)
    return signals


def _reference(potentials: Wave, name: str) -> Wave:
    if name == "average":
        total: Wave = potentials[0].copy()
        for row in range(1, SCALP_COUNT):
            total += potentials[row]
        total /= np.float32(SCALP_COUNT)
        return total
    if name == "linked ears":
        return np.asarray(0.5 * (potentials[_ROWS["A1"]] + potentials[_ROWS["A2"]]), np.float32)
    return np.asarray(potentials[_ROWS["A1" if name == "left ear" else name]])


def filter_sections(recorder: Recorder) -> NDArray[np.float64]:
    """Second-order sections of the recorder's filters.

    A high-pass of first order, as that of a resistor and a capacitor, low-passes of second order,
    against aliasing and as it is set, and a notch.
    """
    from scipy.signal import butter, iirnotch, tf2sos

    rate_hz = recorder.rate_hz
    sections = [
        butter(1, recorder.highpass_hz, "high", fs=rate_hz, output="sos"),
        butter(4, _ANTI_ALIASING * rate_hz, fs=rate_hz, output="sos"),
    ]
    if 0 < recorder.lowpass_hz < _ANTI_ALIASING * rate_hz:
        sections.append(butter(2, recorder.lowpass_hz, fs=rate_hz, output="sos"))
    if recorder.notch_hz:
        sections.append(tf2sos(*iirnotch(recorder.notch_hz, 30, fs=rate_hz)))
    return np.vstack(sections)


def _add_hum(rng: np.random.Generator, signals: Wave, recorder: Recorder) -> None:
    """Add mains hum with harmonics, at a level of its own in each channel."""
    channels, samples = signals.shape
    gains = np.exp(rng.normal(0, 0.8, channels)) * recorder.hum_uv
    hertz = recorder.mains_hz + rng.uniform(-0.03, 0.03)
    turns = np.arange(samples) * (hertz / recorder.rate_hz)
    course = 1 + 0.5 * random_course(rng, samples, recorder.rate_hz, 60.0)
    for harmonic, share in ((1, 1.0), (2, rng.uniform(0, 0.3)), (3, rng.uniform(0, 0.5))):
        phase = rng.random()
        if harmonic * hertz >= 0.48 * recorder.rate_hz:
            continue
        wave = np.sin(2 * np.pi * ((harmonic * turns + phase) % 1.0)).astype(np.float32) * course
        for row, gain in enumerate((share * gains).tolist()):
            signals[row] += np.float32(gain) * wave


def digitize(voltages: Wave, channel: Channel) -> NDArray[np.int16]:
    """Digital values of a channel's voltages; what is out of range is at its end."""
    digital = channel.digital[1]
    values = np.rint(voltages * np.float32(digital / channel.physical[1]))
    return np.asarray(np.clip(values, -digital, digital), np.int16)
