"""Recordings in memory as they are stored, and the scores that a network gives one of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from brainbrr_core.cache.shard import ShardHeader
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import CHANNELS
from brainbrr_core.detection import window_starts
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.quantization import SCALE
from tests.support.signal_reference import ArraySource


def header_of(samples: int) -> ShardHeader:
    """The header of a shard of so many samples, with made-up values for everything else."""
    return ShardHeader(
        format_version=2,
        partition_key="train/a",
        fingerprint="f",
        parameters={},
        source_hash="s",
        source_size=1,
        channels=CHANNELS,
        rate=256,
        samples=samples,
        mean=(0.0,) * len(CHANNELS),
        deviation=(1.0,) * len(CHANNELS),
        interpolated=(),
        libraries={},
    )


class InMemory:
    """A stored recording that records what is read; reading beyond sample ``broken`` fails."""

    def __init__(self, stored: NDArray[np.int16], broken: int | None = None) -> None:
        self.stored, self.broken = stored, broken
        self.samples = stored.shape[1]
        self.asked: list[tuple[int, int]] = []

    def copy(self, start: int, stop: int, out: NDArray[np.int16]) -> None:
        self.asked.append((start, stop))
        if self.broken is not None and stop > self.broken:
            raise BrainbrrError(f"sample {self.broken} is damaged")
        out[...] = self.stored[:, start:stop]


def noise(samples: int, seed: int = 0) -> NDArray[np.int16]:
    """A recording of noise with a standard deviation of about one."""
    values = np.random.default_rng(seed).normal(scale=3000, size=(19, samples))
    return values.clip(-32767, 32767).astype(np.int16)


def naive_frames(
    network: torch.nn.Module, stored: NDArray[np.int16], window: int, stride: int
) -> NDArray[np.float64]:
    """Frames of one recording, window by window, averaged with triangular weights per sample."""
    samples = stored.shape[1]
    sums, weights = np.zeros(max(samples, window)), np.zeros(max(samples, window))
    triangle = np.minimum(np.arange(1, window + 1), np.arange(window, 0, -1))
    for start in window_starts(samples, window, stride):
        signal = np.zeros((1, 19, window), np.float32)
        part = stored[:, start : start + window]
        signal[0, :, : part.shape[1]] = part * np.float32(SCALE)
        with torch.no_grad():
            scores = network(torch.from_numpy(signal)).numpy()[0]
        sums[start : start + window] += triangle * scores.astype(np.float64)
        weights[start : start + window] += triangle
    values = (sums / weights)[:samples]
    return np.array([values[first : first + 32].mean() for first in range(0, samples, 32)])


def z_scores(
    data: NDArray[np.float64], rate: float, settings: Preprocessing | None = None
) -> NDArray[np.float64]:
    """The stored signal (19, n) in standard deviations."""
    made = Chain(ArraySource(data, Fraction(rate)), settings or Preprocessing())
    blocks = np.concatenate([chunk for chunk, _ in made.quantized()])
    return np.asarray(blocks.swapaxes(0, 1).reshape(19, -1)[:, : made.samples] * SCALE)
