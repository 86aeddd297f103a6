"""From a recording's plan to its digital samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.simulation.artifacts import ARTIFACTS
from brainbrr_core.simulation.background import (
    render_background,
    render_eyes,
    render_transients,
)
from brainbrr_core.simulation.canvas import Canvas
from brainbrr_core.simulation.drawing import Recording, random_of
from brainbrr_core.simulation.patterns import render_pattern
from brainbrr_core.simulation.ranges import Ranges, draw
from brainbrr_core.simulation.recorder import digitize, record
from brainbrr_core.simulation.scenario import ARTIFACT, PATTERN, SEIZURE
from brainbrr_core.simulation.seizures import aftermath_of, attenuation_of, render_seizure
from brainbrr_core.simulation.states import levels_of, suppression_of

#: Artifacts that change what is already there.
_LAST = "salt bridge"


def potentials_of(recording: Recording, ranges: Ranges) -> Canvas:
    """The potentials of a recording at all electrodes, without a recorder."""
    scenario, patient = recording.scenario, recording.patient
    rate_hz, seconds = float(recording.recorder.rate_hz), scenario.seconds
    canvas = Canvas.empty(round(seconds * rate_hz), rate_hz, patient.head, patient.scale)
    rng = random_of(recording, "background")
    levels = levels_of(rng, ranges.states, scenario.spells, seconds)
    factor = suppression_of(
        rng,
        scenario.spells,
        ranges.states,
        ranges.background.burst_s,
        ranges.background.suppression_s,
        seconds,
    )
    seizures = scenario.of(SEIZURE)
    aftermaths = [
        aftermath_of(random_of(recording, "aftermath", str(one.number)), one) for one in seizures
    ]
    attenuation = attenuation_of(aftermaths, factor, seconds) if aftermaths else factor
    render_background(rng, canvas, patient, levels, attenuation, ranges.background)
    render_transients(
        random_of(recording, "transients"),
        canvas,
        patient,
        scenario.spells,
        ranges.states,
        ranges.transients,
    )
    render_eyes(random_of(recording, "eyes"), canvas, levels)
    for one in scenario.of(PATTERN):
        rng = random_of(recording, PATTERN)
        render_pattern(rng, canvas, one, ranges.patterns[one.kind])
    for one in seizures:
        rng = random_of(recording, SEIZURE, str(one.number))
        relative = draw(rng, ranges.seizure_uv_of_background)
        render_seizure(rng, canvas, one, ranges.seizures[one.kind], relative)
    artifacts = sorted(scenario.of(ARTIFACT), key=lambda one: (one.kind == _LAST, one.number))
    for one in artifacts:
        rng = random_of(recording, ARTIFACT, str(one.number))
        start = canvas.position(one.start)
        samples = max(2, canvas.position(one.stop) - start)
        kind = ranges.artifacts[one.kind]
        uv, hertz = draw(rng, kind.uv), draw(rng, kind.hertz)
        ARTIFACTS[one.kind](rng, canvas, start, samples, uv, hertz)
    return canvas


def render_recording(recording: Recording, ranges: Ranges) -> list[NDArray[np.int16]]:
    """Digital samples of each channel of a recording."""
    canvas = potentials_of(recording, ranges)
    recorder = recording.recorder
    signals = record(random_of(recording, "recorder"), canvas.data, recorder)
    return [
        digitize(signal, channel)
        for signal, channel in zip(signals, recorder.channels(), strict=True)
    ]
