"""Geometry of the scalp: positions of electrodes, and the bipolar pairs that TUSZ annotates.

The activity at an electrode belongs to the modules of the sources.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Electrode positions seen from above, in head radii: x to the right, y to the front. Those of the
#: 10-20 system are an azimuthal projection; the others are approximate.
POSITIONS: dict[str, tuple[float, float]] = {
    "FP1": (-0.27, 0.86),
    "FP2": (0.27, 0.86),
    "F3": (-0.37, 0.45),
    "F4": (0.37, 0.45),
    "C3": (-0.45, 0.0),
    "C4": (0.45, 0.0),
    "P3": (-0.37, -0.45),
    "P4": (0.37, -0.45),
    "O1": (-0.27, -0.86),
    "O2": (0.27, -0.86),
    "F7": (-0.71, 0.52),
    "F8": (0.71, 0.52),
    "T3": (-0.9, 0.0),
    "T4": (0.9, 0.0),
    "T5": (-0.71, -0.52),
    "T6": (0.71, -0.52),
    "A1": (-1.1, -0.1),
    "A2": (1.1, -0.1),
    "FZ": (0.0, 0.42),
    "CZ": (0.0, 0.0),
    "PZ": (0.0, -0.42),
    "T1": (-0.85, 0.3),
    "T2": (0.85, 0.3),
    "OZ": (0.0, -0.9),
    "C3P": (-0.45, -0.2),
    "C4P": (0.45, -0.2),
    "SP1": (-0.8, 0.35),
    "SP2": (0.8, 0.35),
    "PG1": (-0.2, 0.98),
    "PG2": (0.2, 0.98),
    "LOC": (-0.5, 0.98),
    "ROC": (0.5, 0.98),
}
#: The modern names of the four electrodes that were renamed.
RENAMED = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
#: The 19 electrodes of the 10-20 system in the order of TUSZ's headers.
TEN_TWENTY = (
    "FP1",
    "FP2",
    "F3",
    "F4",
    "C3",
    "C4",
    "P3",
    "P4",
    "O1",
    "O2",
    "F7",
    "F8",
    "T3",
    "T4",
    "T5",
    "T6",
    "FZ",
    "CZ",
    "PZ",
)
#: The temporal central parasagittal montage, in the order of TUSZ's montage files.
_TCP = (
    "FP1-F7",
    "F7-T3",
    "T3-T5",
    "T5-O1",
    "FP2-F8",
    "F8-T4",
    "T4-T6",
    "T6-O2",
    "A1-T3",
    "T3-C3",
    "C3-CZ",
    "CZ-C4",
    "C4-T4",
    "T4-A2",
    "FP1-F3",
    "F3-C3",
    "C3-P3",
    "P3-O1",
    "FP2-F4",
    "F4-C4",
    "C4-P4",
    "P4-O2",
)
#: Radii of the core of a focal seizure and of the ring around it, in head radii.
CORE_REACH = 0.55
RING_REACH = 1.0


def tcp_channels(montage: str) -> tuple[str, ...]:
    """Bipolar channels annotated in ``montage``; 03_tcp_ar_a has no ear electrodes."""
    if montage == "03_tcp_ar_a":
        return tuple(pair for pair in _TCP if "A1" not in pair and "A2" not in pair)
    return _TCP


def touching(channels: tuple[str, ...], electrodes: frozenset[str]) -> tuple[str, ...]:
    """The bipolar ``channels`` with at least one of the ``electrodes``."""
    return tuple(pair for pair in channels if electrodes & set(pair.split("-")))


def distance(first: str, second: str) -> float:
    """Distance between two electrodes in head radii."""
    (x, y), (u, v) = POSITIONS[first], POSITIONS[second]
    return float(np.hypot(x - u, y - v))


def within(focus: str, reach: float) -> frozenset[str]:
    """Electrodes of the 10-20 system at most ``reach`` head radii from ``focus``."""
    return frozenset(name for name in TEN_TWENTY if distance(focus, name) <= reach)


def coordinates(electrodes: tuple[str, ...]) -> NDArray[np.float64]:
    """Positions of ``electrodes``, shape (electrodes, 2), in head radii."""
    return np.array([POSITIONS[name] for name in electrodes], dtype=np.float64).reshape(-1, 2)
