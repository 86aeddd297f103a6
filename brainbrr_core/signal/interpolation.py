"""Spherical-spline interpolation of electrodes that a recording lacks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from pydantic import JsonValue

from brainbrr_core.constants import CHANNELS

#: Unit vectors (right, anterior, superior) of the 10-20 electrodes: the standard positions on
#: the Colin-27 head, seen from the center of the sphere fitted to these 19.
POSITIONS = {
    "Fp1": (-0.2897, 0.9503, -0.1136),
    "F3": (-0.5475, 0.7354, 0.3992),
    "C3": (-0.7436, 0.0444, 0.6672),
    "P3": (-0.5529, -0.6483, 0.5234),
    "F7": (-0.7629, 0.6224, -0.1750),
    "T3": (-0.9862, -0.0050, -0.1653),
    "T5": (-0.7826, -0.6175, -0.0789),
    "O1": (-0.2984, -0.9536, 0.0387),
    "Fz": (-0.0061, 0.7692, 0.6390),
    "Cz": (-0.0052, 0.0672, 0.9977),
    "Pz": (-0.0057, -0.6447, 0.7645),
    "Fp2": (0.2752, 0.9546, -0.1139),
    "F4": (0.5440, 0.7464, 0.3834),
    "C4": (0.7474, 0.0529, 0.6622),
    "P4": (0.5580, -0.6416, 0.5263),
    "F8": (0.7566, 0.6293, -0.1773),
    "T4": (0.9857, 0.0066, -0.1686),
    "T6": (0.7796, -0.6211, -0.0805),
    "O2": (0.2869, -0.9572, 0.0386),
}
#: Smoothness of the spline, number of Legendre terms and regularization, as MNE uses them.
STIFFNESS, TERMS, REGULARIZATION = 4, 50, 1e-5


def interpolation_constants() -> dict[str, JsonValue]:
    """The constants of the interpolation, as the preprocessing version has them."""
    return {
        "method": "spherical spline",
        "positions": {name: list(position) for name, position in POSITIONS.items()},
        "stiffness": STIFFNESS,
        "terms": TERMS,
        "regularization": REGULARIZATION,
    }


def _spline(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """The function g of Perrin et al. (1989), of which a spline is made, at cosines of angles."""
    orders = np.arange(1, TERMS + 1, dtype=np.float64)
    factors = (2 * orders + 1) / ((orders * (orders + 1)) ** STIFFNESS * 4 * np.pi)
    return np.asarray(legendre.legval(cosines, np.concatenate([[0.0], factors])))


def _cosines(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines of the angles between unit vectors (n, 3) and (m, 3), summed in one order."""
    x, y, z = a.T[:, :, None] * b.T[:, None, :]
    return np.asarray(x + y + z)


def interpolation_weights(missing: Sequence[str]) -> NDArray[np.float64]:
    """Weights (missing, 19 - missing) that interpolate the missing electrodes from the others.

    Columns follow ``CHANNELS`` without the missing ones. Source: Perrin, Pernier, Bertrand and
    Echallier (1989), Electroenceph. clin. Neurophysiol. 72, 184-187.
    """
    # A heavy import, needed only where signals are computed.
    from brainbrr_core.signal.products import solve

    present = [name for name in CHANNELS if name not in missing]
    at = np.array([POSITIONS[name] for name in present])
    to = np.array([POSITIONS[name] for name in missing])
    at /= np.linalg.norm(at, axis=1, keepdims=True)
    to /= np.linalg.norm(to, axis=1, keepdims=True)
    count = len(present)
    # The spline's coefficients c and constant c0 solve [G + aI, 1; 1', 0] [c; c0] = [v; 0].
    system = np.ones((count + 1, count + 1))
    system[:count, :count] = _spline(_cosines(at, at)) + REGULARIZATION * np.eye(count)
    system[count, count] = 0.0
    evaluate = np.hstack([_spline(_cosines(to, at)), np.ones((len(missing), 1))])
    # The system is symmetric, so that solving it for the transposed weights is the same.
    return np.ascontiguousarray(solve(system, np.ascontiguousarray(evaluate.T))[:count].T)


def rounded_weights(missing: Sequence[str]) -> NDArray[np.float64]:
    """:func:`interpolation_weights`, rounded to multiples of 2**-32.

    The last bits of powers and roots differ from one library to another.
    """
    return np.asarray(np.rint(interpolation_weights(missing) * 2.0**32) / 2.0**32)
