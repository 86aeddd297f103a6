"""A trained network ready to be run over recordings, from the store or from an EDF."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray

from brainbrr_core.annotation import Event, Finding
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import is_imported
from brainbrr_core.configuration import Configuration, Detection
from brainbrr_core.corpus.channels_tsv import bad_channels
from brainbrr_core.corpus.edf import open_edf, recording_start
from brainbrr_core.corpus.edf_header import UnusableEdf
from brainbrr_core.corpus.recording import SIGNAL_REASONS
from brainbrr_core.detection import detect, recording_probabilities
from brainbrr_core.detection.infer import Read
from brainbrr_core.detection.threshold import read_threshold
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import SeizureNetwork
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.training.hardware import check_device
from brainbrr_core.training.run import Run

_RATE = 256
_BATCH = 16


@dataclass(frozen=True)
class Prediction:
    """Events of one recording; ``start`` is the header's, None where it gives none."""

    events: list[Event]
    duration_s: float
    start: datetime.datetime | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Predictor:
    """A network with how it is slid over a recording."""

    network: SeizureNetwork
    configuration: Configuration
    device: torch.device
    #: Length of the windows that the network was trained on.
    window_s: int

    @classmethod
    def of(cls, run: Run, configuration: Configuration) -> Predictor:
        """The network of a run on the configured device.

        Raises :class:`BrainbrrError` when the run was trained on another preprocessing version.
        """
        trained = run.values["identity"]["preprocessing_version"]
        wanted = Store.of(configuration).version
        if trained != wanted:
            raise BrainbrrError(
                f"run {run.name} was trained on {trained} and the configuration says {wanted}: "
                "choose its configuration, or train anew"
            )
        device = check_device(configuration.hardware)
        window_s = run.values["identity"]["windows"]["length_s"]
        network = run.load_network(configuration.hardware.ssm_backend).to(device)
        return cls(network, configuration, device, window_s)

    def probabilities(self, read: Read, samples: int) -> NDArray[np.float32]:
        """Probability of seizure in each frame of 1/8 s of one recording."""
        stride = min(self.configuration.detection.stride_s, self.window_s)
        return recording_probabilities(
            self.network,
            read,
            samples,
            self.window_s * _RATE,
            stride * _RATE,
            _BATCH,
            self.device,
            self.configuration.detection.stitching,
        )

    def predict(self, path: Path, on_threshold: float) -> Prediction:
        """Events of one EDF. Raises :class:`BrainbrrError` with the reason when it is unusable."""
        version = Store.of(self.configuration).version
        if is_imported(version):
            raise BrainbrrError(
                f"the run was trained on {version}, whose signal chain is not known: no EDF can "
                "be prepared for it; train on a built version"
            )
        try:
            source = open_edf(path, bad_channels(path))
        except UnusableEdf as error:
            raise BrainbrrError(f"{path}: {SIGNAL_REASONS[error.reason]} ({error})") from None
        except OSError as error:
            raise BrainbrrError(f"{path} cannot be read: {error.strerror}") from None
        chain = Chain(source, self.configuration.preprocessing)
        with tempfile.TemporaryFile() as file:
            probabilities = self.probabilities(_spooled(file, chain), chain.samples)
        duration = chain.samples / _RATE
        events = detect(probabilities, duration, self.configuration.detection, on_threshold)
        return Prediction(events, source.duration_s, recording_start(path), source.findings)


def _spooled(file: IO[bytes], chain: Chain) -> Read:
    """Write the chain's blocks to ``file``, so that a day-long recording needs no memory."""
    for blocks, _ in chain.quantized():
        file.write(blocks.data)
    file.flush()
    shape = (chain.blocks, 19, chain.block_samples)
    stored = np.memmap(file, dtype=np.int16, mode="r", shape=shape)

    def read(start: int, stop: int) -> NDArray[np.float32]:
        first, last = start // chain.block_samples, -(-stop // chain.block_samples)
        joined = np.concatenate(list(stored[first:last]), axis=1)
        offset = first * chain.block_samples
        return joined[:, start - offset : stop - offset].astype(np.float32) * np.float32(SCALE)

    return read


def threshold_of(run: Run, detection: Detection) -> tuple[float, str]:
    """The on-threshold to use with a run, and where it comes from."""
    kept = read_threshold(run.directory)
    if kept is not None and kept.detection == detection:
        return kept.on_threshold, "tuned on dev"
    return detection.on_threshold, "the configuration's; `brainbrr evaluate` tunes it on dev"


def edf_files(place: Path) -> Iterable[Path]:
    """An EDF, or every EDF below a folder. Raises :class:`BrainbrrError` when there is none."""
    if place.is_file():
        return [place]
    found = sorted(path for path in place.rglob("*") if path.suffix.lower() == ".edf")
    if not found:
        raise BrainbrrError(f"no EDF at {place}: give a file or a folder with some")
    return found
