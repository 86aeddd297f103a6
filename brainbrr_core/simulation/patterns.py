"""Rhythmic and periodic patterns that are no seizures.

Sources
-------
Hirsch et al. (2021), J. Clin. Neurophysiol. 38, 1-29, the critical care EEG terminology of the
American Clinical Neurophysiology Society: periodic discharges (PD) of up to 2.5 Hz and rhythmic
delta activity (RDA), lateralized (L), bilateral independent (BI) or generalized (G), with fast
activity (F), rhythmic activity (R) or sharp waves (S), static or fluctuating but not evolving.
Boulanger et al., "Triphasic waves versus nonconvulsive status epilepticus: EEG distinction", Can.
J. Neurol. Sci.: frequency and form of triphasic waves, and the lag of their second phase.
"""

from __future__ import annotations

import numpy as np

from brainbrr_core.simulation.canvas import Canvas
from brainbrr_core.simulation.head import Array
from brainbrr_core.simulation.ranges import Pattern, draw
from brainbrr_core.simulation.scenario import Episode
from brainbrr_core.simulation.waveforms import (
    complex_of,
    cycles_of,
    of_each_cycle,
    sharpened,
    spike_and_wave,
)
from brainbrr_core.synthesis.sources import (
    Wave,
    bins_hz,
    narrow,
    ramps,
    random_course,
    shaped_noise,
)

#: Fields of a pattern: each with its lag in seconds.
_Fields = list[tuple[Array, float]]
_OTHER = {"left": "right", "right": "left"}
_EDGE_S = 0.5


def render_pattern(
    rng: np.random.Generator, canvas: Canvas, episode: Episode, ranges: Pattern
) -> None:
    """Add a pattern; its frequency is the same from beginning to end, apart from its jitter."""
    start = canvas.position(episode.start)
    samples = canvas.position(episode.stop) - start
    hertz, uv = draw(rng, ranges.hertz), draw(rng, ranges.uv) * canvas.scale
    jitter = draw(rng, ranges.jitter)
    if episode.kind == "BIPD":
        for side in (episode.side, _OTHER[episode.side]):
            pace = hertz * rng.uniform(0.7, 1.3)
            fields = _lateral(rng, canvas, episode.region, side, spread=0.0)
            _periodic(rng, canvas, start, samples, fields, pace, uv, jitter, ranges)
        return
    if episode.kind.startswith("G"):
        fields = _general(rng, canvas)
    else:
        fields = _lateral(rng, canvas, episode.region, episode.side, spread=rng.uniform(0, 0.6))
    if episode.kind.endswith("RDA"):
        _rhythmic(rng, canvas, start, samples, fields, hertz, uv, jitter)
    else:
        _periodic(rng, canvas, start, samples, fields, hertz, uv, jitter, ranges)


def _lateral(
    rng: np.random.Generator, canvas: Canvas, region: str, side: str, *, spread: float
) -> _Fields:
    """A patch, a wider one around it, and with ``spread`` the same place of the other side."""
    head = canvas.head
    fields: _Fields = [(head.patch(rng, region, side, width=rng.uniform(0.15, 0.5)), 0.0)]
    if rng.random() < 0.6:
        around = head.patch(rng, region, side, width=0.6, scatter=0.3)
        fields.append((around * rng.uniform(0.2, 0.7), rng.uniform(0, 0.06)))
    if spread > 0.2:
        fields.append((spread * head.patch(rng, region, _OTHER[side]), rng.uniform(0, 0.04)))
    return fields


def _general(rng: np.random.Generator, canvas: Canvas) -> _Fields:
    """Front, middle and back, each with its lag, and one side a little larger."""
    zones = canvas.head.general(rng, rng.uniform(0.25, 0.9))
    lag = rng.uniform(-0.02, 0.13) if rng.random() < 0.5 else 0.0
    lean = 1 + rng.normal(0, 0.12) * canvas.head.positions[:, 0]
    return [(zones[:, n] * lean, abs(lag) * (n if lag > 0 else 2 - n) / 2) for n in range(3)]


def _periodic(
    rng: np.random.Generator,
    canvas: Canvas,
    start: int,
    samples: int,
    fields: _Fields,
    hertz: float,
    uv: float,
    jitter: float,
    ranges: Pattern,
) -> None:
    rate_hz = canvas.rate_hz
    shape = complex_of(
        rng,
        rate_hz,
        width_s=min(draw(rng, ranges.width_s), 0.6 / hertz),
        phases=int(rng.integers(1, 4)),
        slow=rng.uniform(0.1, 0.8) if rng.random() < 0.5 else 0.0,
    )
    has_fast, has_delta = rng.random() < 0.2, rng.random() < 0.15
    spread = rng.uniform(0.05, 0.35)
    slow_change = rng.uniform(0, 0.12)
    train = np.zeros(samples, np.float32)
    position = 0.6 * rate_hz * rng.random() / hertz
    pace = 1.0
    while position + 1 < samples:
        first = int(position)
        part = shape[: samples - first]
        train[first : first + len(part)] += part * np.float32(np.exp(rng.normal(0, spread)))
        pace = 1 + 0.9 * (pace - 1) + slow_change * 0.3 * rng.normal()
        position += (
            rate_hz / (hertz * min(max(pace, 0.8), 1.25)) * max(0.4, 1 + jitter * rng.normal())
        )
    train *= np.float32(uv)
    if has_fast:
        envelope = np.abs(train)
        fast = shaped_noise(rng, samples, narrow(bins_hz(samples, rate_hz), rng.uniform(14, 28), 3))
        train += fast * envelope * np.float32(rng.uniform(0.1, 0.35))
    if has_delta:
        cycles = cycles_of(rng, np.full(samples, hertz), rate_hz, jitter)
        train += sharpened(cycles, 0.2) * np.float32(uv * rng.uniform(0.2, 0.5))
    train *= ramps(samples, rate_hz, _EDGE_S, _EDGE_S)
    _place(canvas, start, train, fields)


def _rhythmic(
    rng: np.random.Generator,
    canvas: Canvas,
    start: int,
    samples: int,
    fields: _Fields,
    hertz: float,
    uv: float,
    jitter: float,
) -> None:
    rate_hz = canvas.rate_hz
    pace = np.full(samples, hertz)
    cycles = cycles_of(rng, pace, rate_hz, jitter, rng.random())
    wave = sharpened(cycles, rng.uniform(0, 0.5)) * np.float32(uv)
    wave *= of_each_cycle(rng, cycles, rng.uniform(0.03, 0.25)).astype(np.float32)
    if rng.random() < 0.2:
        sharp = spike_and_wave(cycles, pace, width_s=rng.uniform(0.015, 0.04), spikes=1, wave=0.0)
        wave += sharp * np.float32(uv * rng.uniform(0.3, 0.8))
    depth = rng.uniform(0, 0.5)
    wave *= 1 - depth + depth * random_course(rng, samples, rate_hz, rng.uniform(3, 15))
    wave *= ramps(samples, rate_hz, _EDGE_S, _EDGE_S)
    _place(canvas, start, wave, fields)


def _place(canvas: Canvas, start: int, wave: Wave, fields: _Fields) -> None:
    """Add a wave to each field; what a lag would carry past the pattern's end is left out."""
    for field, lag_s in fields:
        late = round(lag_s * canvas.rate_hz)
        canvas.add(start + late, wave[: len(wave) - late], field)
