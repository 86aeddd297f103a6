"""An EDF file as a clinical recording: its wanted channels in µV, and what is odd about it.

edfio parses the header and maps the samples; what it accepts with a warning, or glues together
in silence, is decided here. No identity or free text of a header leaves this module.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Finding
from brainbrr_core.configuration.model import BLOCK_S
from brainbrr_core.signal.montage import MontageMatch, match_channels
from brainbrr_core.signal.resampling import UnsupportedRate, design

if TYPE_CHECKING:
    import edfio

_MICROVOLTS = {"UV": 1.0, "µV": 1.0, "ΜV": 1.0, "MV": 1e3, "V": 1e6}
#: Content above this is wanted; a recording sampled lower is accepted with a finding.
LOWEST_FULL_RATE = 240


class UnusableEdf(Exception):
    """The file gives no signal; ``reason`` is one of ``SIGNAL_REASONS``.

    ``rate`` and ``samples`` are what the file holds, where that much could be read.
    """

    def __init__(
        self, reason: str, detail: str = "", rate: Fraction = Fraction(0), samples: int = 0
    ) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.rate, self.samples = reason, detail, rate, samples


@dataclass(frozen=True, slots=True)
class _Header:
    """The fields of the first 256 bytes that decide whether the rest can be believed."""

    signals: int
    records: int
    header_bytes: int
    record_bytes: int
    record_duration: Fraction
    discontinuous: bool


@dataclass(frozen=True, slots=True)
class _Channel:
    """A signal with its first digital value and what a digital unit is worth in µV."""

    signal: edfio.EdfSignal
    first: np.float32
    gain: np.float32


@dataclass
class EdfRecording:
    """The wanted channels of one EDF; a ``signal.chain.SignalSource`` when it is usable.

    Opened by :func:`open_edf`. ``rate`` is samples per second, ``samples`` per channel.
    """

    path: Path
    match: MontageMatch
    rate: Fraction
    samples: int
    start: datetime.datetime | None
    findings: list[Finding] = field(default_factory=list)
    _channels: list[_Channel] = field(default_factory=list, repr=False)

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
        out = np.empty((len(self._channels), stop - start), np.float32)
        rate = float(self.rate)
        for row, channel in zip(out, self._channels, strict=True):
            row[:] = channel.signal.get_digital_slice(start / rate, stop / rate)
            # Differences of 16-bit numbers are exact in float32.
            row -= channel.first
            row *= channel.gain
        return out


def open_edf(path: Path, bad: Iterable[str] = ()) -> EdfRecording:
    """Open an EDF and match its channels; ``bad`` names channels that count as missing.

    Raises :class:`UnusableEdf` with the reason when no 19-channel signal can be made of it, and
    ``OSError`` when the file cannot be opened.
    """
    header = _read_header(path)
    findings = _findings(path, header)
    edf = _parse(path)
    labels = [signal.label for signal in edf.signals]
    match = match_channels(labels, bad)
    recording = EdfRecording(path, match, Fraction(0), 0, _start(edf), findings)
    if match.reason is not None:
        detail = match.duplicated if match.reason == "duplicate_channel" else match.missing
        raise UnusableEdf(match.reason, ", ".join(detail))
    for name in match.signals:
        index, _ = match.signals[name]
        _add_channel(recording, edf.signals[index], header)
    if header.discontinuous and not edf.is_continuous:
        raise UnusableEdf("discontinuous")
    records = min(edf.num_data_records, header.records if header.records >= 0 else 1 << 62)
    recording.samples = records * recording._channels[0].signal.samples_per_data_record
    if recording.duration_s < BLOCK_S:
        raise UnusableEdf(
            "too_short", f"{recording.duration_s:g} s", recording.rate, recording.samples
        )
    try:
        design(recording.rate)
    except UnsupportedRate as error:
        raise UnusableEdf(
            "unsupported_rate", str(error), recording.rate, recording.samples
        ) from None
    if recording.rate < LOWEST_FULL_RATE:
        findings.append(
            Finding("low_rate", path.name, f"content ends at {float(recording.rate) / 2:g} Hz")
        )
    for name in recording.missing:
        findings.append(Finding("interpolated_channel", path.name, name))
    return recording


def _add_channel(recording: EdfRecording, signal: edfio.EdfSignal, header: _Header) -> None:
    name = signal.label
    try:
        low, high = signal.physical_min, signal.physical_max
        bottom, top = signal.digital_min, signal.digital_max
        per_record = signal.samples_per_data_record
    except ValueError:
        raise UnusableEdf("unreadable", f"a number in the header of {name}") from None
    factor = _MICROVOLTS.get(signal.physical_dimension.strip().upper())
    if factor is None:
        raise UnusableEdf("unknown_unit", name)
    if low == high or bottom == top or not np.isfinite([low, high]).all():
        raise UnusableEdf("no_calibration", name)
    rate = per_record / header.record_duration
    if rate <= 0:
        raise UnusableEdf("no_samples", name)
    if recording._channels and rate != recording.rate:
        raise UnusableEdf("uneven_rates", f"{float(recording.rate):g} and {float(rate):g} Hz")
    recording.rate = rate
    first = signal.get_digital_slice(0, 1 / float(rate))
    gain = factor * (high - low) / (top - bottom)
    recording._channels.append(_Channel(signal, np.float32(first[0]), np.float32(gain)))


def _read_header(path: Path) -> _Header:
    with path.open("rb") as file:
        head = file.read(256)
    if head[:1] == b"\xff":
        raise UnusableEdf("bdf_file")
    if len(head) < 256 or head[:8].strip() != b"0":
        raise UnusableEdf("unreadable", "no EDF header")
    try:
        signals, records = int(head[252:256]), int(head[236:244])
        header_bytes = int(head[184:192])
        duration = Fraction(head[244:252].decode("ascii").strip())
    except (ValueError, ZeroDivisionError):
        raise UnusableEdf("unreadable", "a number in the header") from None
    if signals < 1 or header_bytes != 256 * (signals + 1) or duration < 0:
        raise UnusableEdf("unreadable", "the header contradicts itself")
    if path.stat().st_size <= header_bytes or duration == 0:
        raise UnusableEdf("no_samples")
    return _Header(
        signals,
        records,
        header_bytes,
        _record_bytes(path, signals),
        duration,
        head[192:197] == b"EDF+D",
    )


def _record_bytes(path: Path, signals: int) -> int:
    """Bytes of one data record: two for each sample of each signal, annotations included."""
    with path.open("rb") as file:
        file.seek(256 + 216 * signals)
        fields = file.read(8 * signals)
    try:
        samples = [int(fields[8 * i : 8 * i + 8]) for i in range(signals)]
    except ValueError:
        raise UnusableEdf("unreadable", "a number in the header") from None
    if min(samples) < 0 or sum(samples) == 0:
        raise UnusableEdf("no_samples")
    return 2 * sum(samples)


def _parse(path: Path) -> edfio.Edf:
    import edfio

    try:
        with warnings.catch_warnings():
            # What edfio warns of (record counts, cut records) is found again in _findings.
            warnings.simplefilter("ignore")
            return edfio.read_edf(path, lazy_load_data=True)
    except (ValueError, IndexError, KeyError, OverflowError, ZeroDivisionError, EOFError) as error:
        raise UnusableEdf("unreadable", type(error).__name__) from None


def _findings(path: Path, header: _Header) -> list[Finding]:
    """Compare the number of data records that the header promises with what the file holds."""
    name = path.name
    held, rest = divmod(path.stat().st_size - header.header_bytes, header.record_bytes)
    if held == 0:
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
    return findings


def _start(edf: edfio.Edf) -> datetime.datetime | None:
    try:
        return edf.startdatetime
    except ValueError:
        return None
