"""Augmentation: changes to windows that keep their labels valid. For training only, off by default.

The random changes of a row follow from seed, step and the row's position in the whole batch, so
that a training can be resumed, accumulated or shared between processes. They are drawn on the host
for all rows at once, and the windows are changed on the device, all of a batch at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainbrr_core.configuration import Augmentation
from brainbrr_core.constants import CHANNELS, RATE
from brainbrr_core.data.device_feed import on_device, to_float32

_LEFT_RIGHT = {"Fp1": "Fp2", "F3": "F4", "C3": "C4", "P3": "P4", "F7": "F8", "T3": "T4"}
_LEFT_RIGHT |= {"T5": "T6", "O1": "O2"}
_LEFT_RIGHT |= {"T7": "T8", "P7": "P8"}
_OTHER = _LEFT_RIGHT | {right: left for left, right in _LEFT_RIGHT.items()}
#: Rows whose noise is drawn before it is added: few on a CPU, so that it stays in the cache, and
#: more on a GPU, where the host has to start a kernel for each addition.
_NOISY_ROWS = {"cpu": 8, "cuda": 64}
Index = TypeVar("Index", Tensor, NDArray[np.int64])


def mirror(channels: Sequence[str]) -> tuple[int, ...]:
    """For each channel, the position of the one on the other side of the head.

    Midline channels are their own. A derivation is mirrored with both of its electrodes.
    """

    def other(channel: str) -> str:
        return "-".join(_OTHER.get(name, name) for name in channel.split("-"))

    return tuple(channels.index(other(channel)) for channel in channels)


#: :func:`mirror` of the 19 electrodes.
MIRRORED = mirror(CHANNELS)


@dataclass(frozen=True)
class Changes:
    """The changes that were drawn for the windows of a batch.

    For each row ``shifts`` (B,) in samples, whether it is ``mirrored`` (B,), the factor ``gains``
    (B, channels) of each channel, 0 where it is silent, and the seed of its noise, which has the
    standard deviation ``noise_sd``. ``mirror`` is that of the channels.
    """

    shifts: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    gains: NDArray[np.float32]
    noise_seeds: tuple[int, ...]
    noise_sd: float
    mirror: tuple[int, ...] = MIRRORED


def draw(
    settings: Augmentation,
    seed: int,
    step: int,
    positions: Sequence[int],
    channels: Sequence[str] = CHANNELS,
) -> Changes | None:
    """Draw the changes to windows of some ``channels``; None where the settings ask for none.

    ``positions`` are the rows' positions in the whole batch of ``step``.
    """
    if settings == Augmentation():
        return None
    rows = max(positions, default=-1) + 1
    # Row by row, so that those before a row, and not how many follow it, decide what it gets. All
    # is drawn even if it is switched off, so that one setting does not change another's.
    drawn = np.random.default_rng([seed, step]).random((rows, 3 + len(channels)))
    noise_seeds = np.random.default_rng([seed, step, 0]).integers(1 << 63, size=rows)
    shift, gain, flip, silent = np.split(drawn[list(positions)], [1, 2, 3], axis=1)
    factors = (1 + settings.amplitude) ** (2 * gain - 1)
    gains = np.where(silent < settings.channel_dropout, 0.0, factors).astype(np.float32)
    return Changes(
        np.rint((2 * shift[:, 0] - 1) * settings.time_shift_s * RATE).astype(np.int64),
        flip[:, 0] < settings.left_right_flip,
        gains,
        tuple(noise_seeds[list(positions)].tolist()),
        settings.noise_sd,
        mirror(channels),
    )


def move(values: NDArray[np.float32], changes: Changes) -> None:
    """Shift values per sample (B, T), such as labels, in time as their signals are, in place."""
    for row, shift in zip(values, changes.shifts.tolist(), strict=True):
        if shift:
            row[:] = _moved(row, shift)


def _moved(row: NDArray[np.float32], shift: int) -> NDArray[np.float32]:
    """Values ``shift`` samples later, the edge filled by reflection: as :func:`_source` says."""
    length, distance = len(row), abs(shift)
    if distance >= length:
        return row[_source(np.arange(length), shift, length)]
    # Slices: an index for each sample takes ten times as long.
    if shift > 0:
        return np.concatenate([row[1 : distance + 1][::-1], row[: length - distance]])
    return np.concatenate([row[distance:], row[length - 1 - distance : length - 1][::-1]])


def augment(stored: Tensor, changes: Changes | None) -> Tensor:
    """Stored windows (B, channels, T) int16 with changes, float32 in standard deviations.

    They are mirrored and moved, then converted, multiplied, and given noise where they
    are not silent.
    A row's values follow from what was drawn for it, not from the other rows; on a CPU, also
    with another number of threads.
    """
    if changes is None:
        return to_float32(stored)
    device = stored.device
    rows, channels, length = stored.shape
    if changes.mirrored.any():
        order = np.where(changes.mirrored[:, None], changes.mirror, np.arange(channels))
        source = (np.arange(rows)[:, None] * channels + order).ravel()
        flat = stored.reshape(rows * channels, length)
        stored = flat.index_select(0, on_device(source, device)).view_as(stored)
    if changes.shifts.any():
        shifts = on_device(changes.shifts, device)[:, None]
        index = _source(torch.arange(length, device=device), shifts, length)
        stored = stored.gather(2, index[:, None].expand(-1, channels, -1))
    signals = to_float32(stored)
    if (changes.gains != 1).any():
        signals.mul_(on_device(changes.gains[:, :, None], device))
    if changes.noise_sd:
        audible = (changes.gains != 0) * np.float32(changes.noise_sd)
        _add_noise(signals, on_device(audible[:, :, None], device), changes.noise_seeds)
    return signals


def _source(times: Index, shift: Index | int, length: int) -> Index:
    """Which sample each of ``times`` shows after a move, the edges filled by reflection."""
    index: Index = abs(times - shift)
    # A move by the whole window is reflected at both ends.
    reflected: Index = abs(index - 2 * (index - (length - 1)).clip(min=0))
    return reflected


def _add_noise(signals: Tensor, strength: Tensor, seeds: Sequence[int]) -> None:
    generator = torch.Generator(signals.device)
    at_once = _NOISY_ROWS[signals.device.type]
    memory = torch.empty_like(signals[:at_once])
    for first in range(0, len(seeds), at_once):
        some = slice(first, first + at_once)
        noise = memory[: len(seeds[some])]
        for row, seed in zip(noise, seeds[some], strict=True):
            row.normal_(generator=generator.manual_seed(seed))
        # Apart: fused, a processor may round in another way at the end of a thread's share.
        signals[some].add_(noise.mul_(strength[some]))
