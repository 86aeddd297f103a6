"""Electrodes on a spherical head, and the potentials of current dipoles in it.

The forward solution belongs here, and the fields of patches of cortex that follow from it.

Sources
-------
Zhang (1995), Phys. Med. Biol. 40, 335-349: potentials on concentric spheres as a Legendre series.
Hallez et al. (2007), J. NeuroEng. Rehabil. 4:46: conductivities, among them the skull's.
Nunez and Srinivasan (2006), Electric Fields of the Brain, 2nd ed.: patches of cortex as sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.signal.interpolation import POSITIONS

Array = NDArray[np.float64]
#: Outer radii of brain, cerebrospinal fluid, skull and scalp, as shares of the head's.
RADII = (0.90, 0.92, 0.97, 1.0)
#: Conductivities of brain, cerebrospinal fluid and scalp in S/m.
BRAIN, FLUID, SCALP = 0.33, 1.0, 0.33
TERMS = 60

#: Ear lobes, and two positions near the vertex at which recorders have their reference.
_OTHERS = {
    "A1": (-0.93, -0.12, -0.35),
    "A2": (0.93, -0.12, -0.35),
    "CPZ": (0.0, -0.31, 0.95),
    "FCZ": (0.0, 0.42, 0.91),
}
#: The 19 electrodes of the 10-20 system, ear lobes and references; unit vectors (right, anterior,
#: superior).
ELECTRODES = {name.upper(): position for name, position in POSITIONS.items()} | _OTHERS
NAMES = tuple(ELECTRODES)
SCALP_COUNT = len(POSITIONS)

#: Electrodes over the regions of the left hemisphere and the midline, and the eccentricity of
#: sources below them as a share of the head's radius.
REGIONS: dict[str, tuple[tuple[str, ...], float]] = {
    "frontopolar": (("FP1",), 0.82),
    "frontal": (("F3", "FP1"), 0.80),
    "inferior frontal": (("F7", "F3"), 0.80),
    "mesial temporal": (("F7", "T3", "A1"), 0.58),
    "temporal": (("T3", "F7"), 0.80),
    "posterior temporal": (("T5", "T3"), 0.80),
    "central": (("C3",), 0.82),
    "parietal": (("P3",), 0.82),
    "occipital": (("O1",), 0.82),
    "posterior": (("O1", "P3", "T5"), 0.80),
    "vertex": (("CZ",), 0.80),
    "midfrontal": (("FZ",), 0.78),
    "frontocentral": (("FZ", "CZ"), 0.78),
    "midparietal": (("PZ",), 0.80),
}
_MIRRORED = str.maketrans("13579", "24680")


def mirrored(name: str) -> str:
    """The electrode at the same position of the other hemisphere."""
    return name.translate(_MIRRORED) if name[-1] in "13579" else name


@cache
def _layer_factors(skull: float) -> Array:
    """What the layers make of each term of a homogeneous sphere's series."""
    sigma = (BRAIN, FLUID, skull, SCALP)
    factors = np.empty(TERMS)
    for n in range(1, TERMS + 1):
        product = np.eye(2)
        for inner in range(len(RADII) - 1):
            ratio = sigma[inner] / sigma[inner + 1]
            radius = RADII[inner]
            product = (
                product
                @ np.array(
                    [
                        [n + (n + 1) * ratio, (n + 1) * (ratio - 1) * radius ** -(2 * n + 1)],
                        [n * (ratio - 1) * radius ** (2 * n + 1), (n + 1) + n * ratio],
                    ]
                )
                / (2 * n + 1)
            )
        factors[n - 1] = n / (n * product[1, 1] + (n + 1) * product[1, 0])
    return factors


