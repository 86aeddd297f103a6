"""Rendering a plan: the digital samples of every channel of one recording.

Adding up sources belongs here, and the conversion from microvolts to digital values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.synthesis.artifacts import artifacts
from brainbrr_core.synthesis.background import (
    drowsiness,
    mains,
    own_noise,
    shared_background,
)
from brainbrr_core.synthesis.channels import Channel, Source, source_of, units_per_microvolt
from brainbrr_core.synthesis.plan import RecordingPlan, patient_focus, random_source
from brainbrr_core.synthesis.rhythm import rhythms
from brainbrr_core.synthesis.seizure import seizure_activity
from brainbrr_core.synthesis.sources import Activity, RecordingContext, Wave

#: A channel with a lower rate has trend values instead of a waveform.
_TREND_HZ = 20.0
#: Kinds of sources that pick up mains hum.
_HUMMING = frozenset({"electrode", "open", "emg", "ecg"})


def render(plan: RecordingPlan) -> list[NDArray[np.int16]]:
    """Digital samples of the channels of a plan, one array per channel, at its own rate."""
    digital: dict[int, NDArray[np.int16]] = {}
    for samples in sorted({channel.samples for channel in plan.channels}):
        chosen = [
            number for number, channel in enumerate(plan.channels) if channel.samples == samples
        ]
        rate_hz = float(samples / plan.record_s)
        if rate_hz < _TREND_HZ:
            for number in chosen:
                digital[number] = _trend(plan, number)
            continue
        digital.update(_render_rate(plan, chosen, rate_hz))
    return [digital[number] for number in range(len(plan.channels))]


def _render_rate(
    plan: RecordingPlan, chosen: list[int], rate_hz: float
) -> dict[int, NDArray[np.int16]]:
    """Digital samples of the channels ``chosen`` (numbers in the file), which have one rate."""
    count = plan.records * plan.channels[chosen[0]].samples
    sources = {number: source_of(plan.channels[number].label) for number in chosen}
    scale = patient_scale(plan)
    by_channel = _by_channel(_activities(plan, sources, count, rate_hz, scale), sources)
    total, scratch = np.empty((2, count), dtype=np.float32)
    digital = {}
    for number, source in sources.items():
        if source.kind == "derivation":
            total[:] = _derived_noise(plan, source, count, rate_hz, scale)
        else:
            rng = random_source(plan.seed, plan.key, "channel", str(number))
            total[:] = _channel_noise(rng, source, count, rate_hz, scale)
        for activity, gain in by_channel[number]:
            stop = min(activity.start + len(activity.wave), count)
            length = max(0, stop - activity.start)
            scaled = np.multiply(
                activity.wave[:length], np.float32(gain), out=scratch[:length], casting="no"
            )
            total[activity.start : stop] += scaled
        digital[number] = _digitize(total, plan.channels[number])
    return digital


def patient_scale(plan: RecordingPlan) -> float:
    """Amplitude of the patient relative to the average, 0.6 to 1.4."""
    return float(random_source(plan.seed, "scale", plan.patient).uniform(0.6, 1.4))


def _activities(
    plan: RecordingPlan, sources: dict[int, Source], count: int, rate_hz: float, scale: float
) -> list[tuple[Activity, bool]]:
    """All activities at one rate; True where the gains are by channel, False if by electrode."""
    rng = random_source(plan.seed, plan.key, "activity")
    traits = random_source(plan.seed, "traits", plan.patient)
    slope, alpha_hz = traits.uniform(1.5, 1.9), traits.uniform(8.5, 11.0)
    electrodes = tuple(
        dict.fromkeys(
            electrode
            for source in sources.values()
            for electrode in (source.electrode, source.other)
            if electrode
        )
    )
    humming = tuple(str(n) for n, source in sources.items() if source.kind in _HUMMING)
    context = RecordingContext(count, rate_hz, electrodes, scale, drowsiness(rng, count, rate_hz))
    hum = [(activity, True) for activity in mains(rng, context, humming)]
    if not electrodes:
        return hum
    focus = patient_focus(plan.seed, plan.patient) if plan.seizures else None
    cerebral = [
        *shared_background(rng, context, slope, alpha_hz),
        *artifacts(rng, context),
        *rhythms(rng, context, focus),
    ]
    for seizure in plan.seizures:
        own = random_source(plan.seed, plan.key, "seizure", f"{seizure.start:.4f}")
        cerebral.extend(seizure_activity(own, context, seizure))
    return [*hum, *((activity, False) for activity in cerebral)]


def _by_channel(
    activities: list[tuple[Activity, bool]], sources: dict[int, Source]
) -> dict[int, list[tuple[Activity, float]]]:
    """The activities of each channel, with its gain."""
    at_electrode: dict[str, list[tuple[int, float]]] = {}
    for number, source in sources.items():
        for electrode, sign in ((source.electrode, 1.0), (source.other, -1.0)):
            if electrode:
                at_electrode.setdefault(electrode, []).append((number, sign))
    gains: dict[int, list[tuple[Activity, float]]] = {number: [] for number in sources}
    for activity, is_by_channel in activities:
        for name, gain in activity.gains.items():
            for number, sign in [(int(name), 1.0)] if is_by_channel else at_electrode.get(name, []):
                gains[number].append((activity, sign * gain))
    return gains


def _channel_noise(
    rng: np.random.Generator, source: Source, count: int, rate_hz: float, scale: float
) -> Wave:
    """The activity of a single channel in µV."""
    if source.kind == "electrode":
        return own_noise(rng, source.electrode, count, rate_hz, scale)
    noise = rng.standard_normal(count, dtype=np.float32)
    if source.kind == "ecg":
        return _heartbeats(rng, count, rate_hz) + np.float32(3) * noise
    level = {"emg": 12.0, "open": 2.0}.get(source.kind, 0.3)
    return np.float32(level) * noise


def _derived_noise(
    plan: RecordingPlan, source: Source, count: int, rate_hz: float, scale: float
) -> Wave:
    """The noise of a derivation in µV: that of one electrode minus that of the other.

    Derivations with a common electrode have its noise in common, so that chains of them add up.
    """
    one, other = (
        own_noise(
            random_source(plan.seed, plan.key, "electrode", name), name, count, rate_hz, scale
        )
        for name in (source.electrode, source.other)
    )
    return one - other


def _heartbeats(rng: np.random.Generator, count: int, rate_hz: float) -> Wave:
    """An electrocardiogram in µV: R wave and T wave at 55 to 95 beats per minute."""
    wave = np.zeros(count, dtype=np.float32)
    seconds = np.arange(round(0.55 * rate_hz)) / rate_hz
    beat = 450 * np.exp(-0.5 * ((seconds - 0.08) / 0.012) ** 2)
    beat += 110 * np.exp(-0.5 * ((seconds - 0.36) / 0.045) ** 2)
    shape = beat.astype(np.float32)
    interval_s = 60 / rng.uniform(55, 95)
    beats = int(count / rate_hz / interval_s)
    for beat_number in range(beats):
        onset = (beat_number + rng.uniform(0, 0.08)) * interval_s
        start = int(onset * rate_hz)
        stop = min(start + len(shape), count)
        wave[start:stop] += shape[: stop - start]
    return wave


def _trend(plan: RecordingPlan, number: int) -> NDArray[np.int16]:
    """A trend channel: zero, as if the amplifier did not compute trends."""
    channel = plan.channels[number]
    values = np.zeros(plan.records * channel.samples, dtype=np.float32)
    return _digitize(values, channel, factor=1.0)


def _digitize(microvolts: Wave, channel: Channel, factor: float | None = None) -> NDArray[np.int16]:
    """Digital values of ``microvolts``, which is overwritten.

    ``factor`` is units of the channel per µV; None takes it from the header. For a channel that is
    not a voltage (a photic marker in mm) it is 1: near-zero noise in the unit of the channel.
    """
    if factor is None:
        factor = units_per_microvolt(channel.dimension) or 1.0
    (low, high), (digital_low, digital_high) = channel.physical, channel.digital
    gain = (high - low) / (digital_high - digital_low)
    microvolts *= np.float32(factor / gain)
    microvolts -= np.float32(high / gain - digital_high)
    np.rint(microvolts, out=microvolts)
    np.clip(
        microvolts,
        min(digital_low, digital_high),
        max(digital_low, digital_high),
        out=microvolts,
    )
    return microvolts.astype(np.int16)
