"""One recording on its way to events: prepared piece by piece, its windows' results collected.

An EDF is opened here; any other signal, such as an array, by whoever has it.
"""

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
from brainbrr_core.corpus.layouts.known import layout_around
from brainbrr_core.corpus.recording import SIGNAL_REASONS
from brainbrr_core.detection import RecordingStitcher, padded_window
from brainbrr_core.edf.growing import GrowingEdf
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import EdfRecording, open_edf, recording_start
from brainbrr_core.errors import BrainbrrError, cannot_read
from brainbrr_core.prediction.normalization import Normalization
from brainbrr_core.scoring import sigmoid
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.edges import SignalSource
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
    scores : array of float32, shape (ceil(duration_s * 8),)
        A logit for each frame of 1/8 s, before it is smoothed.
    """

    events: list[Event]
    duration_s: float
    start: datetime.datetime | None
    findings: tuple[Finding, ...]
    statistics: Statistics
    scores: NDArray[np.float32]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The probability of a seizure in each frame of 1/8 s."""
        return sigmoid(self.scores)


@dataclass(frozen=True)
class Input:
    """A recording that is to be predicted.

    ``name`` is what messages call it, ``start`` the date and time of its first sample (None where
    they are not known), and ``findings`` are what is odd about its signal.
    """

    name: str
    source: SignalSource
    start: datetime.datetime | None
    findings: tuple[Finding, ...]

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return float(self.source.samples / self.source.rate)


def open_file(path: Path, rules: ChannelRules | None, montage: MontageName) -> Input:
    """An EDF to be predicted. Raises :class:`BrainbrrError` when it is unusable."""
    if path.is_dir():
        raise BrainbrrError(f"{path} is a folder: give the path of a recording")
    source = open_source(path, rules, montage)
    with _reading(path):
        return Input(str(path), source, recording_start(path), source.findings)


def open_source(
    path: Path, rules: ChannelRules | None = None, montage: MontageName = "10-20"
) -> EdfRecording:
    """A recording ready for the signal chain. Raises :class:`BrainbrrError` when it is unusable."""
    with _reading(path):
        return open_edf(path, bad_channels_of(path), rules, montage, layout_around(path).aliases)


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
    """A recording, its prepared signal read from front to back, and the scores of its windows.

    ``stitcher`` makes, for a number of samples, what collects the scores; ``window`` is in samples.
    No more than a window and a minute of the signal is held. Raises :class:`BrainbrrError` when
    the recording cannot be used.
    """

    def __init__(
        self,
        recording: Input,
        preprocessing: Preprocessing,
        stitcher: Callable[[int], RecordingStitcher],
        window: int,
        normalization: Normalization,
    ) -> None:
        self._recording, self._window = recording, window
        #: Whether the recording turned out to be unusable after its first windows.
        self.failed = False
        with _reading(recording.name):
            statistics = normalization.of(recording.source, preprocessing)
            self._chain = Chain(recording.source, preprocessing, statistics)
        self._signal = ForwardReader(self._chain)
        #: The network's scores of its windows.
        self.scores = stitcher(self._chain.samples)

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self._recording.name)

    @property
    def duration_s(self) -> float:
        """Seconds of the prepared signal."""
        return self._chain.samples / RATE

    def windows(self) -> Iterator[NDArray[np.float32]]:
        """The signal (channels, window) of each window, in order."""
        for start in self.scores.starts:
            with _reading(self._recording.name):
                window = padded_window(self._signal.read, start, self._chain.samples, self._window)
            yield window

    def prediction(self, events: list[Event], frames: NDArray[np.float32]) -> Prediction:
        """The recording's events, the scores of its frames, and what else is known of it."""
        recording = self._recording
        return Prediction(
            events,
            recording.duration_s,
            recording.start,
            recording.findings,
            self._chain.statistics,
            frames,
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
def _reading(name: Path | str) -> Iterator[None]:
    """Why a recording cannot be used becomes one line."""
    try:
        yield
    except UnusableEdf as error:
        raise BrainbrrError(f"{name}: {SIGNAL_REASONS[error.reason]} ({error})") from None
    except OSError as error:
        raise cannot_read(name, error) from None
