"""A network's scores (logits) for one recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.detection.stitching import Stitching, stitch, window_starts

if TYPE_CHECKING:
    import torch

Read = Callable[[int, int], NDArray[np.float32]]


def recording_scores(
    network: torch.nn.Module,
    read: Read,
    samples: int,
    window_samples: int,
    stride_samples: int,
    batch_size: int,
    device: torch.device | str,
    stitching: Stitching = "triangular",
) -> NDArray[np.float32]:
    """Score of each frame of a recording, a logit, float32 ``(ceil(samples / 32),)``.

    ``read(start, stop)`` gives the z-scored signal of those samples, float32
    ``(channels, stop - start)``. ``network`` maps ``(batch, channels, window)`` to logits
    ``(batch, window)``; it stands on ``device`` and is used in evaluation mode, which is undone
    afterwards. ``stitching`` is that of :func:`stitch`. One batch of windows is held at a time.
    A recording shorter than a window is extended by zeros, the mean of a z-scored channel, and
    the extension is not scored.

    Raises ``ValueError`` where the network's output or the signal has another shape.
    """
    starts = window_starts(samples, window_samples, stride_samples)
    was_training = network.training
    network.eval()
    try:
        return stitch(
            _windows(network, read, samples, window_samples, starts, batch_size, device),
            samples,
            window_samples,
            stride_samples,
            stitching,
        )
    finally:
        network.train(was_training)


def _windows(
    network: torch.nn.Module,
    read: Read,
    samples: int,
    window: int,
    starts: list[int],
    batch_size: int,
    device: torch.device | str,
) -> Iterator[NDArray[np.float32]]:
    for first in range(0, len(starts), batch_size):
        batch = [
            padded_window(read, start, samples, window)
            for start in starts[first : first + batch_size]
        ]
        yield from network_scores(network, batch, device)


def network_scores(
    network: torch.nn.Module, windows: Sequence[NDArray[np.float32]], device: torch.device | str
) -> NDArray[np.float32]:
    """Score of each sample of some windows, a logit, float32 ``(windows, samples)``.

    ``windows`` are float32 ``(channels, samples)`` each; ``network`` is in evaluation mode. Raises
    ``ValueError`` where its output has another shape.
    """
    import torch

    # In torch's own memory, whose alignment is always the same: some kernels round by it.
    batch = torch.empty((len(windows), *windows[0].shape))
    np.stack(windows, out=batch.numpy())
    with torch.inference_mode():
        scores: NDArray[np.float32] = network(batch.to(device)).float().cpu().numpy()
    if scores.shape != (len(windows), windows[0].shape[1]):
        raise ValueError(
            f"the network gave {scores.shape} for {len(windows)} windows of {windows[0].shape[1]}"
        )
    return scores


def padded_window(read: Read, start: int, samples: int, window: int) -> NDArray[np.float32]:
    """The window at ``start`` of a recording, followed by zeros where the recording is shorter."""
    stop = min(start + window, samples)
    signal = read(start, stop)
    if signal.ndim != 2 or signal.shape[1] != stop - start:
        raise ValueError(f"the signal of samples {start} to {stop} has the shape {signal.shape}")
    if stop - start == window:
        return signal
    padded = np.zeros((signal.shape[0], window), dtype=np.float32)
    padded[:, : stop - start] = signal
    return padded
