"""Short segments of a window, each classified by itself."""

from __future__ import annotations

from torch import Tensor


def segment_samples(samples: int, rate: int, segment_s: float) -> int:
    """Samples of a segment. Raises ``ValueError`` where segments do not divide the window."""
    size = round(segment_s * rate)
    if size < 1 or samples % size:
        raise ValueError(
            f"segments of {segment_s:g} s do not divide a window of {samples / rate:g} s evenly"
        )
    return size


def cut(x: Tensor, size: int) -> Tensor:
    """Cut windows (batch, channels, samples) into segments (batch * segments, channels, size)."""
    batch, channels, samples = x.shape
    by_segment = x.view(batch, channels, samples // size, size).transpose(1, 2)
    return by_segment.reshape(-1, channels, size)
