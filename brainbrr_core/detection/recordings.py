"""The scores (logits) of whole recordings of the store, many in one stream of batches.

The next batches are read, and on their way to the device, while the network works on this one.
Imports torch.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.store import Store
from brainbrr_core.data.device_feed import DeviceFeed, Transfer, host_memory
from brainbrr_core.data.prefetch import read_ahead
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection.scorer import WindowScorer
from brainbrr_core.detection.stitching import RecordingStitcher, Stitching, check_finite
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.scoring import ScoredRecording

#: Threads that read windows, at most: each copies some GB/s.
_THREADS = 8
#: Batches in memory that a GPU copies from: one is filled while another is copied.
_RING = 2

Key = TypeVar("Key")


class StoredSignal(Protocol):
    """A recording as it is stored, such as a ``RecordingReader``."""

    #: Samples of the recording.
    samples: int

    def copy(self, start: int, stop: int, out: NDArray[np.int16]) -> None:
        """Write samples ``start`` to ``stop`` to ``out`` (channels, stop - start)."""


@dataclass(frozen=True, eq=False)
class _Recording(Generic[Key]):
    key: Key
    signal: StoredSignal
    stitcher: RecordingStitcher


def with_scores(recording: ManifestRecording, scores: NDArray[np.float32]) -> ScoredRecording:
    """A recording of the store with its annotation and the scores of its frames."""
    return ScoredRecording(
        recording.patient,
        recording.duration_s,
        recording.reference,
        scores,
        recording.unknown,
        partition_key=recording.partition_key,
        montage=recording.montage,
        corpus=recording.corpus,
    )


def score_stored(
    scorer: WindowScorer,
    store: Store,
    recordings: Iterable[ManifestRecording],
    window: int,
    stride: int,
    stitching: Stitching = "triangular",
) -> Iterator[ScoredRecording]:
    """Run a network over recordings of the store: each with its scores and its annotation.

    Validations, evaluations and benchmarks all judge a network by what this gives. Parameters and
    errors are those of :func:`recording_frames`, and :class:`BrainbrrError` where a score of a
    recording is not finite.
    """
    signals = ((recording, RecordingReader(store, recording)) for recording in recordings)
    for recording, scores in recording_frames(scorer, signals, window, stride, stitching):
        check_finite(scores, recording.partition_key)
        yield with_scores(recording, scores)


def recording_frames(
    scorer: WindowScorer,
    recordings: Iterable[tuple[Key, StoredSignal]],
    window: int,
    stride: int,
    stitching: Stitching = "triangular",
) -> Iterator[tuple[Key, NDArray[np.float32]]]:
    """Scores of the frames of recordings, in their order.

    Windows fill the scorer's batches, one recording after the other. A recording
    shorter than a window is extended by zeros, the mean of a z-scored channel, and the extension
    is not scored. Memory is bounded by a few batches of windows, however many and
    long the recordings are.

    Parameters
    ----------
    scorer : WindowScorer
        The network.
    recordings : iterable of (key, StoredSignal)
        Recordings, each with whatever names it.
    window, stride : int
        Length of a window, and distance from one to the next, in samples at 256 Hz.
    stitching : {"average", "triangular", "max"}
        How overlapping windows are combined (:class:`~brainbrr_core.detection.Stitcher`).

    Yields
    ------
    key
        What names the recording.
    array of float32, shape (ceil(samples / 32),)
        A logit for each frame of 1/8 s.

    Raises
    ------
    BrainbrrError
        What reading a recording raises, after the frames of the recordings before it.
    ValueError
        Where the network's output has another shape.
    """
    opened = (
        _Recording(key, signal, RecordingStitcher(signal.samples, window, stride, stitching))
        for key, signal in recordings
    )
    # Closed from the inside out: no thread reads when the files are let go.
    with (
        closing(
            _batches(opened, scorer.batch, scorer.channels, window, DeviceFeed(scorer.device))
        ) as read,
        closing(read_ahead(read)) as ahead,
        closing(scorer.scores((sent.receive()[0], windows) for sent, windows in ahead)) as scored,
    ):
        for scores, windows in scored:
            for values, (recording, _) in zip(scores, windows, strict=True):
                recording.stitcher.take(values)
                if recording.stitcher.complete:
                    yield recording.key, recording.stitcher.frames()


_Windows = Sequence[tuple[_Recording[Key], int]]


def _batches(
    recordings: Iterable[_Recording[Key]], size: int, channels: int, window: int, feed: DeviceFeed
) -> Generator[tuple[Transfer, _Windows[Key]]]:
    """The windows of recordings, read and sent to the device, with what each is."""
    windows = ((one, start) for one in recordings for start in one.stitcher.starts)
    shape = (size, channels, window)
    ring = [host_memory(shape, torch.int16, feed.device) for _ in range(_RING)]
    copies: list[Transfer | None] = [None] * _RING
    threads = min(usable_cores(), _THREADS, size)
    with ThreadPoolExecutor(threads, thread_name_prefix="read windows") as pool:
        for slot in cycle(range(_RING)):
            batch = list(islice(windows, size))
            if not batch:
                return
            earlier = copies[slot]
            if earlier is not None:
                earlier.await_copy()
            arrays = ring[slot].numpy()
            # Neighbors to one thread: they lie in the same part of a file, verified once.
            share = -(-len(batch) // threads)
            parts = [slice(first, first + share) for first in range(0, len(batch), share)]
            reading = [pool.submit(_fill, arrays[part], batch[part]) for part in parts]
            rows, failure = 0, None
            for started in reading:
                count, failure = started.result()
                rows += count
                if failure is not None:
                    break
            if rows:
                sent = copies[slot] = feed.send(ring[slot][:rows])
                yield sent, batch[:rows]
            if failure is not None:
                raise failure


def _fill(out: NDArray[np.int16], windows: _Windows[Key]) -> tuple[int, BrainbrrError | None]:
    """Read windows; how many were read, and why no more."""
    length = out.shape[-1]
    for n, (recording, start) in enumerate(windows):
        stop = min(start + length, recording.signal.samples)
        try:
            recording.signal.copy(start, stop, out[n, :, : stop - start])
        except BrainbrrError as error:
            return n, error
        out[n, :, stop - start :] = 0
    return len(windows), None
