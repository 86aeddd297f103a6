"""Seizures: discharges that evolve in frequency, amplitude, form and field, and what follows them.

Nothing of a discharge lies before a seizure's first sample or after its last one. The background
is attenuated during and after some seizures, and slow after some.

Sources
-------
Hirsch et al. (2021), J. Clin. Neurophysiol. 38, 1-29: what an electrographic seizure is.
Perucca et al. (2014), Brain 137, 183-196: beginnings within the brain, with low-voltage fast
activity, periodic spikes, and others.
"Clinical implications of scalp ictal EEG pattern in patients with temporal lobe epilepsy", Clin.
Neurophysiol. 130 (2019), 1604-1610: 5 to 9 Hz at the onset of 65 % of temporal seizures, 2 to 5 Hz
at that of the others.
"Intracranial EEG substrates of scalp ictal patterns from temporal lobe foci", Epilepsia 38 (1997):
the slower onsets are irregular, and the background is flat before some.
Kramer et al. (2012), PNAS 109, 21116-21121: slowing and synchronization towards the end.
Tenney and Glauser (2013), Epilepsy Curr. 13, 135: absences of 3 to 4.5 Hz, above 2.5 Hz to the end,
of 9 s on average and at least 3 s.
Theodore et al. (1994), Neurology 44, 1403-1407: phases of tonic-clonic seizures.
Bauer et al. (2017), Brain 140, 655-668: clonic bursts that slow down, and suppression after them.
Leitinger et al. (2016), Lancet Neurol. 15, 1054-1062: nonconvulsive status.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainbrr_core.simulation.artifacts import chewing, everywhere, movement, muscle, tense
from brainbrr_core.simulation.canvas import Canvas
from brainbrr_core.simulation.head import NAMES, REGIONS, Array, mirrored
from brainbrr_core.simulation.ranges import Seizures, draw
from brainbrr_core.simulation.scenario import Episode
from brainbrr_core.simulation.states import SUPPRESSION_HZ
from brainbrr_core.simulation.waveforms import (
    cycles_of,
    of_each_cycle,
    sharpened,
    spike_and_wave,
    steps,
)
from brainbrr_core.synthesis.sources import (
    bins_hz,
    narrow,
    pink,
    ramps,
    random_course,
    shaped_noise,
)

#: Types whose label has a focus, and the region that a generalized seizure has instead.
FOCAL = frozenset(
    {"temporal", "slow temporal", "frontal", "posterior", "accelerating", "focal status"}
)
_OTHER = {"left": "right", "right": "left"}
#: Share of the tonic-clonic seizures after which the background is suppressed.
_SUPPRESSED = 0.74
_NEAR = {
    "mesial temporal": "temporal",
    "temporal": "inferior frontal",
    "posterior temporal": "parietal",
    "frontal": "central",
    "frontopolar": "frontal",
    "inferior frontal": "temporal",
    "central": "parietal",
    "midfrontal": "frontocentral",
    "occipital": "posterior temporal",
    "posterior": "temporal",
    "parietal": "central",
}


@dataclass(frozen=True, slots=True)
class Aftermath:
    """How a seizure changes the background: factors during and after it, and for how long."""

    start: float
    stop: float
    during: float
    after: float
    after_s: float


def aftermath_of(rng: np.random.Generator, episode: Episode) -> Aftermath:
    """The effect of a seizure on the background; most tonic-clonic seizures suppress it."""
    during, after, after_s = 1.0, 1.0, 0.0
    if episode.kind == "tonic-clonic":
        during = 0.3
        if rng.random() < _SUPPRESSED:
            after, after_s = rng.uniform(0.03, 0.5), rng.uniform(8, 120)
    elif episode.kind in ("absence", "myoclonic", "generalized status"):
        during = rng.uniform(0.4, 1.0)
    elif episode.kind == "tonic":
        during, after, after_s = rng.uniform(0.2, 0.6), rng.uniform(0.5, 1), rng.uniform(2, 20)
    else:
        during = rng.uniform(0.3, 1.0)
        if rng.random() < 0.4:
            after, after_s = rng.uniform(0.2, 0.9), rng.uniform(5, 90)
    return Aftermath(episode.start, episode.stop, during, after, after_s)


def attenuation_of(aftermaths: list[Aftermath], factor: Array | None, seconds: float) -> Array:
    """The factor of the background at ``SUPPRESSION_HZ``: that of its states, and of seizures."""
    count = int(np.ceil(seconds * SUPPRESSION_HZ)) + 1
    course = np.ones(count) if factor is None else factor.copy()
    times = np.arange(count) / SUPPRESSION_HZ
    for one in aftermaths:
        end = one.stop + max(one.after_s, 1.0)
        knots = (
            one.start,
            one.start + 2,
            max(one.start + 2, one.stop),
            one.stop + 0.5,
            end,
            end + 10,
        )
        values = (1.0, one.during, one.during, one.after, one.after, 1.0)
        course *= np.interp(times, knots, values)
    return course


def render_seizure(
    rng: np.random.Generator, canvas: Canvas, episode: Episode, ranges: Seizures, relative: float
) -> None:
    """Add a seizure; ``relative`` multiplies the amplitude of its discharge."""
    start = canvas.position(episode.start)
    samples = canvas.position(episode.stop) - start
    discharge = _Discharge(
        start, samples, draw(rng, ranges.uv) * relative * canvas.scale, episode, ranges
    )
    if episode.kind == "absence":
        _absence(rng, canvas, discharge)
    elif episode.kind == "tonic-clonic":
        _tonic_clonic(rng, canvas, discharge)
    elif episode.kind == "tonic":
        _tonic(rng, canvas, discharge)
    elif episode.kind == "myoclonic":
        _myoclonic(rng, canvas, discharge)
    elif episode.kind.endswith("status"):
        _status(rng, canvas, discharge)
    else:
        _focal(rng, canvas, discharge)


@dataclass(frozen=True, slots=True)
class _Discharge:
    """Where a discharge lies, and its amplitude in µV."""

    start: int
    samples: int
    uv: float
    episode: Episode
    ranges: Seizures


@dataclass(frozen=True, slots=True)
class _Zone:
    """A field that a discharge reaches at a share of its length, with a lag in cycles."""

    field: Array
    onset: float
    lag: float


def _zones(rng: np.random.Generator, canvas: Canvas, region: str, side: str) -> list[_Zone]:
    """The focus, and what the seizure spreads to."""
    head = canvas.head
    zones = [_Zone(head.patch(rng, region, side, width=rng.uniform(0.2, 0.55)), 0.0, 0.0)]
    near = _NEAR.get(region, region)
    for _ in range(int(rng.integers(1, 3))):
        field = head.patch(rng, near, side, width=0.4, scatter=0.2)
        zones.append(
            _Zone(field * rng.uniform(0.3, 0.9), rng.uniform(0.02, 0.5), rng.uniform(0, 0.25))
        )
    if rng.random() < 0.45:
        field = head.patch(rng, region, _OTHER[side], width=0.4) * rng.uniform(0.25, 0.9)
        zones.append(_Zone(field, rng.uniform(0.25, 0.85), rng.uniform(0, 0.4)))
    if rng.random() < 0.2:
        field = head.general(rng, rng.uniform(0.4, 0.8)).sum(axis=1) * rng.uniform(0.3, 0.9)
        zones.append(_Zone(field, rng.uniform(0.4, 0.85), rng.uniform(0, 0.2)))
    return zones


def _focal(rng: np.random.Generator, canvas: Canvas, discharge: _Discharge) -> None:
    """A discharge that speeds up or slows down, grows, becomes sharper and spreads."""
    kind, ranges = discharge.episode.kind, discharge.ranges
    first, last = draw(rng, ranges.start_hz), draw(rng, ranges.end_hz)
    if kind == "accelerating":
        peak, at = rng.uniform(3.0, 7.5), rng.uniform(0.25, 0.65)
        quiet, sharp = rng.uniform(0.4, 0.9), rng.uniform(0.5, 1.0)
    else:
        peak, at = first * rng.uniform(0.75, 1.3), rng.uniform(0.05, 0.35)
        quiet = rng.uniform(0.08, 0.35) if first > 9 else rng.uniform(0.15, 0.5)
        sharp = rng.uniform(0, 0.4)
    course = np.arange(discharge.samples) / discharge.samples
    hertz = steps(course, (0, at, 1), (first, peak, last))
    growth = steps(
        course,
        (0, rng.uniform(0.05, 0.25), rng.uniform(0.4, 0.9), 1),
        (quiet, min(1.0, quiet * rng.uniform(1, 2.2)), 1.0, rng.uniform(0.6, 1.0)),
    )
    sharpness = steps(
        course, (0, rng.uniform(0.3, 0.9), 1), (sharp, rng.uniform(0.3, 1), 1.0), ratio=False
    )
    _evolve(rng, canvas, discharge, hertz, growth, sharpness)
    _onset_fast(rng, canvas, discharge, 0.8 if kind == "frontal" else 0.3)
    _behavior(rng, canvas, discharge, 0.4)
    _slowing(rng, canvas, discharge, 0.6)


def _evolve(
    rng: np.random.Generator,
    canvas: Canvas,
    discharge: _Discharge,
    hertz: Array,
    growth: Array,
    sharpness: Array,
) -> None:
    samples, rate_hz = discharge.samples, canvas.rate_hz
    course = np.arange(samples) / samples
    jitter = (0.1, 0.25) if discharge.episode.kind == "slow temporal" else (0.03, 0.14)
    cycles = cycles_of(rng, hertz, rate_hz, rng.uniform(*jitter), rng.random())
    envelope = growth * of_each_cycle(rng, cycles, rng.uniform(0.05, 0.3)) * discharge.uv
    envelope *= 1 + rng.uniform(0, 0.35) * random_course(rng, samples, rate_hz, 2.0)
    seconds = samples / rate_hz
    edge = min(rng.uniform(0.3, 1.5), seconds / 6), min(rng.uniform(0.2, 2.0), seconds / 6)
    envelope *= ramps(samples, rate_hz, *edge)
    width_s, complexes = rng.uniform(0.014, 0.04), rng.random() < 0.5
    change = np.clip((course - rng.uniform(0.2, 0.7)) / 0.2, 0, 1) if complexes else None
    spikes, slow = int(rng.integers(1, 3)), rng.uniform(0.4, 1.1)
    disorder = rng.uniform(0.05, 0.6)
    spectrum = pink(bins_hz(samples, rate_hz), rng.uniform(2, 3.5), corner_hz=float(hertz.mean()))
    episode = discharge.episode
    for zone in _zones(rng, canvas, episode.region, episode.side):
        turned = cycles - zone.lag
        wave = sharpened(turned, sharpness)
        if change is not None:
            late = spike_and_wave(turned, hertz, width_s=width_s, spikes=spikes, wave=slow)
            wave = (wave * (1 - change) + 1.4 * late * change).astype(np.float32)
        wave += np.float32(disorder) * shaped_noise(rng, samples, spectrum)
        rise = np.clip((course - zone.onset) / 0.06, 0, 1) if zone.onset else 1.0
        canvas.add(discharge.start, (wave * envelope * rise).astype(np.float32), zone.field)


def _onset_fast(
    rng: np.random.Generator, canvas: Canvas, discharge: _Discharge, share: float
) -> None:
    """Low-voltage fast activity at the beginning, that slows down as it grows."""
    if rng.random() > share:
        return
    seconds = discharge.samples / canvas.rate_hz
    samples = canvas.length(min(rng.uniform(1.5, 8), 0.5 * seconds))
    course = np.arange(samples) / samples
    hertz = steps(course, (0, 1), (rng.uniform(16, 35), rng.uniform(9, 15)))
    cycles = cycles_of(rng, hertz, canvas.rate_hz, 0.05)
    wave = sharpened(cycles, 0.1) * ramps(samples, canvas.rate_hz, 0.4, 0.6)
    wave *= (discharge.uv * rng.uniform(0.08, 0.3) * (0.3 + 0.7 * course)).astype(np.float32)
    episode = discharge.episode
    field = canvas.head.patch(rng, episode.region, episode.side, width=0.2, scatter=0.1)
    canvas.add(discharge.start, wave, field)


def _behavior(
    rng: np.random.Generator, canvas: Canvas, discharge: _Discharge, share: float
) -> None:
    """Automatisms and movements of the patient during a seizure."""
    if rng.random() > share:
        return
    seconds = discharge.samples / canvas.rate_hz
    begin, length = rng.uniform(0.15, 0.6) * seconds, rng.uniform(0.2, 0.6) * seconds
    samples = canvas.length(min(length, seconds - begin))
    start = discharge.start + canvas.position(begin)
    which = int(rng.integers(3))
    uv = float(np.exp(rng.uniform(np.log(10), np.log(80))))
    (muscle, chewing, movement)[which](rng, canvas, start, samples, uv, rng.uniform(0.9, 2.2))


def _slowing(rng: np.random.Generator, canvas: Canvas, discharge: _Discharge, share: float) -> None:
    """Irregular slow activity where the seizure was, which fades."""
    if rng.random() > share:
        return
    samples = canvas.length(rng.uniform(8, 90))
    frequencies = bins_hz(samples, canvas.rate_hz)
    episode = discharge.episode
    for side, gain in ((episode.side, 1.0), (_OTHER[episode.side], rng.uniform(0, 0.6))):
        wave = shaped_noise(rng, samples, narrow(frequencies, rng.uniform(0.8, 2.5), 0.7))
        wave *= ramps(samples, canvas.rate_hz, 1.0, 0.7 * samples / canvas.rate_hz)
        wave *= np.float32(gain * rng.uniform(0.15, 0.5) * discharge.uv)
        field = canvas.head.patch(rng, episode.region, side, width=0.5)
        canvas.add(discharge.start + discharge.samples, wave, field)


def _general_waves(
    rng: np.random.Generator, canvas: Canvas, front: float
) -> list[tuple[Array, float]]:
    """Fields of a generalized discharge from front to back, with lags in seconds."""
    zones = canvas.head.general(rng, front)
    lag = rng.uniform(0, 0.03)
    lean = 1 + rng.normal(0, 0.1) * canvas.head.positions[:, 0]
    return [(zones[:, n] * lean, n * lag / 2) for n in range(3)]


def _absence(rng: np.random.Generator, canvas: Canvas, discharge: _Discharge) -> None:
    """Generalized spike and wave that begins at 3 to 4 Hz and slows down, without slowing after."""
    samples, rate_hz = discharge.samples, canvas.rate_hz
    course = np.arange(samples) / samples
    ranges = discharge.ranges
    hertz = steps(
        course,
        (0, 0.25, 1),
        (draw(rng, ranges.start_hz), rng.uniform(2.8, 3.3), draw(rng, ranges.end_hz)),
    )
    cycles = cycles_of(rng, hertz, rate_hz, rng.uniform(0.01, 0.06))
    shape = {
        "width_s": rng.uniform(0.010, 0.022),
        "wave": rng.uniform(0.5, 1.1),
        "spike": rng.uniform(0.4, 1.2),
    }
    spikes = int(rng.choice([1, 1, 1, 2, 3]))
    envelope = of_each_cycle(rng, cycles, rng.uniform(0.03, 0.2)) * discharge.uv
    envelope *= steps(course, (0, 0.1, 0.5, 1), (0.7, 1.0, 0.95, rng.uniform(0.5, 0.9)))
    envelope *= ramps(samples, rate_hz, 0.25, 0.25)
    for field, lag in _general_waves(rng, canvas, rng.uniform(0.55, 0.9)):
        wave = spike_and_wave(cycles - lag * hertz, hertz, spikes=spikes, **shape)
        canvas.add(discharge.start, (wave * envelope).astype(np.float32), field)


def _tonic_clonic(rng: np.random.Generator, canvas: Canvas, discharge: _Discharge) -> None:
    """A focal beginning or none, a tonic phase under muscle, clonic bursts that slow down."""
    samples, rate_hz = discharge.samples, canvas.rate_hz
    lead = int(samples * rng.uniform(0.1, 0.4)) if rng.random() < 0.5 else 0
    tonic = int((samples - lead) * rng.uniform(0.2, 0.4))
    clonic = samples - lead - tonic
    if lead:
        course = np.arange(lead + tonic) / (lead + tonic)
        hertz = steps(course, (0, 1), (rng.uniform(5, 12), rng.uniform(3, 7)))
        growth = steps(course, (0, 1), (rng.uniform(0.15, 0.4), 0.8))
        part = _Discharge(
            discharge.start, lead + tonic, discharge.uv, discharge.episode, discharge.ranges
        )
        _evolve(rng, canvas, part, hertz, growth, 0.4 * course)
    fields = _general_waves(rng, canvas, rng.uniform(0.4, 0.8))
    emg_uv = float(np.exp(rng.uniform(np.log(25), np.log(250))))
    gains = everywhere(rng)
    start = discharge.start + lead
    course = np.arange(tonic) / tonic
    hertz = steps(course, (0, 1), (draw(rng, discharge.ranges.start_hz), rng.uniform(7, 11)))
    cycles = cycles_of(rng, hertz, rate_hz, 0.06)
    wave = sharpened(cycles, 0.4 * course) * ramps(tonic, rate_hz, 0.5, 0.1)
    wave *= (steps(course, (0, 1), (0.12, 0.7)) * discharge.uv).astype(np.float32)
    for field, _ in fields:
        canvas.add(start, wave, field)
    strength = steps(course, (0, 0.4, 1), (0.1, 0.8, 1.0)) * ramps(tonic, rate_hz, 0.5, 0.05)
    tense(rng, canvas, start, (emg_uv * strength).astype(np.float32), gains)
    start += tonic
    course = np.arange(clonic) / clonic
    hertz = steps(course, (0, 1), (rng.uniform(3.5, 7), draw(rng, discharge.ranges.end_hz)))
    cycles = cycles_of(rng, hertz, rate_hz, 0.05)
    each = of_each_cycle(rng, cycles, 0.15)
    seconds = (cycles - np.floor(cycles)) / hertz
    jerk = np.exp(-0.5 * ((seconds - 0.09) / rng.uniform(0.04, 0.09)) ** 2)
    fading = steps(course, (0, 0.7, 1), (1.0, 0.9, 0.5)) * ramps(clonic, rate_hz, 0.05, 0.3)
    envelope = each * fading
    tense(rng, canvas, start, (emg_uv * jerk * envelope).astype(np.float32), gains)
    width_s, spikes = rng.uniform(0.015, 0.03), int(rng.integers(1, 4))
    for field, lag in fields:
        burst = spike_and_wave(
            cycles - lag * hertz, hertz, width_s=width_s, spikes=spikes, wave=rng.uniform(0.6, 1)
        )
        canvas.add(start, (burst * envelope * discharge.uv).astype(np.float32), field)
    shake = canvas.gains(dict.fromkeys(NAMES, 1.0), 0.5, rng) * rng.choice([-1, 1], len(NAMES))
    jolt = np.gradient(jerk) * rate_hz * 0.04 * envelope * emg_uv * rng.uniform(0, 0.8)
    canvas.add(start, jolt.astype(np.float32), shake)
    _slowing(rng, canvas, discharge, 0.9)


def _tonic(rng: np.random.Generator, canvas: Canvas, discharge: _Discharge) -> None:
    """Generalized fast activity that grows and slows down, under muscle."""
    samples, rate_hz = discharge.samples, canvas.rate_hz
    course = np.arange(samples) / samples
    hertz = steps(
        course, (0, 1), (draw(rng, discharge.ranges.start_hz), draw(rng, discharge.ranges.end_hz))
    )
    cycles = cycles_of(rng, hertz, rate_hz, 0.07)
    envelope = steps(course, (0, rng.uniform(0.3, 0.8), 1), (rng.uniform(0.1, 0.4), 1, 0.8))
    envelope *= discharge.uv * ramps(samples, rate_hz, 0.3, 0.4)
    wave = (sharpened(cycles, 0.3 * course) * envelope).astype(np.float32)
    for field, _ in _general_waves(rng, canvas, rng.uniform(0.5, 0.9)):
        canvas.add(discharge.start, wave, field)
    if rng.random() < 0.7:
        uv = float(np.exp(rng.uniform(np.log(8), np.log(120))))
        strength = steps(course, (0, 0.5, 1), (0.15, 1.0, 0.8)) * ramps(samples, rate_hz, 0.5, 0.5)
        tense(rng, canvas, discharge.start, (uv * strength).astype(np.float32), everywhere(rng))
    _slowing(rng, canvas, discharge, 0.4)


def _myoclonic(rng: np.random.Generator, canvas: Canvas, discharge: _Discharge) -> None:
    """A series of polyspikes and waves with jerks."""
    samples, rate_hz = discharge.samples, canvas.rate_hz
    hertz = np.full(samples, draw(rng, discharge.ranges.start_hz))
    hertz *= np.exp(0.35 * random_course(rng, samples, rate_hz, 1.5))
    cycles = cycles_of(rng, hertz, rate_hz, 0.1, 0.97)
    envelope = of_each_cycle(rng, cycles, rng.uniform(0.15, 0.5)) * ramps(
        samples, rate_hz, 0.05, 0.2
    )
    width_s, spikes = rng.uniform(0.010, 0.02), int(rng.integers(2, 5))
    for field, lag in _general_waves(rng, canvas, rng.uniform(0.5, 0.9)):
        wave = spike_and_wave(
            cycles - lag * hertz, hertz, width_s=width_s, spikes=spikes, wave=rng.uniform(0.3, 0.9)
        )
        canvas.add(discharge.start, (wave * envelope * discharge.uv).astype(np.float32), field)
    if rng.random() < 0.8:
        uv = float(np.exp(rng.uniform(np.log(10), np.log(150))))
        seconds = (cycles - np.floor(cycles)) / hertz
        jerk = np.exp(-0.5 * ((seconds - 0.09) / 0.04) ** 2)
        tense(
            rng, canvas, discharge.start, (uv * jerk * envelope).astype(np.float32), everywhere(rng)
        )


def _status(rng: np.random.Generator, canvas: Canvas, discharge: _Discharge) -> None:
    """A discharge of minutes that waxes and wanes in frequency, amplitude and form."""
    samples, rate_hz, ranges = discharge.samples, canvas.rate_hz, discharge.ranges
    course = np.arange(samples) / samples
    hertz = steps(course, (0, 1), (draw(rng, ranges.start_hz), draw(rng, ranges.end_hz)))
    hertz *= np.exp(
        rng.uniform(0.1, 0.4) * random_course(rng, samples, rate_hz, rng.uniform(3, 15))
    )
    wanes = rng.uniform(0.1, 0.45)
    growth = np.full(samples, 1 - wanes)
    growth += wanes * random_course(rng, samples, rate_hz, rng.uniform(3, 15))
    sharp = np.clip(rng.uniform(0.2, 0.9) + 0.4 * random_course(rng, samples, rate_hz, 12.0), 0, 1)
    if discharge.episode.kind == "focal status":
        _evolve(rng, canvas, discharge, hertz, growth, sharp)
        _slowing(rng, canvas, discharge, 0.5)
        return
    cycles = cycles_of(rng, hertz, rate_hz, rng.uniform(0.03, 0.12))
    envelope = growth * of_each_cycle(rng, cycles, rng.uniform(0.05, 0.25)) * discharge.uv
    envelope *= ramps(samples, rate_hz, 0.5, 0.5)
    width_s, slow = rng.uniform(0.012, 0.045), rng.uniform(0.3, 1.0)
    is_round = rng.random() < 0.35
    for field, lag in _general_waves(rng, canvas, rng.uniform(0.3, 0.85)):
        turned = cycles - lag * hertz
        if is_round:
            wave = sharpened(turned, sharp)
        else:
            wave = spike_and_wave(turned, hertz, width_s=width_s, spikes=1, wave=slow)
        canvas.add(discharge.start, (wave * envelope).astype(np.float32), field)


def focus_of(episode: Episode) -> str:
    """The electrode nearest to the focus of a seizure; empty for a generalized one."""
    if episode.kind not in FOCAL:
        return ""
    name = REGIONS[episode.region][0][0]
    return name if episode.side == "left" else mirrored(name)
