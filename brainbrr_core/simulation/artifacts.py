"""Activity that does not come from the brain.

Each function adds one artifact to a canvas: ``start`` is its first sample, ``samples`` its length,
``uv`` its amplitude and ``hertz`` its pace where it is rhythmic.

Sources
-------
Tatum et al. (2011), J. Clin. Neurophysiol. 28, 252-263: artifacts of the EEG.
Goncharova et al. (2003), Clin. Neurophysiol. 114, 1580-1593: muscle.
Tatum (2013), Neurology 80 (Suppl. 1), S12: artifacts that are taken for epilepsy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from brainbrr_core.simulation.canvas import Canvas
from brainbrr_core.simulation.head import NAMES, SCALP_COUNT, Array
from brainbrr_core.simulation.waveforms import cycles_of, of_each_cycle, sharpened
from brainbrr_core.synthesis.sources import (
    Wave,
    bins_hz,
    narrow,
    pink,
    ramps,
    random_course,
    shaped_noise,
)

_GROUPS = (
    {"T3": 1.0, "F7": 0.8, "T5": 0.5, "C3": 0.25, "A1": 0.5},
    {"T4": 1.0, "F8": 0.8, "T6": 0.5, "C4": 0.25, "A2": 0.5},
    {"FP1": 1.0, "FP2": 1.0, "F7": 0.6, "F8": 0.6, "F3": 0.35, "F4": 0.35, "FZ": 0.2},
    {"O1": 0.8, "O2": 0.8, "T5": 0.7, "T6": 0.7, "P3": 0.3, "P4": 0.3, "A1": 0.4, "A2": 0.4},
)
_JAW = {"T3": 1.0, "T4": 1.0, "F7": 0.8, "F8": 0.8, "FP1": 0.5, "FP2": 0.5, "T5": 0.5, "T6": 0.5}
_JAW |= {"A1": 0.7, "A2": 0.7, "C3": 0.2, "C4": 0.2, "F3": 0.2, "F4": 0.2}
_TONGUE = {"FP1": 0.9, "FP2": 0.9, "F7": 1.0, "F8": 1.0, "T3": 0.7, "T4": 0.7, "A1": 0.6, "A2": 0.6}
_TONGUE |= {"F3": 0.5, "F4": 0.5, "FZ": 0.5, "C3": 0.2, "C4": 0.2, "T5": 0.3, "T6": 0.3}


#: How an artifact is added: generator, canvas, first sample, samples, amplitude in µV, pace in Hz.
Artifact = Callable[[np.random.Generator, Canvas, int, int, float, float], None]


def muscle_noise(rng: np.random.Generator, samples: int, rate_hz: float) -> Wave:
    """Noise of one muscle: broad, between about 20 Hz and 60 to 150 Hz, of deviation 1."""
    frequencies = bins_hz(samples, rate_hz)
    rise = 1 / (1 + np.exp(-(frequencies - rng.uniform(16, 30)) / 3))
    fall = 1 / (1 + np.exp(np.clip((frequencies - rng.uniform(60, 150)) / 10, -50, 50)))
    return shaped_noise(rng, samples, (rise * fall).astype(np.float32))


def tense(
    rng: np.random.Generator, canvas: Canvas, start: int, envelope: Wave, gains: dict[str, float]
) -> None:
    """Add independent muscle noise at each electrode of ``gains``, with a common envelope in µV."""
    for name, gain in gains.items():
        field = np.zeros(len(NAMES))
        field[NAMES.index(name)] = gain * float(np.exp(rng.normal(0, 0.25)))
        noise = muscle_noise(rng, len(envelope), canvas.rate_hz)
        canvas.add(start, noise * envelope, field)


def everywhere(rng: np.random.Generator) -> dict[str, float]:
    """Gains of the muscles of the whole head."""
    low = dict.fromkeys(NAMES[:SCALP_COUNT], 0.25)
    return {name: gain * rng.uniform(0.6, 1.2) for name, gain in (low | _JAW).items()}


def muscle(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """Tension of one to three groups of muscles."""
    del hertz
    for group in rng.permutation(len(_GROUPS))[: int(rng.integers(1, 4))]:
        envelope = ramps(samples, canvas.rate_hz, 0.3, 0.5) * np.float32(uv)
        envelope *= 0.65 + 0.35 * random_course(rng, samples, canvas.rate_hz, rng.uniform(0.2, 2))
        tense(rng, canvas, start, envelope, _GROUPS[group])


def chewing(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """Bursts of the muscles of the jaw, and the slow potential of the tongue."""
    course = np.full(samples, hertz)
    cycles = cycles_of(rng, course, canvas.rate_hz, rng.uniform(0.03, 0.2))
    whole = ramps(samples, canvas.rate_hz, 0.8, 0.8) * of_each_cycle(rng, cycles, 0.25)
    bite = np.sin(2 * np.pi * cycles)
    envelope = np.clip(bite - rng.uniform(-0.2, 0.5), 0, None) * whole * uv
    jaw = _JAW if rng.random() < 0.7 else _GROUPS[int(rng.integers(2))]
    tense(rng, canvas, start, envelope.astype(np.float32), jaw)
    tongue = (bite * whole * uv * rng.uniform(0.0, 0.5)).astype(np.float32)
    canvas.add(start, tongue, canvas.gains(_TONGUE, 0.2, rng))


def tongue_movement(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """Slow waves in front and at the temples: the tongue is a dipole, as the eye is."""
    wave = shaped_noise(rng, samples, narrow(bins_hz(samples, canvas.rate_hz), hertz, 0.5 * hertz))
    wave *= ramps(samples, canvas.rate_hz, 0.2, 0.3) * np.float32(0.6 * uv)
    canvas.add(start, wave, canvas.gains(_TONGUE, 0.2, rng))


def _random_gains(rng: np.random.Generator, share: float) -> Array:
    """Gains of either sign that know nothing of where an electrode is."""
    gains = rng.normal(0, 0.6, len(NAMES))
    gains[rng.random(len(NAMES)) > share] = 0.0
    gains[int(rng.integers(SCALP_COUNT))] = 1.0
    return np.clip(gains, -1, 1)


def tremor(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """A trembling head or hand: a steady rhythm, often at the back of the head."""
    cycles = cycles_of(rng, np.full(samples, hertz), canvas.rate_hz, 0.04)
    wave = sharpened(cycles, rng.uniform(0, 0.7)) * ramps(samples, canvas.rate_hz, 1.0, 1.0)
    wave *= np.float32(uv) * (0.7 + 0.3 * random_course(rng, samples, canvas.rate_hz, 2.0))
    if rng.random() < 0.5:
        back = {"O1": 1.0, "O2": 1.0, "T5": 0.6, "T6": 0.6, "P3": 0.4, "P4": 0.4, "PZ": 0.4}
        canvas.add(start, wave, canvas.gains(back, 0.4, rng))
    else:
        canvas.add(start, wave, _random_gains(rng, rng.uniform(0.1, 0.6)))


def rhythmic_movement(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """Brushing of teeth, patting, percussion: a rhythm that may change pace, with muscle."""
    turn = np.arange(samples) / samples
    pace = hertz * np.exp(rng.normal(0, 0.25) * turn)
    cycles = cycles_of(rng, pace, canvas.rate_hz, rng.uniform(0.03, 0.15))
    envelope = ramps(samples, canvas.rate_hz, rng.uniform(0.2, 3), rng.uniform(0.2, 3))
    envelope *= np.float32(uv) * (0.7 + 0.3 * random_course(rng, samples, canvas.rate_hz, 3.0))
    for share in (1.0, 0.6):
        wave = sharpened(cycles + rng.random(), rng.uniform(0, 1)) * envelope
        canvas.add(start, wave * np.float32(share), _random_gains(rng, rng.uniform(0.2, 1.0)))
    if rng.random() < 0.6:
        bursts = envelope * np.clip(np.sin(2 * np.pi * cycles), 0, None).astype(np.float32)
        group = _GROUPS[int(rng.integers(len(_GROUPS)))]
        tense(rng, canvas, start, bursts * np.float32(rng.uniform(0.1, 0.5)), group)


def movement(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """Head and cables move: large, slow and irregular, at most electrodes at once."""
    del hertz
    envelope = ramps(samples, canvas.rate_hz, 0.6, 1.0) * np.float32(uv)
    spectrum = pink(
        bins_hz(samples, canvas.rate_hz), rng.uniform(2, 3.5), corner_hz=rng.uniform(0.5, 4)
    )
    for _ in range(3):
        wave = shaped_noise(rng, samples, spectrum) * envelope
        canvas.add(start, wave, 0.6 * _random_gains(rng, rng.uniform(0.3, 1.0)))


def _one_electrode(rng: np.random.Generator) -> Array:
    field = np.zeros(len(NAMES))
    field[int(rng.integers(SCALP_COUNT))] = 1.0
    return field


def _pop(rng: np.random.Generator, samples: int, rate_hz: float, decay_s: float) -> Wave:
    decay = np.exp(-np.arange(samples) / (decay_s * rate_hz))
    sign = 1.0 if rng.random() < 0.5 else -1.0
    return (sign * decay).astype(np.float32)


def electrode_pop(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """A step at one electrode that decays."""
    del hertz
    wave = _pop(rng, samples, canvas.rate_hz, rng.uniform(0.05, 0.8)) * np.float32(uv)
    canvas.add(start, wave, _one_electrode(rng))


def repeated_pops(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """Pops of one electrode that follow each other, more or less regularly."""
    field, jitter, decay = _one_electrode(rng), rng.uniform(0.02, 0.6), rng.uniform(0.03, 0.3)
    shape = _pop(rng, canvas.length(min(1.5, 1 / hertz)), canvas.rate_hz, decay)
    position = 0.0
    while position < samples:
        size = np.float32(uv * np.exp(rng.normal(0, 0.3)))
        canvas.add(start + int(position), shape * size, field)
        position += canvas.rate_hz / hertz * max(0.2, 1 + jitter * rng.normal())


def sweat(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """Very slow potentials, in front and at the temples more than elsewhere."""
    frequencies = bins_hz(samples, canvas.rate_hz)
    for _ in range(int(rng.integers(1, 4))):
        wave = shaped_noise(rng, samples, narrow(frequencies, hertz, 0.6 * hertz))
        wave *= ramps(samples, canvas.rate_hz, 10.0, 10.0) * np.float32(uv)
        gains = {"FP1": 1.0, "FP2": 1.0, "F7": 0.8, "F8": 0.8, "T3": 0.5, "T4": 0.5, "O1": 0.3}
        field = canvas.gains(gains, 0.8, rng)
        canvas.add(start, wave, field / np.abs(field).max())


def ventilator(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """Slow waves with each breath, or the trembling of water in the tube."""
    cycles = cycles_of(rng, np.full(samples, hertz), canvas.rate_hz, 0.01)
    turn = cycles - np.floor(cycles)
    wave = np.exp(-0.5 * ((turn - 0.3) / 0.1) ** 2) - 0.5 * np.exp(
        -0.5 * ((turn - 0.6) / 0.15) ** 2
    )
    if rng.random() < 0.4:
        water = np.sin(2 * np.pi * cycles * round(rng.uniform(5, 14) / hertz))
        wave = water * np.exp(-0.5 * ((turn - 0.4) / 0.12) ** 2)
    value = (uv * wave).astype(np.float32) * ramps(samples, canvas.rate_hz, 1.0, 1.0)
    canvas.add(start, value, _random_gains(rng, 0.8))


def _beats(rng: np.random.Generator, samples: int, rate_hz: float, hertz: float) -> Array:
    intervals = 1 / hertz * np.exp(rng.normal(0, rng.choice([0.02, 0.05, 0.2]), samples))
    times = np.cumsum(intervals[: int(samples / rate_hz * hertz * 2) + 2]) * rate_hz
    return np.asarray(times[times < samples])


def heartbeat(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """The electrocardiogram: opposite signs on both sides, largest at the ears."""
    seconds = np.arange(canvas.length(0.5)) / canvas.rate_hz
    beat = np.exp(-0.5 * ((seconds - 0.06) / rng.uniform(0.008, 0.016)) ** 2)
    beat -= 0.3 * np.exp(-0.5 * ((seconds - 0.09) / 0.012) ** 2)
    beat += rng.uniform(0, 0.25) * np.exp(-0.5 * ((seconds - 0.32) / 0.05) ** 2)
    shape = (uv * beat * ramps(len(beat), canvas.rate_hz, 0.02, 0.05)).astype(np.float32)
    axis = rng.normal(0, 1, 3) * np.array([1.0, 0.6, 0.5]) + np.array([1.0, 0, -0.5])
    field = canvas.head.positions @ axis
    field = field / np.abs(field).max()
    for time in _beats(rng, samples, canvas.rate_hz, hertz):
        canvas.add(start + int(time), shape, field)


def pulse(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """An electrode over an artery: a smooth slow wave with each heartbeat."""
    cycles = cycles_of(rng, np.full(samples, hertz), canvas.rate_hz, 0.05)
    turn = cycles - np.floor(cycles)
    wave = np.exp(-0.5 * ((turn - 0.25) / 0.09) ** 2) + 0.4 * np.exp(
        -0.5 * ((turn - 0.55) / 0.12) ** 2
    )
    value = (uv * (wave - wave.mean())).astype(np.float32)
    canvas.add(start, value * ramps(samples, canvas.rate_hz, 2.0, 2.0), _one_electrode(rng))


def saturation(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """An input that is driven out of the amplifier's range and comes back."""
    del hertz
    decay = canvas.length(rng.uniform(1, 4))
    wave = np.concatenate([np.ones(samples), np.exp(-4 * np.arange(decay) / decay)])
    sign = 1.0 if rng.random() < 0.5 else -1.0
    field = _random_gains(rng, rng.choice([0.1, 1.0]))
    canvas.add(start, (sign * uv * wave).astype(np.float32), field)


