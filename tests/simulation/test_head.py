"""Potentials of dipoles are those that MNE computes; patches lie where their region is."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from brainbrr_core.simulation.head import (
    BRAIN,
    ELECTRODES,
    FLUID,
    NAMES,
    RADII,
    REGIONS,
    SCALP,
    SCALP_COUNT,
    Head,
    mirrored,
    potentials,
)
from tests.support.simulated import LEFT, RIGHT, head


def test_potentials_are_those_of_mne() -> None:
    radius, skull, rng = 0.09, 0.008, np.random.default_rng(0)
    positions = head().positions
    dipoles = rng.normal(size=(20, 3))
    dipoles *= rng.uniform(0.3, 0.85, (20, 1)) / np.linalg.norm(dipoles, axis=1, keepdims=True)
    moments = rng.normal(size=(20, 3))
    moments /= np.linalg.norm(moments, axis=1, keepdims=True)
    with mne.use_log_level("ERROR"):
        sphere = mne.make_sphere_model(
            (0, 0, 0), radius, relative_radii=RADII, sigmas=(BRAIN, FLUID, skull, SCALP)
        )
        info = mne.create_info(list(NAMES), 256.0, "eeg")
        where = dict(zip(NAMES, positions * radius, strict=True))
        info.set_montage(mne.channels.make_dig_montage(where, coord_frame="head"))
        dipole = mne.Dipole(
            np.zeros(20), dipoles * radius, np.ones(20), moments, np.full(20, 100.0)
        )
        forward, _ = mne.make_forward_dipole(dipole, sphere, info)
    expected = forward["sol"]["data"]
    made = potentials(positions, dipoles, moments, skull) / radius**2
    # MNE approximates the series by three dipoles.
    assert np.abs(made - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("region", [name for name in REGIONS if "1" in REGIONS[name][0][0]])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_patch_is_on_its_side(region: str, side: str) -> None:
    near, far = (LEFT, RIGHT) if side == "left" else (RIGHT, LEFT)
    rng = np.random.default_rng(1)
    fields = np.array([head().patch(rng, region, side) for _ in range(40)])
    assert np.abs(fields[:, :SCALP_COUNT]).max(axis=1) == pytest.approx(np.ones(40))
    assert np.abs(fields[:, near]).mean() > 1.5 * np.abs(fields[:, far]).mean()


def test_a_radial_patch_is_largest_at_the_nearest_electrode() -> None:
    for region, name in (("central", "C3"), ("occipital", "O1"), ("vertex", "CZ")):
        rng = np.random.default_rng(2)
        fields = [head().patch(rng, region, "left", tilt=0.0, scatter=0.02) for _ in range(20)]
        nearest = [NAMES[int(np.argmax(field[:SCALP_COUNT]))] for field in fields]
        assert nearest.count(name) >= 18


def test_a_general_field_is_the_same_on_both_sides_and_leans_to_the_front() -> None:
    fields = head().general(np.random.default_rng(3), 0.9).sum(axis=1)
    assert fields[LEFT] == pytest.approx(fields[RIGHT], abs=0.35)
    assert np.corrcoef(fields[LEFT], fields[RIGHT])[0, 1] > 0.9
    frontal, occipital = NAMES.index("FZ"), NAMES.index("O1")
    assert fields[frontal] > 2 * abs(fields[occipital])


def test_neighbors_are_more_alike_in_the_background_than_distant_electrodes() -> None:
    mixing = head().background(np.random.default_rng(4), 80, 0.3)
    covariance = mixing @ mixing.T
    spread = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(spread, spread)
    assert np.trace(covariance[:SCALP_COUNT, :SCALP_COUNT]) == pytest.approx(SCALP_COUNT, rel=1e-3)
    near = [correlation[NAMES.index(a), NAMES.index(b)] for a, b in (("F3", "FZ"), ("O1", "O2"))]
    far = [correlation[NAMES.index(a), NAMES.index(b)] for a, b in (("F7", "O2"), ("T3", "T4"))]
    assert min(near) > max(far)


def test_electrodes_are_displaced_by_the_stated_angle() -> None:
    exact = head().positions
    angles = [
        np.arccos(np.clip(np.sum(Head.drawn(rng, 0.01, 0.05).positions * exact, axis=1), -1, 1))
        for rng in map(np.random.default_rng, range(30))
    ]
    assert np.mean(angles) == pytest.approx(0.05, rel=0.2)


def test_every_mirrored_electrode_exists() -> None:
    assert {mirrored(name) for name in NAMES if name[-1] in "13579"} <= set(ELECTRODES)
    assert mirrored("CZ") == "CZ"
