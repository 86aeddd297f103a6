"""An EDF file as a clinical recording: its wanted channels in µV, and what is odd about it.

What readers accept with a warning, or glue together in silence, is decided here. Data records are
read in pieces, never mapped: a mapped file counts as memory of the process that reads it.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Finding
from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import BLOCK_S, CHANNELS
from brainbrr_core.edf.header import (
    ANNOTATIONS,
    EdfFacts,
    EdfHeader,
    EdfSignal,
    UnusableEdf,
    read_header,
)
from brainbrr_core.edf.source import EdfBytes, LocalEdf
from brainbrr_core.edf.timestamps import first_stamp, record_clock, spread
from brainbrr_core.edf.units import oddity_of, written
from brainbrr_core.machine.walk import as_text
from brainbrr_core.signal.montage import MontageMatch, match_channels
from brainbrr_core.signal.quantization import to_microvolts
from brainbrr_core.signal.resampling import UnsupportedRate, design

#: Content up to half of this is wanted; a recording sampled lower is accepted with a finding.
LOWEST_FULL_RATE = 240
#: With fewer of the 19 electrodes a recording is one of another kind (behind the ear, a monitor).
FEW_CHANNELS = 10
#: Bytes of data records that are read at once.
_PIECE_BYTES = 1 << 22


@dataclass(frozen=True)
class EdfRecording:
    """The wanted channels of one EDF, as ``signal.edges.SignalSource`` has them.

    Opened by :func:`open_edf`. ``rate`` is samples per second, ``samples`` per channel.
    """

    file: EdfBytes
    match: MontageMatch
    rate: Fraction
    samples: int
    facts: EdfFacts
    _header: EdfHeader
    _channels: tuple[EdfSignal, ...]
    _gains: tuple[float, ...]
    _first: tuple[int, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is odd about the file."""
        return tuple(self.facts.findings)

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

        In µV from each channel's first sample, as ``signal.edges.SignalSource`` has it.
        """
        per_record = self._channels[0].samples
        first, last = start // per_record, -(-stop // per_record)
        records = _records(self.file, self._header, first, last)
        skip = start - first * per_record
        out = np.empty((len(self._channels), stop - start), np.float32)
        channels = zip(out, self._channels, self._gains, self._first, strict=True)
        for row, channel, gain, zero in channels:
            digital = records[:, channel.offset : channel.offset + per_record]
            to_microvolts(digital, skip, np.float32(zero), np.float32(gain), row)
        return out


def open_edf(
    file: Path | EdfBytes, bad: Iterable[str] = (), rules: ChannelRules | None = None
) -> EdfRecording:
    """Open an EDF and match its channels; ``bad`` names channels that count as missing.

    ``rules`` say which channels will do; the default ones where none are given.
    Raises :class:`UnusableEdf` with the reason when no 19-channel signal can be made of it, and
    ``OSError`` when the file cannot be opened.
    """
    facts = EdfFacts()
    try:
        return _open(_bytes(file), tuple(bad), rules, facts)
    except UnusableEdf as error:
        error.facts = facts
        raise


def _bytes(file: Path | EdfBytes) -> EdfBytes:
    return LocalEdf(file) if isinstance(file, Path) else file


def _open(
    file: EdfBytes, bad: tuple[str, ...], rules: ChannelRules | None, facts: EdfFacts
) -> EdfRecording:
    header = read_header(file)
    name, note = file.name, facts.findings.append
    if header.odd_date:
        note(Finding(header.odd_date, name))
    labels = [signal.label for signal in header.signals]
    facts.signals = sum(label != ANNOTATIONS for label in labels)
    match = facts.match = match_channels(labels, bad, rules)
    channels = tuple(header.signals[index] for index, _ in match.signals.values())
    records = _held_records(file, header, facts)
    # The length of a recording without a wanted channel is worth knowing, too.
    timed = channels or tuple(s for s in header.signals if s.label != ANNOTATIONS)
    rates = sorted({signal.samples / header.record_duration for signal in timed})
    if len(rates) == 1:
        facts.rate, facts.samples = rates[0], records * timed[0].samples
    for electrode in match.bad:
        note(Finding("bad_channel", name, electrode))
    for label in match.unmatched:
        note(Finding("unmatched_bad_channel", name, as_text(label)))
    if match.reason is not None:
        raise wrong_channels(match)
    if match.mixed_references:
        note(Finding("mixed_references", name, match.mixed_references))
    if len(rates) > 1:
        raise UnusableEdf("uneven_rates", ", ".join(f"{float(rate):g} Hz" for rate in rates))
    rate, samples = facts.rate, facts.samples
    if samples == 0:
        raise UnusableEdf("no_samples")
    gains = tuple(channel.microvolts() for channel in channels)
    for unit, count in Counter(channel.dimension for channel in channels).items():
        if code := oddity_of(unit):
            note(Finding(code, name, f"{written(unit)} on {count} channels"))
    _check_time(file, header, records, facts)
    if samples / rate < BLOCK_S:
        raise UnusableEdf("too_short", f"{float(samples / rate):g} s")
    try:
        design(rate)
    except UnsupportedRate as error:
        raise UnusableEdf("unsupported_rate", str(error)) from None
    if rate < LOWEST_FULL_RATE:
        note(Finding("low_rate", name, f"content ends at {float(rate) / 2:g} Hz"))
    for electrode in match.to_interpolate:
        note(Finding("interpolated_channel", name, electrode))
    for electrode, gain in zip(match.signals, gains, strict=True):
        if gain < 0:
            note(Finding("inverted_channel", name, electrode))
    flat = _flat(file, header, channels, records)
    if len(flat) == len(channels):
        raise UnusableEdf("flat_signal")
    for index in flat:
        note(Finding("flat_channel", name, list(match.signals)[index]))
    start = _records(file, header, 0, 1)[0]
    first = tuple(int(start[channel.offset]) for channel in channels)
    return EdfRecording(file, match, rate, samples, facts, header, channels, gains, first)


def wrong_channels(match: MontageMatch) -> UnusableEdf:
    """Why these channels are not the 19, with the electrodes that decide it."""
    if match.reason == "duplicate_channel":
        return UnusableEdf("duplicate_channel", ", ".join(match.duplicated))
    if match.reason == "bipolar_montage":
        return UnusableEdf("bipolar_montage", f"{match.bipolar} derivations")
    if len(match.signals) < FEW_CHANNELS:
        return UnusableEdf("few_channels", f"{len(match.signals)} of {len(CHANNELS)} electrodes")
    if match.reason == "no_common_reference":
        return UnusableEdf("no_common_reference", match.mixed_references)
    lone = ", ".join(match.without_neighbors)
    why = f"; at the edge without all of their neighbors: {lone}" if lone else ""
    most = match.rules.interpolate_at_most
    limit = f"; {most} at most are interpolated" if len(match.missing) > most else ""
    return UnusableEdf("missing_channels", f"{', '.join(match.missing)}{limit}{why}")


def _records(file: EdfBytes, header: EdfHeader, first: int, last: int) -> NDArray[np.int16]:
    """Data records ``first`` to ``last``, (records, samples of a record) int16."""
    size = header.record_samples
    count = (last - first) * size
    return file.samples(header.header_bytes + 2 * first * size, count).reshape(-1, size)


def _pieces(file: EdfBytes, header: EdfHeader, records: int) -> Iterator[NDArray[np.int16]]:
    """All data records, some megabytes at a time."""
    step = max(1, _PIECE_BYTES // (2 * header.record_samples))
    for first in range(0, records, step):
        yield _records(file, header, first, min(first + step, records))


def _held_records(file: EdfBytes, header: EdfHeader, facts: EdfFacts) -> int:
    """Data records that can be used; how that differs from what the header promises is noted."""
    name, note = file.name, facts.findings.append
    held, rest = divmod(file.size() - header.header_bytes, 2 * header.record_samples)
    if held <= 0:
        raise UnusableEdf("no_samples")
    if held < header.records:
        raise UnusableEdf("truncated_file", f"{held} of {header.records} data records")
    if header.records < 0:
        note(Finding("record_count_unknown", name, f"{held} found"))
    elif held > header.records:
        note(Finding("extra_records", name, f"{held} of {header.records} promised"))
    if rest:
        note(Finding("partial_last_record", name, f"{rest} bytes"))
    return held if header.records < 0 else header.records


def _check_time(file: EdfBytes, header: EdfHeader, records: int, facts: EdfFacts) -> None:
    """Raise for a recording with gaps or a drift, which others glue together in silence."""
    clock = record_clock(file, header, records, facts.rate)
    try:
        clock.check()
    except UnusableEdf as error:
        facts.discontinuous = error.reason == "discontinuous"
        raise
    if clock.is_trusted:
        facts.findings.append(Finding("no_time_stamps", file.name))


def _flat(
    file: EdfBytes, header: EdfHeader, channels: tuple[EdfSignal, ...], records: int
) -> list[int]:
    """Which channels hold one value throughout: suspected by a few records, proved by all."""
    suspects = list(range(len(channels)))
    start = _records(file, header, 0, 1)[0]
    values = [int(start[channel.offset]) for channel in channels]

    def varies(block: NDArray[np.int16], index: int) -> bool:
        channel = channels[index]
        part = block[:, channel.offset : channel.offset + channel.samples]
        return bool((part != values[index]).any())

    for number in spread(records):
        block = _records(file, header, number, number + 1)
        suspects = [index for index in suspects if not varies(block, index)]
        if not suspects:
            return []
    for block in _pieces(file, header, records):
        suspects = [index for index in suspects if not varies(block, index)]
        if not suspects:
            break
    return suspects


def annotation_records(file: EdfBytes) -> Iterator[list[bytes]]:
    """The content of every annotation signal, data record by data record.

    Raises :class:`UnusableEdf` for what is no EDF, ``OSError`` when the file cannot be read.
    """
    header = read_header(file)
    parts = [
        slice(signal.offset, signal.offset + signal.samples)
        for signal in header.signals
        if signal.label == ANNOTATIONS
    ]
    if not parts:
        return
    held = (file.size() - header.header_bytes) // (2 * header.record_samples)
    for piece in _pieces(file, header, held if header.records < 0 else header.records):
        for record in piece:
            yield [record[part].tobytes() for part in parts]


def recording_start(file: Path | EdfBytes) -> datetime.datetime | None:
    """Date and time of a recording's first sample, to the microsecond; None where none is given.

    The header gives the second and the first time stamp, where there is one, its part. Raises
    ``OSError`` when the file cannot be read.
    """
    edf = _bytes(file)
    try:
        header = read_header(edf)
    except UnusableEdf:
        return None
    if header.start is None:
        return None
    micro = round(first_stamp(edf, header) * 1_000_000)
    return header.start + datetime.timedelta(microseconds=micro)
