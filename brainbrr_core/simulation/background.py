"""Continuous activity: 1/f noise of cortex, bands, slowing, tonic muscle, noise of the amplifier.

Sources
-------
Donoghue et al. (2020), Nat. Neurosci. 23, 1655-1665: the aperiodic spectrum and its exponent.
Aurlien et al. (2004), Clin. Neurophysiol. 115, 665-673: alpha and background by age.
Lodder and van Putten (2011), J. Neurosci. Methods 200, 86-93: the posterior rhythm.
Purcell et al. (2017), Nat. Commun. 8, 15930: sleep spindles.
"Comparison of the EEG effects of midazolam, thiopental, and propofol" (PubMed 9246224): beta of
drugs.
Kane et al. (2017), Clin. Neurophysiol. Pract. 2, 170-185: slowing, breach, burst suppression, waves
of sleep.
Tatum et al. (2006), J. Clin. Neurophysiol. 23, 194-207, and Kang and Krauss (2019), J. Clin.
Neurophysiol. 36, 257-263: variants that resemble epilepsy.
Brigo (2011), Epilepsy Behav. 20, 254-256: intermittent rhythmic delta.
Goncharova et al. (2003), Clin. Neurophysiol. 114, 1580-1593: spectrum and sites of muscle.
Iwasaki et al. (2005), Clin. Neurophysiol. 116, 878-885: blinks.
"Ocular artifacts in EEG and event-related potentials. I", Brain Topogr. 6 (1993), 51-63: glances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainbrr_core.signal.products import weighted_sums
from brainbrr_core.simulation.canvas import Canvas
from brainbrr_core.simulation.head import NAMES, Array
from brainbrr_core.simulation.patient import Patient
from brainbrr_core.simulation.ranges import Background, State, Transient, draw
from brainbrr_core.simulation.states import SUPPRESSION_HZ, Levels, Spell
from brainbrr_core.simulation.waveforms import transient
from brainbrr_core.synthesis.sources import (
    Wave,
    bins_hz,
    narrow,
    pink,
    ramps,
    random_course,
    shaped_noise,
)

#: Noise is made in parts of this length, each with a spectrum that differs a little.
PART_S, _OVERLAP_S = 90.0, 2.0
_SIDES = ("left", "right")
#: Relative levels of tonic muscle; 0.15 elsewhere.
_TONIC = {"T3": 1.0, "T4": 1.0, "F7": 0.9, "F8": 0.9, "FP1": 0.7, "FP2": 0.7, "A1": 0.6, "A2": 0.6}
_TONIC |= {"T5": 0.45, "T6": 0.45, "O1": 0.35, "O2": 0.35}


@dataclass(frozen=True, slots=True)
class Band:
    """Narrow-band activity of a patch: its field, its spectrum and its level at each sample."""

    field: Array
    center_hz: float
    width_hz: float
    level: Array


def bands_of(
    rng: np.random.Generator, canvas: Canvas, patient: Patient, levels: Levels, ranges: Background
) -> list[Band]:
    """The bands of a recording, with levels in µV."""
    samples, rate_hz, head = canvas.samples, canvas.rate_hz, canvas.head
    level = {
        name: levels.at(name, samples, rate_hz) for name in ("alpha", "theta", "delta", "beta")
    }
    bands = []

    def add(
        region: str, side: str, hertz: float, width: float, course: Array, width_rad: float = 0.35
    ) -> None:
        field = head.patch(rng, region, side, width=width_rad)
        waxing = 1 + 0.4 * random_course(rng, samples, rate_hz, 5.0)
        bands.append(Band(field, hertz, width, course * waxing * canvas.scale / 1.4))

    asymmetry = float(np.exp(rng.normal(0, 0.15)))
    width = draw(rng, ranges.alpha_width_hz)
    for side, share in zip(_SIDES, (asymmetry, 1 / asymmetry), strict=True):
        uv = patient.alpha_uv * share
        add("occipital", side, patient.alpha_hz, width, level["alpha"] * uv)
        add("posterior", side, patient.alpha_hz, width, level["alpha"] * uv * 0.5)
        add("central", side, patient.beta_hz, 2.5, level["beta"] * patient.beta_uv)
        add("frontal", side, patient.beta_hz + 2, 3.0, level["beta"] * patient.beta_uv)
    theta_uv, delta_uv = draw(rng, ranges.theta_uv), draw(rng, ranges.delta_uv)
    theta_hz = rng.uniform(4.2, 6.8)
    for region in ("frontocentral", "midparietal"):
        add(region, "", theta_hz, 0.9, level["theta"] * theta_uv, 0.5)
    for side in _SIDES:
        add("frontal", side, rng.uniform(0.8, 1.4), 0.5, level["delta"] * delta_uv, 0.5)
        add("posterior", side, rng.uniform(0.8, 1.8), 0.6, level["delta"] * delta_uv * 0.6, 0.5)
    if patient.slowing_uv:
        for region in ("frontal", "temporal", "posterior"):
            for side in _SIDES:
                hertz, wide = patient.slowing_hz * rng.uniform(0.7, 1.3), rng.uniform(0.4, 1.2)
                course = np.full(samples, patient.slowing_uv * rng.uniform(0.5, 1.1))
                add(region, side, hertz, wide, course, 0.45)
    if patient.focal_slowing_uv:
        course = np.clip(0.7 + 0.9 * random_course(rng, samples, rate_hz, 12.0), 0, None)
        uv = patient.focal_slowing_uv
        for _ in range(2):
            add(patient.region, patient.side, rng.uniform(0.8, 3.5), 0.9, course * uv)
    if patient.breach:
        course = np.full(samples, rng.uniform(6, 22))
        hertz = rng.uniform(7, 20)
        add(patient.region, patient.side, hertz, 3.0, course, 0.12)
        add(patient.region, patient.side, rng.uniform(6, 11), 1.5, course, 0.12)
    return [band for band in bands if np.any(band.level > 0.05)]


def render_background(
    rng: np.random.Generator,
    canvas: Canvas,
    patient: Patient,
    levels: Levels,
    attenuation: Array | None,
    ranges: Background,
) -> None:
    """Add all continuous activity of a recording.

    ``attenuation`` multiplies that of the brain at ``SUPPRESSION_HZ``, or is None.
    """
    bands = bands_of(rng, canvas, patient, levels, ranges)
    samples, rate_hz = canvas.samples, canvas.rate_hz
    aperiodic = levels.at("aperiodic", samples, rate_hz) * patient.level_uv * canvas.scale
    aperiodic *= 1 + 0.25 * random_course(rng, samples, rate_hz, 6.0)
    aperiodic = aperiodic.astype(np.float32)
    if attenuation is not None:
        times = np.arange(samples) / rate_hz
        factor = np.interp(times, np.arange(len(attenuation)) / SUPPRESSION_HZ, attenuation)
        factor = factor.astype(np.float32)
    muscle = levels.at("muscle", samples, rate_hz).astype(np.float32) * np.float32(
        draw(rng, ranges.muscle_uv)
    )
    tonic = canvas.gains({name: _TONIC.get(name, 0.15) for name in NAMES}, 0.5, rng)
    noise_uv = draw(rng, ranges.noise_uv) * np.exp(rng.normal(0, 0.3, len(NAMES)))
    slow = canvas.head.background(rng, int(rng.integers(*ranges.patches, endpoint=True)), 0.3)
    fast = canvas.head.background(rng, int(rng.integers(*ranges.patches, endpoint=True)), 0.12)
    share = draw(rng, ranges.fast_share)
    mixing = np.hstack(
        [
            np.sqrt(1 - share) * slow,
            np.sqrt(share) * fast,
            *(band.field[:, None] for band in bands),
        ]
    )
    part, overlap = round(PART_S * rate_hz), round(_OVERLAP_S * rate_hz)
    for start in range(0, max(1, samples - overlap), part):
        stop = min(start + part + overlap, samples)
        count = stop - start
        frequencies = bins_hz(count, rate_hz)
        exponent = patient.exponent + rng.normal(0, 0.12)
        spectra = (
            pink(frequencies, exponent, corner_hz=rng.uniform(0.4, 1.5)),
            pink(frequencies, max(0.5, exponent - 0.7), corner_hz=rng.uniform(2, 6)),
        )
        waves = np.empty((mixing.shape[1], count), np.float32)
        for row in range(2 * len(NAMES)):
            waves[row] = shaped_noise(rng, count, spectra[row // len(NAMES)])
            waves[row] *= aperiodic[start:stop]
        for row, band in enumerate(bands, 2 * len(NAMES)):
            spectrum = narrow(frequencies, band.center_hz, band.width_hz)
            waves[row] = shaped_noise(rng, count, spectrum)
            waves[row] *= band.level[start:stop].astype(np.float32)
        made = np.empty((len(NAMES), count), np.float32)
        weighted_sums(np.ascontiguousarray(mixing), waves, made)
        if attenuation is not None:
            made *= factor[start:stop]
        tap = rng.normal(0, 0.35)
        for row in range(len(NAMES)):
            made[row] += np.float32(noise_uv[row]) * rng.standard_normal(count, dtype=np.float32)
            made[row] += np.float32(tonic[row]) * muscle[start:stop] * _hiss(rng, count, tap)
        _join(canvas, start, made, overlap)


def _hiss(rng: np.random.Generator, samples: int, tap: float) -> Wave:
    """Noise of standard deviation 1 that is strongest around a quarter of the sampling rate."""
    white = rng.standard_normal(samples + 3, dtype=np.float32)
    wave: Wave = white[3:] + np.float32(tap) * white[2:-1] - white[1:-2]
    wave *= np.float32(1 / np.sqrt(2 + tap * tap))
    return wave


def _join(canvas: Canvas, start: int, made: Wave, overlap: int) -> None:
    """Add a part that fades in over what the part before it has faded out from."""
    turn = (np.arange(overlap, dtype=np.float32) + 0.5) / overlap
    rise, fall = np.sin(turn * np.float32(np.pi / 2)), np.cos(turn * np.float32(np.pi / 2))
    count = made.shape[1]
    if start:
        made[:, :overlap] *= rise[:count]
    if start + count < canvas.samples:
        made[:, -overlap:] *= fall
    canvas.data[:, start : start + count] += made


def render_transients(
    rng: np.random.Generator,
    canvas: Canvas,
    patient: Patient,
    spells: tuple[Spell, ...],
    states: dict[str, State],
    transients: dict[str, Transient],
) -> None:
    """Add brief activity of each kind that the patient has, in the states where it occurs."""
    for name, kind in transients.items():
        if name not in patient.transients:
            continue
        if kind.ages and patient.age_group not in kind.ages:
            continue
        _render_kind(rng, canvas, patient, spells, states, name, kind)


def _render_kind(
    rng: np.random.Generator,
    canvas: Canvas,
    patient: Patient,
    spells: tuple[Spell, ...],
    states: dict[str, State],
    name: str,
    kind: Transient,
) -> None:
    uv, per_hour, hertz = draw(rng, kind.uv), draw(rng, kind.per_hour), draw(rng, kind.hertz)
    region = kind.regions[int(rng.integers(len(kind.regions)))]
    own = name == "isolated spikes" and patient.region in kind.regions
    if own:
        region = patient.region
    main = patient.side if own else _SIDES[int(rng.integers(2))]
    fields = {side: canvas.head.patch(rng, region, side) for side in _SIDES}
    for spell in spells:
        if spell.state not in kind.states or states[spell.state].suppression:
            continue
        hours = (spell.stop - spell.start) / 3600
        for time_s in np.sort(rng.uniform(spell.start, spell.stop, rng.poisson(per_hour * hours))):
            seconds = draw(rng, kind.seconds)
            wave = transient(
                rng, kind.shape, seconds, hertz * rng.uniform(0.9, 1.1), canvas.rate_hz
            )
            size = np.float32(uv * canvas.scale * np.exp(rng.normal(0, 0.25)))
            if kind.sides == "both":
                lean = rng.uniform(0.4, 0.6)
                field = lean * fields["left"] + (1 - lean) * fields["right"]
                field = field / np.abs(field).max()
            elif kind.sides == "either":
                field = fields[_SIDES[int(rng.integers(2))]]
            else:
                field = fields[main]
            canvas.add(canvas.position(time_s), wave * size, field)


def render_eyes(rng: np.random.Generator, canvas: Canvas, levels: Levels) -> None:
    """Add blinks and eye movements, as often as the levels say.

    The eye is a dipole whose cornea is positive. A blink, in which the lid slides over it, is a
    positive wave in front; a glance, which turns it, is a step of opposite signs at F7 and F8.
    """
    blink_uv, gaze_uv = draw(rng, (60, 220)), draw(rng, (25, 110))
    blink = canvas.gains(
        {"FP1": 1, "FP2": 1, "F3": 0.32, "F4": 0.32, "F7": 0.4, "F8": 0.4, "FZ": 0.3, "FCZ": 0.15}
        | {"C3": 0.08, "C4": 0.08, "CZ": 0.08},
        0.1,
        rng,
    )
    gaze = canvas.gains(
        {"F7": 1, "F8": -1, "FP1": 0.4, "FP2": -0.4, "F3": 0.22, "F4": -0.22, "T3": 0.3}
        | {"T4": -0.3},
        0.1,
        rng,
    )
    per_hour = draw(rng, (200, 1400))
    eyes = levels.courses["eyes"]
    for time_s in np.sort(
        rng.uniform(0, canvas.seconds, rng.poisson(per_hour * canvas.seconds / 3600))
    ):
        level = float(eyes[min(int(time_s * 4), len(eyes) - 1)])
        if rng.random() > level:
            continue
        start = canvas.position(time_s)
        if rng.random() < 0.75:
            samples = canvas.length(rng.uniform(0.25, 0.5))
            turn = np.arange(samples) / samples
            wave = np.sin(np.pi * turn**0.7) ** 2 - 0.15 * np.sin(np.pi * turn) ** 4 * (turn > 0.5)
            canvas.add(start, (blink_uv * rng.uniform(0.6, 1.2) * wave).astype(np.float32), blink)
        else:
            # The eyes stay turned for a while; the high-pass of the recorder does the rest.
            samples = canvas.length(rng.uniform(0.3, 3.0))
            sign = 1.0 if rng.random() < 0.5 else -1.0
            step = ramps(samples, canvas.rate_hz, 0.05, 0.05)
            canvas.add(start, step * np.float32(sign * gaze_uv * rng.uniform(0.5, 1.2)), gaze)
