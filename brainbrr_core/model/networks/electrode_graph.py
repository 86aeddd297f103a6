"""Which channels of a montage are near each other on the head.

Positions are those of the 10-20 system on a sphere, on which the distances along the arcs from the
nasion to the inion and from ear to ear are in steps of 10 and 20 percent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA

#: Electrodes in degrees: from the vertex downwards, and from the right ear towards the nose.
_ANGLES = {
    "Cz": (0, 0),
    "Fz": (45, 90),
    "Pz": (45, 270),
    "C3": (45, 180),
    "C4": (45, 0),
    "F3": (65, 122),
    "F4": (65, 58),
    "P3": (65, 238),
    "P4": (65, 302),
    "Fp1": (90, 108),
    "Fp2": (90, 72),
    "F7": (90, 144),
    "F8": (90, 36),
    "T3": (90, 180),
    "T4": (90, 0),
    "T5": (90, 216),
    "T6": (90, 324),
    "O1": (90, 252),
    "O2": (90, 288),
}
#: Electrodes of bipolar derivations that have other names there.
_NAMES = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}


def positions(labels: Sequence[str]) -> Tensor:
    """Where channels are on a sphere of radius 1.

    Parameters
    ----------
    labels : sequence of str
        Electrodes, or derivations such as ``Fp1-F7``, which are in the middle of their electrodes.

    Returns
    -------
    Tensor of float64, shape (channels, 3)
        Towards the right ear, the nose and the vertex.
    """
    middles = torch.stack(
        [torch.stack([_position(name) for name in label.split("-")]).sum(0) for label in labels]
    )
    on_sphere: Tensor = middles / middles.norm(dim=1, keepdim=True)
    return on_sphere


def _position(electrode: str) -> Tensor:
    down, around = map(math.radians, _ANGLES[_NAMES.get(electrode, electrode)])
    return torch.tensor(
        [math.sin(down) * math.cos(around), math.sin(down) * math.sin(around), math.cos(down)],
        dtype=torch.float64,
    )


def distance_graph(channels: int, reach: float) -> Tensor:
    """Weights between the channels of a montage, by their distance.

    A weight is ``exp(-(distance / s) ** 2)``, where ``s`` is the standard deviation of the
    distances of all pairs, and 0 beyond ``reach``.

    Parameters
    ----------
    channels : int
        19 for the electrodes of ``10-20``, or 18 for the derivations of ``double-banana``.
    reach : float
        The longest distance of two channels that are connected, in radii of the head.

    Returns
    -------
    Tensor of float64, shape (channels, channels)
        Symmetric, with 1 on its diagonal.

    Raises
    ------
    ValueError
        For another number of channels.
    """
    montages = {len(labels): labels for labels in (CHANNELS, DOUBLE_BANANA)}
    if channels not in montages:
        raise ValueError(
            f"{channels} channels are no montage whose electrodes are known: "
            f"{' or '.join(map(str, montages))} are"
        )
    where = positions(montages[channels])
    distance = (where[:, None] - where).norm(dim=-1)
    # By positions, not by a mask: tensors without values, as doctor uses them, have no mask.
    first, second = torch.triu_indices(channels, channels, offset=1)
    pairs = distance[first, second]
    weights = torch.exp(-((distance / pairs.std(correction=0)) ** 2))
    return torch.where(distance <= reach, weights, 0.0)