def potentials(electrodes: Array, dipoles: Array, moments: Array, skull: float) -> Array:
    """Potentials of dipoles at electrodes on the scalp, against a reference far away.

    Parameters
    ----------
    electrodes : array, shape (electrodes, 3)
        Unit vectors.
    dipoles, moments : array, shape (dipoles, 3)
        Positions as shares of the head's radius, inside the brain, and moments.
    skull : float
        Conductivity of the skull in S/m.

    Returns
    -------
    array, shape (electrodes, dipoles)
        Potentials in V for moments in A m and a head of 1 m; only their ratios matter here.
    """
    eccentricity = np.linalg.norm(dipoles, axis=1)
    radial = dipoles / eccentricity[:, None]
    cosine = np.clip(electrodes @ radial.T, -1.0, 1.0)
    radial_moment = np.sum(moments * radial, axis=1)
    tangential = moments - radial_moment[:, None] * radial
    # The tangential moment towards each electrode is this over the sine, which cancels below.
    towards = electrodes @ tangential.T
    orders = np.arange(1, TERMS + 1)
    weights = (2 * orders + 1) / orders * _layer_factors(skull)
    value = np.zeros_like(cosine)
    before, current = np.ones_like(cosine), cosine
    slope_before, slope = np.zeros_like(cosine), np.ones_like(cosine)
    power = np.ones_like(eccentricity)
    for n in range(1, TERMS + 1):
        value += weights[n - 1] * power * (n * radial_moment * current + towards * slope)
        power = power * eccentricity
        following = ((2 * n + 1) * cosine * current - n * before) / (n + 1)
        slope_following = slope_before + (2 * n + 1) * current
        before, current = current, following
        slope_before, slope = slope, slope_following
    return np.asarray(value / (4 * np.pi * SCALP))


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a patient with its electrodes.

    ``positions`` are those of ``NAMES``, displaced as in practice; ``skull`` is the skull's
    conductivity in S/m.
    """

    positions: Array
    skull: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, skull: float, displacement: float) -> Head:
        """A head whose electrodes are displaced by ``displacement`` radians on average."""
        positions = np.array(list(ELECTRODES.values()))
        positions = positions / np.linalg.norm(positions, axis=1, keepdims=True)
        positions += rng.normal(0, displacement / np.sqrt(2), positions.shape)
        return cls(positions / np.linalg.norm(positions, axis=1, keepdims=True), skull)

    def field(self, dipoles: Array, moments: Array) -> Array:
        """The sum of the dipoles' potentials, of magnitude 1 at the electrode of the largest."""
        summed = potentials(self.positions, dipoles, moments, self.skull).sum(axis=1)
        return np.asarray(summed / np.abs(summed[:SCALP_COUNT]).max())

    def patch(
        self,
        rng: np.random.Generator,
        region: str,
        side: str,
        *,
        width: float = 0.25,
        tilt: float = 0.35,
        scatter: float = 0.08,
    ) -> Array:
        """The field of a patch of cortex in a region; positive where its surface is.

        Parameters
        ----------
        rng : numpy.random.Generator
            Draws the patch's position, orientation and dipoles.
        region : str
            One of ``REGIONS``.
        side : str
            "left" or "right"; without effect on the midline.
        width : float
            Radius of the patch in radians.
        tilt : float
            Mean angle in radians between the common orientation and the radial one.
        scatter : float
            Mean displacement of the patch from the region's center in radians.
        """
        names, depth = REGIONS[region]
        if side == "right":
            names = tuple(mirrored(name) for name in names)
        center = np.sum([ELECTRODES[name] for name in names], axis=0)
        center = _unit(_unit(center) + rng.normal(0, scatter, 3))
        directions = center + rng.normal(0, width / np.sqrt(2), (12, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        eccentricity = np.clip(depth + rng.normal(0, 0.03), 0.3, 0.86)
        sideways = rng.normal(0, 1, 3)
        sideways = _unit(sideways - (sideways @ center) * center)
        angle = abs(rng.normal(0, tilt))
        moments = np.cos(angle) * directions + np.sin(angle) * sideways
        return self.field(eccentricity * directions, moments)

    def general(self, rng: np.random.Generator, front: float) -> Array:
        """Fields (electrodes, 3) of synchronous activity in front, middle and back of the head.

        ``front`` is the share of the front, from 0 to 1; the back has the rest.
        """
        zones = (
            (("frontal", "inferior frontal", "midfrontal"), front),
            (("central", "temporal", "vertex"), 0.5),
            (("posterior", "occipital", "midparietal"), 1 - front),
        )
        fields = []
        for regions, gain in zones:
            total = np.zeros(len(NAMES))
            for region in regions:
                for side in ("left", "right"):
                    patch = self.patch(rng, region, side, width=0.4, tilt=0.15, scatter=0.04)
                    total += patch * rng.uniform(0.85, 1.15)
            fields.append(gain * total)
        summed = np.sum(fields, axis=0)
        return np.asarray(np.column_stack(fields) / np.abs(summed[:SCALP_COUNT]).max())

    def background(self, rng: np.random.Generator, patches: int, width: float) -> Array:
        """A mixing matrix (electrodes, electrodes) with the covariance of many random patches.

        Independent noise of variance 1, mixed with it, has the covariance that independent patches
        all over the cortex would have, which costs more. The mean variance at an electrode is 1.
        """
        centers = rng.normal(0, 1, (4 * patches, 3))
        centers /= np.linalg.norm(centers, axis=1, keepdims=True)
        centers = centers[centers[:, 2] > -0.45][:patches]
        eccentricity = rng.uniform(0.6, 0.86, len(centers))
        directions = centers[:, None, :] + rng.normal(0, width / np.sqrt(2), (len(centers), 6, 3))
        directions /= np.linalg.norm(directions, axis=2, keepdims=True)
        moments = directions + rng.normal(0, 0.6, (len(centers), 1, 3))
        each = potentials(
            self.positions,
            (eccentricity[:, None, None] * directions).reshape(-1, 3),
            moments.reshape(-1, 3),
            self.skull,
        )
        fields = each.reshape(len(self.positions), len(centers), -1).sum(axis=2)
        fields *= np.exp(rng.normal(0, 0.4, len(centers)))
        covariance = fields @ fields.T
        covariance /= np.trace(covariance[:SCALP_COUNT, :SCALP_COUNT]) / SCALP_COUNT
        return np.linalg.cholesky(covariance + 1e-6 * np.eye(len(covariance)))


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))