def loose_electrode(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """An electrode with poor contact: slow drift, hum and pops on top of what it records."""
    del hertz
    field = _one_electrode(rng)
    frequencies = bins_hz(samples, canvas.rate_hz)
    wave = shaped_noise(rng, samples, pink(frequencies, rng.uniform(0.5, 2.5), corner_hz=0.3))
    level = 0.6 + 0.4 * random_course(rng, samples, canvas.rate_hz, 5.0)
    turns = np.arange(samples) * (float(rng.choice([50.0, 60.0])) / canvas.rate_hz)
    wave += np.float32(rng.uniform(0, 1.5)) * np.sin(2 * np.pi * (turns % 1)).astype(np.float32)
    wave *= level * np.float32(uv) * ramps(samples, canvas.rate_hz, 0.2, 0.2)
    canvas.add(start, wave, field)
    for _ in range(int(rng.poisson(samples / canvas.rate_hz / 10))):
        pop = _pop(rng, canvas.length(1.5), canvas.rate_hz, rng.uniform(0.05, 0.5))
        canvas.add(start + int(rng.integers(samples)), pop * np.float32(2 * uv), field)


def reference_change(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """A step of the reference, after which it adds noise of its own to all channels."""
    del hertz
    field = _of_the_reference()
    canvas.add(start, _pop(rng, samples, canvas.rate_hz, 0.5) * np.float32(uv), field)
    rest = canvas.samples - max(0, start)
    if rest > 1:
        noise = shaped_noise(rng, rest, pink(bins_hz(rest, canvas.rate_hz), rng.uniform(0.5, 2)))
        canvas.add(max(0, start), noise * np.float32(rng.uniform(2, 15)), field)


def reference_movement(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """A reference that moves or dries: the same waves in all channels, slow or with each breath.

    Where the recorder has the average of all electrodes as its reference, nothing of it remains.
    """
    frequencies = bins_hz(samples, canvas.rate_hz)
    if rng.random() < 0.5:
        spectrum = narrow(frequencies, hertz, rng.uniform(0.2, 0.8) * hertz)
    else:
        spectrum = pink(frequencies, rng.uniform(1.5, 3.5), corner_hz=hertz)
    wave = shaped_noise(rng, samples, spectrum) * np.float32(0.5 * uv)
    wave *= ramps(samples, canvas.rate_hz, 0.3, 0.5)
    wave *= 0.6 + 0.4 * random_course(rng, samples, canvas.rate_hz, rng.uniform(1, 10))
    canvas.add(start, wave, _of_the_reference())


def _of_the_reference() -> Array:
    """The field of a potential of the reference: what is recorded against it all has, it has not.

    The electrodes of ``NAMES`` that may be references come after those of the scalp.
    """
    field = np.zeros(len(NAMES))
    field[:SCALP_COUNT] = 1.0
    return field


_NEIGHBORS = [("F3", "C3"), ("C3", "P3"), ("F4", "C4"), ("C4", "P4"), ("FP1", "FP2"), ("O1", "O2")]
_NEIGHBORS += [("T3", "T5"), ("T4", "T6"), ("F7", "T3"), ("F8", "T4"), ("FZ", "CZ"), ("CZ", "PZ")]


def salt_bridge(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """Paste or water between two electrodes: both record nearly the same."""
    del hertz, uv
    first, second = (NAMES.index(n) for n in _NEIGHBORS[int(rng.integers(len(_NEIGHBORS)))])
    times = slice(max(0, start), max(0, start + samples))
    mean = 0.5 * (canvas.data[first, times] + canvas.data[second, times])
    for row in (first, second):
        own = rng.standard_normal(len(mean), dtype=np.float32)
        canvas.data[row, times] = mean + np.float32(0.3) * own


def photic_driving(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """The occipital response to flashes, and sometimes the flash in the electrodes in front."""
    cycles = cycles_of(rng, np.full(samples, hertz), canvas.rate_hz, 0.0)
    harmonic = 2 if hertz < 12 and rng.random() < 0.4 else 1
    wave = sharpened(harmonic * cycles, rng.uniform(0, 0.6))
    wave *= ramps(samples, canvas.rate_hz, 0.5, 0.2) * np.float32(uv)
    field = sum(
        (canvas.head.patch(rng, "occipital", side) for side in ("left", "right")),
        start=np.zeros(len(NAMES)),
    )
    canvas.add(start, wave, field / np.abs(field).max())
    if rng.random() < 0.3:
        turn = cycles - np.floor(cycles)
        flash = np.exp(-0.5 * ((turn / hertz - 0.01) / 0.004) ** 2).astype(np.float32)
        gains = canvas.gains({"FP1": 1.0, "FP2": 1.0, "F7": 0.4, "F8": 0.4}, 0.4, rng)
        canvas.add(start, flash * np.float32(uv), gains)


def infusion_pump(
    rng: np.random.Generator, canvas: Canvas, start: int, samples: int, uv: float, hertz: float
) -> None:
    """Brief spikes of an infusion pump, at a constant pace at some electrodes."""
    cycles = cycles_of(rng, np.full(samples, hertz), canvas.rate_hz, 0.0)
    seconds = (cycles - np.floor(cycles)) / hertz
    wave = np.exp(-seconds / rng.uniform(0.004, 0.02))
    bursts = np.ones(samples)
    if rng.random() < 0.5:
        bursts = (random_course(rng, samples, canvas.rate_hz, rng.uniform(1, 8)) > 0).astype(float)
    canvas.add(start, (uv * wave * bursts).astype(np.float32), _random_gains(rng, 0.4))


#: The artifacts by their names in the ranges. A salt bridge changes what is there, so it is last.
ARTIFACTS: dict[str, Artifact] = {
    "muscle": muscle,
    "chewing": chewing,
    "swallowing and tongue": tongue_movement,
    "tremor": tremor,
    "rhythmic movement": rhythmic_movement,
    "movement": movement,
    "electrode pop": electrode_pop,
    "repeated pops": repeated_pops,
    "sweat": sweat,
    "ventilator": ventilator,
    "heartbeat": heartbeat,
    "pulse": pulse,
    "saturation": saturation,
    "loose electrode": loose_electrode,
    "reference change": reference_change,
    "reference movement": reference_movement,
    "photic driving": photic_driving,
    "infusion pump": infusion_pump,
    "salt bridge": salt_bridge,
}
