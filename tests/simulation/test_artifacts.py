"""Artifacts are when and where they should be."""

from __future__ import annotations

import numpy as np
import pytest

from brainbrr_core.simulation.artifacts import ARTIFACTS
from brainbrr_core.simulation.canvas import Canvas
from brainbrr_core.simulation.head import NAMES, SCALP_COUNT
from brainbrr_core.simulation.recorder import Recorder, record
from tests.support.simulated import LEFT, RIGHT, band_power, empty, peak_hz, varied

RATE = 256
#: Artifacts of which something goes on after their end.
LASTING = {"saturation", "reference change", "loose electrode", "electrode pop", "repeated pops"}


def artifact(kind: str, seconds: float, hertz: float, seed: int = 0, uv: float = 100.0) -> Canvas:
    """An artifact from 5 s on, in a recording that ends 10 s after it."""
    canvas = empty(seconds + 15)
    rng = np.random.default_rng(seed)
    ARTIFACTS[kind](rng, canvas, 5 * RATE, round(seconds * RATE), uv, hertz)
    return canvas


@pytest.mark.parametrize("kind", [kind for kind in ARTIFACTS if kind != "salt bridge"])
def test_an_artifact_is_within_its_time(kind: str) -> None:
    canvas = artifact(kind, 20.0, 2.0)
    level = np.abs(canvas.data).max(axis=0)
    assert level[: 5 * RATE].max() == 0
    assert 5 < level[5 * RATE : 25 * RATE].max() < 2000
    if kind not in LASTING:
        assert level[26 * RATE :].max() == 0


def test_the_ranges_have_every_artifact() -> None:
    assert varied().artifacts.keys() == ARTIFACTS.keys()


@pytest.mark.parametrize("hertz", [1.0, 2.0])
def test_chewing_is_muscle_in_bursts_at_its_pace(hertz: float) -> None:
    data = artifact("chewing", 30.0, hertz, 1).data
    row = max((NAMES.index("T3"), NAMES.index("T4")), key=lambda n: float(np.std(data[n])))
    muscle = np.diff(data[row, 6 * RATE : 34 * RATE]) ** 2
    assert peak_hz(muscle.astype(np.float32), RATE) == pytest.approx(hertz, abs=0.3)
    assert np.std(data[NAMES.index("PZ")]) < 0.2 * np.std(data[row])


def test_muscle_is_above_20_hz_and_nothing_below_10() -> None:
    data = artifact("muscle", 20.0, 1.0, 2).data
    row = int(np.argmax(data.std(axis=1)))
    assert band_power(data[row], RATE, 20, 128) > 50 * band_power(data[row], RATE, 1, 10)


def test_tremor_has_its_frequency() -> None:
    data = artifact("tremor", 30.0, 5.0, 3).data
    row = int(np.argmax(data.std(axis=1)))
    assert peak_hz(data[row, 6 * RATE : 34 * RATE], RATE) == pytest.approx(5.0, abs=0.5)


def test_an_electrode_pop_is_a_step_at_one_electrode() -> None:
    data = artifact("electrode pop", 3.0, 1.0, 4).data
    assert np.count_nonzero(np.abs(data).max(axis=1)) == 1
    wave = np.abs(data[int(np.argmax(np.abs(data).max(axis=1)))])
    assert wave[5 * RATE] == pytest.approx(100.0) and wave[7 * RATE] < 20


def test_the_heart_beats_at_its_rate_with_opposite_signs_on_both_sides() -> None:
    data = artifact("heartbeat", 60.0, 1.2, 5, uv=50.0).data
    left, right = data[NAMES.index("A1")], data[NAMES.index("A2")]
    assert np.corrcoef(left, right)[0, 1] < -0.5
    beats = np.abs(left) > 0.6 * np.abs(left).max()
    onsets = np.flatnonzero(beats[1:] & ~beats[:-1])
    intervals = np.diff(onsets) / RATE
    assert np.median(intervals) == pytest.approx(1 / 1.2, rel=0.15)


@pytest.mark.parametrize("kind", ["reference change", "reference movement"])
def test_what_a_reference_does_is_the_same_in_all_channels_but_not_against_their_average(
    kind: str,
) -> None:
    data = artifact(kind, 20.0, 1.0, 8).data
    recorded = {}
    for reference in ("CPZ", "FCZ", "left ear", "linked ears", "average"):
        recorder = Recorder(RATE, reference, 0.1, 0, 0, 60, 1e-6, 0.1, 3000, 1.0, ears=False)
        recorded[reference] = record(np.random.default_rng(0), data.copy(), recorder)
    average = recorded.pop("average")
    assert np.abs(average).max() < 0.01
    for signals in recorded.values():
        assert np.abs(signals[0]).max() > 30
        assert signals == pytest.approx(np.tile(signals[0], (SCALP_COUNT, 1)), abs=0.01)


def test_movement_of_the_reference_is_as_slow_as_its_pace() -> None:
    data = artifact("reference movement", 60.0, 1.0, 9).data
    assert band_power(data[0], RATE, 0.1, 3) > 5 * band_power(data[0], RATE, 6, 100)


def test_photic_driving_is_occipital_at_the_rate_of_the_flashes_or_twice_it() -> None:
    data = artifact("photic driving", 10.0, 8.0, 6, uv=40.0).data
    occipital = data[NAMES.index("O1"), 6 * RATE : 14 * RATE]
    assert peak_hz(occipital, RATE) in (8.0, 16.0)
    assert np.std(occipital) > np.std(data[NAMES.index("C3"), 6 * RATE : 14 * RATE])


def test_a_salt_bridge_makes_two_neighbors_alike() -> None:
    canvas = empty(30)
    canvas.data[:] = np.random.default_rng(0).normal(0, 20, canvas.data.shape)
    before = canvas.data.copy()
    ARTIFACTS["salt bridge"](np.random.default_rng(1), canvas, 5 * RATE, 20 * RATE, 1.0, 1.0)
    changed = np.flatnonzero((canvas.data != before).any(axis=1))
    assert len(changed) == 2
    first, second = canvas.data[changed]
    assert np.corrcoef(first[5 * RATE : 25 * RATE], second[5 * RATE : 25 * RATE])[0, 1] > 0.99
    assert canvas.data[:, : 5 * RATE].tolist() == before[:, : 5 * RATE].tolist()


def test_movement_that_is_rhythmic_knows_no_anatomy() -> None:
    leans = []
    for seed in range(20):
        power = np.square(artifact("rhythmic movement", 10.0, 4.0, seed).data).sum(axis=1)
        leans.append(power[LEFT].sum() / (power[LEFT].sum() + power[RIGHT].sum()))
    assert 0.35 < np.mean(leans) < 0.65
