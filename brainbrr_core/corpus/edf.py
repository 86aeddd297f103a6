"""An EDF file as a clinical recording: its wanted channels in µV, and what is odd about it.

What readers accept with a warning, or glue together in silence, is decided here. Data records are
read in stretches, never mapped: a mapped file counts as memory of the process that reads it.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Finding
from brainbrr_core.configuration.model import BLOCK_S
from brainbrr_core.corpus.edf_header import EdfHeader, EdfSignal, UnusableEdf, read_header
from brainbrr_core.signal.montage import MontageMatch, match_channels
from brainbrr_core.signal.quantization import to_microvolts
from brainbrr_core.signal.resampling import UnsupportedRate, design

#: Content up to half of this is wanted; a recording sampled lower is accepted with a finding.
LOWEST_FULL_RATE = 240
#: What edfio may raise for a file that is not as the specification says.
_EDFIO_ERRORS = (ValueError, IndexError, KeyError, OverflowError, ZeroDivisionError, EOFError)


@dataclass(frozen=True)
class EdfRecording:
    """The wanted channels of one EDF, as ``signal.chain.SignalSource`` has them.

    Opened by :func:`open_edf`. ``rate`` is samples per second, ``samples`` per channel.
    """

    path: Path
    match: MontageMatch
    rate: Fraction
    samples: int
    findings: tuple[Finding, ...]
    _header: EdfHeader
    _channels: tuple[EdfSignal, ...]
    _gains: tuple[float, ...]
    _first: tuple[int, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Electrodes that must be interpolated."""
        return self.match.to_interpolate

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return float(self.samples / self.rate)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop`` of the present wanted channels, (channels, n) float32.

        In µV from each channel's first sample, as ``signal.chain.SignalSource`` has it.
        """
        per_record = self._channels[0].samples
        first, last = start // per_record, -(-stop // per_record)
        records = _records(self.path, self._header, first, last)
        skip = start - first * per_record
        out = np.empty((len(self._channels), stop - start), np.float32)
        channels = zip(out, self._channels, self._gains, self._first, strict=True)
        for row, channel, gain, zero in channels:
            digital = records[:, channel.offset : channel.offset + per_record]
            to_microvolts(digital, skip, np.float32(zero), np.float32(gain), row)
        return out


def open_edf(path: Path, bad: Iterable[str] = ()) -> EdfRecording:
    """Open an EDF and match its channels; ``bad`` names channels that count as missing.

    Raises :class:`UnusableEdf` with the reason when no 19-channel signal can be made of it, and
    ``OSError`` when the file cannot be opened.
    """
    header = read_header(path)
    records, findings = _held_records(path, header)
    match = match_channels([signal.label for signal in header.signals], bad)
    if match.reason is not None:
        detail = match.duplicated if match.reason == "duplicate_channel" else match.missing
        raise UnusableEdf(match.reason, ", ".join(detail))
    channels = tuple(header.signals[index] for index, _ in match.signals.values())
    rates = {channel.samples / header.record_duration for channel in channels}
    if len(rates) > 1:
        raise UnusableEdf("uneven_rates", ", ".join(f"{float(r):g}" for r in sorted(rates)))
    rate, samples = rates.pop(), records * channels[0].samples
    if samples == 0:
        raise UnusableEdf("no_samples")
    gains = tuple(channel.microvolts() for channel in channels)
    if header.discontinuous and not _is_continuous(path):
        raise UnusableEdf("discontinuous", rate=rate, samples=samples)
    if samples / rate < BLOCK_S:
        raise UnusableEdf("too_short", f"{float(samples / rate):g} s", rate, samples)
    try:
        design(rate)
    except UnsupportedRate as error:
        raise UnusableEdf("unsupported_rate", str(error), rate, samples) from None
    if rate < LOWEST_FULL_RATE:
        findings.append(Finding("low_rate", path.name, f"content ends at {float(rate) / 2:g} Hz"))
    findings += [Finding("interpolated_channel", path.name, name) for name in match.to_interpolate]
    start = _records(path, header, 0, 1)[0]
    first = tuple(int(start[channel.offset]) for channel in channels)
    return EdfRecording(path, match, rate, samples, tuple(findings), header, channels, gains, first)


def _records(path: Path, header: EdfHeader, first: int, last: int) -> NDArray[np.int16]:
    """Data records ``first`` to ``last``, (records, samples of a record) int16."""
    size = header.record_samples
    flat = np.fromfile(
        path, np.dtype("<i2"), (last - first) * size, offset=header.header_bytes + 2 * first * size
    )
    return flat.reshape(-1, size)


def _held_records(path: Path, header: EdfHeader) -> tuple[int, list[Finding]]:
    """Data records that can be used, and how that differs from what the header promises."""
    name = path.name
    held, rest = divmod(path.stat().st_size - header.header_bytes, 2 * header.record_samples)
    if held <= 0:
        raise UnusableEdf("no_samples")
    if held < header.records:
        raise UnusableEdf("truncated_file", f"{held} of {header.records} data records")
    findings = []
    if header.records < 0:
        findings.append(Finding("record_count_unknown", name, f"{held} found"))
    elif held > header.records:
        findings.append(Finding("extra_records", name, f"{held} of {header.records} promised"))
    if rest:
        findings.append(Finding("partial_last_record", name, f"{rest} bytes"))
    return held if header.records < 0 else header.records, findings


def _is_continuous(path: Path) -> bool:
    """Whether the time stamps of an EDF+D file follow each other without a gap."""
    import edfio

    try:
        with warnings.catch_warnings():
            # What edfio warns of is found in _held_records.
            warnings.simplefilter("ignore")
            return edfio.read_edf(path, lazy_load_data=True).is_continuous
    except _EDFIO_ERRORS as error:
        raise UnusableEdf("unreadable", type(error).__name__) from None


def recording_start(path: Path) -> datetime.datetime | None:
    """Date and time at which a recording starts; None where the header gives none."""
    import edfio

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return edfio.read_edf(path, lazy_load_data=True).startdatetime
    except _EDFIO_ERRORS:
        return None
