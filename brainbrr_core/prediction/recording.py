"""One EDF on its way to events: opened, prepared piece by piece, its windows' results collected."""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event, Finding
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import RATE, MontageName
from brainbrr_core.corpus.layouts.channels_tsv import bad_channels_of
from brainbrr_core.corpus.recording import SIGNAL_REASONS
from brainbrr_core.detection import RecordingStitcher, padded_window
from brainbrr_core.edf.growing import GrowingEdf
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import EdfRecording, open_edf, recording_start
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.prediction.normalization import Normalization
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.quantization import span
from brainbrr_core.signal.statistics import Statistics


@dataclass(frozen=True)
class Prediction:
    """What was detected in one recording.

    Attributes
    ----------
    events : list of Event
        The detected events, in order; times are seconds from the first sample.
    duration_s : float
        Length of the recording in seconds.
    start : datetime.datetime or None
        Date and time of its first sample; None where the header does not give them.
    findings : tuple of Finding
        Irregularities of the file that do not exclude it.
    statistics : Statistics
        The mean and deviation of each channel, in µV, that its signal was z-scored with; the whole
        recording's where each block has its own.
    """

    events: list[Event]
    duration_s: float
    start: datetime.datetime | None
    findings: tuple[Finding, ...]
    statistics: Statistics


def open_source(
    path: Path, rules: ChannelRules | None = None, montage: MontageName = "10-20"
) -> EdfRecording:
    """An EDF ready for the signal chain. Raises :class:`BrainbrrError` when it is unusable."""
    with _reading(path):
        return open_edf(path, bad_channels_of(path), rules, montage)


def growing_source(
    path: Path, rules: ChannelRules | None = None, montage: MontageName = "10-20"
) -> GrowingEdf:
    """An EDF that is still being written. Raises :class:`BrainbrrError` when it is unusable."""
    with _reading(path):
        return GrowingEdf(path, bad_channels_of(path), rules, montage)


def growing_pieces(path: Path, edf: GrowingEdf, idle_s: float) -> Iterator[NDArray[np.float32]]:
    """The samples of an EDF while it grows. Raises :class:`BrainbrrError` at a gap in them."""
    with _reading(path):
        yield from edf.pieces(idle_s)


class OpenRecording:
    """An EDF, its prepared signal read from front to back, and the scores of its windows.

    ``stitcher`` makes, for a number of samples, what collects the scores; ``window`` is in samples.
    No more than a window and a minute of the signal is held. Raises :class:`BrainbrrError` when
    the file is unusable.
    """

    def __init__(
        self,
        path: Path,
        preprocessing: Preprocessing,
        rules: ChannelRules | None,
        stitcher: Callable[[int], RecordingStitcher],
        window: int,
        normalization: Normalization,
    ) -> None:
        self.path, self._window = path, window
        #: Whether the file turned out to be unusable after its first windows.
        self.failed = False
        self._source = open_source(path, rules, preprocessing.montage)
        with _reading(path):
            self._start = recording_start(path)
            statistics = normalization.of(self._source, preprocessing)
            self._chain = Chain(self._source, preprocessing, statistics)
        self._signal = ForwardReader(self._chain)
        #: The network's scores of its windows.
        self.scores = stitcher(self._chain.samples)

    @property
    def duration_s(self) -> float:
        """Seconds of the prepared signal."""
        return self._chain.samples / RATE

    def windows(self) -> Iterator[NDArray[np.float32]]:
        """The signal (channels, window) of each window, in order."""
        for start in self.scores.starts:
            with _reading(self.path):
                window = padded_window(self._signal.read, start, self._chain.samples, self._window)
            yield window

    def prediction(self, events: list[Event]) -> Prediction:
        """The recording's events, start, findings and statistics."""
        source = self._source
        return Prediction(
            events, source.duration_s, self._start, source.findings, self._chain.statistics
        )


class ForwardReader:
    """Reads spans of a chain's stored samples, each beginning no earlier than the one before."""

    def __init__(self, chain: Chain) -> None:
        self._blocks = (block for blocks, _ in chain.quantized() for block in blocks)
        self._block_samples = chain.block_samples
        self._held: deque[NDArray[np.int16]] = deque()
        self._first = 0

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop``, (channels, stop - start) float32 in standard deviations.

        Raises ``ValueError`` for samples that have been passed.
        """
        first, last = start // self._block_samples, -(-stop // self._block_samples)
        if first < self._first:
            raise ValueError(f"sample {start} has been passed")
        further = last - self._first - len(self._held)
        self._held.extend(islice(self._blocks, max(further, 0)))
        for _ in range(first - self._first):
            self._held.popleft()
        self._first = first
        offset = first * self._block_samples
        wanted = np.stack(list(islice(self._held, last - first)))
        return span(wanted, start - offset, stop - offset)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Why a file cannot be used becomes one line."""
    try:
        yield
    except UnusableEdf as error:
        raise BrainbrrError(f"{path}: {SIGNAL_REASONS[error.reason]} ({error})") from None
    except OSError as error:
        raise BrainbrrError(f"{path} cannot be read: {error.strerror}") from None
