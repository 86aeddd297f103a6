"""An EDF file as a clinical recording: its wanted channels in µV, and what is odd about it.

Files that other readers accept with a warning, or whose gaps they silently close, are judged here.
Data records are read in chunks and never memory-mapped: a mapped file would count as memory of the
process that reads it.
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
from brainbrr_core.edf.records import available_records, read_records, record_chunks, whole_records
from brainbrr_core.edf.source import EdfBytes, LocalEdf
from brainbrr_core.edf.timestamps import first_stamp, record_clock, spaced_records
from brainbrr_core.edf.units import oddity_of, quote_unit
from brainbrr_core.machine.walk import as_text
from brainbrr_core.signal.montage import MontageMatch, match_channels
from brainbrr_core.signal.quantization import to_microvolts
from brainbrr_core.signal.resampling import UnsupportedRate, design

#: In Hz: half of it is the highest frequency that the signal chain passes. A recording with a
#: lower sampling rate is accepted with a finding.
LOWEST_FULL_RATE = 240
#: With fewer of the 19 electrodes, it is another kind of recording (behind the ear, a monitor).
FEW_CHANNELS = 10


@dataclass(frozen=True)
class EdfRecording:
    """The electrodes of one EDF in µV, opened by :func:`open_edf`.

    Attributes
    ----------
    file : EdfBytes
        The file that is read.
    match : MontageMatch
        Which signal of the file is which electrode.
    rate : fractions.Fraction
        Sampling rate in Hz.
    samples : int
        Samples of each channel.
    facts : EdfFacts
        What was learned about the file, including its findings.
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
        """Irregularities of the file that do not exclude it."""
        return tuple(self.facts.findings)

    @property
    def missing(self) -> tuple[str, ...]:
        """Electrodes that must be interpolated, by name."""
        return self.match.to_interpolate

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return float(self.samples / self.rate)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read samples ``start`` up to ``stop`` of the electrodes that the file has.

        Parameters
        ----------
        start, stop : int
            First sample, and the one after the last.

        Returns
        -------
        numpy.ndarray
            (channels, stop - start) float32 in µV, relative to the first sample of each channel.
            The channels are in the order of the 19 electrodes, without the ``missing`` ones.

        Raises
        ------
        OSError
            The file cannot be read.
        """
        per_record = self._channels[0].samples
        first, after_last = start // per_record, -(-stop // per_record)
        records = read_records(self.file, self._header, first, after_last)
        skip = start - first * per_record
        out = np.empty((len(self._channels), stop - start), np.float32)
        offsets = np.array([channel.offset for channel in self._channels])
        first_values = np.array(self._first, np.float32)
        gains = np.array(self._gains, np.float32)
        to_microvolts(records, offsets, per_record, skip, first_values, gains, out)
        return out


def open_edf(
    file: Path | EdfBytes, bad: Iterable[str] = (), rules: ChannelRules | None = None
) -> EdfRecording:
    """Open an EDF and match its signals to the 19 electrodes.

    Parameters
    ----------
    file : pathlib.Path or EdfBytes
        The EDF.
    bad : iterable of str
        Names of channels that count as missing.
    rules : ChannelRules, optional
        Which references are accepted, and how many electrodes may be interpolated; by default
        those of the default configuration.

    Returns
    -------
    EdfRecording
        The electrodes of the file.

    Raises
    ------
    UnusableEdf
        The file gives no 19-channel signal; the error has the reason.
    OSError
        The file cannot be read.
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
    records = _usable_records(file, header, facts)
    # A recording without any electrode has a length, too.
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
            note(Finding(code, name, f"{quote_unit(unit)} on {count} channels"))
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
    record = read_records(file, header, 0, 1)[0]
    first = tuple(int(record[channel.offset]) for channel in channels)
    return EdfRecording(file, match, rate, samples, facts, header, channels, gains, first)


def wrong_channels(match: MontageMatch) -> UnusableEdf:
    """The error for channels that do not give the 19, naming the electrodes that decide it."""
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


def _usable_records(file: EdfBytes, header: EdfHeader, facts: EdfFacts) -> int:
    """How many data records can be used; a difference from the header becomes a finding."""
    name, note = file.name, facts.findings.append
    whole, rest = whole_records(file, header)
    if whole <= 0:
        raise UnusableEdf("no_samples")
    if whole < header.records:
        raise UnusableEdf("truncated_file", f"{whole} of {header.records} data records")
    if header.records < 0:
        note(Finding("record_count_unknown", name, f"{whole} found"))
    elif whole > header.records:
        note(Finding("extra_records", name, f"{whole} of {header.records} promised"))
    if rest:
        note(Finding("partial_last_record", name, f"{rest} bytes"))
    return whole if header.records < 0 else header.records


def _check_time(file: EdfBytes, header: EdfHeader, records: int, facts: EdfFacts) -> None:
    """Raise :class:`UnusableEdf` for a recording with gaps between records or a clock drift."""
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
    """Channels with one value throughout: a few records give the suspects, all records decide."""
    suspects = list(range(len(channels)))
    record = read_records(file, header, 0, 1)[0]
    values = [int(record[channel.offset]) for channel in channels]

    def varies(block: NDArray[np.int16], index: int) -> bool:
        channel = channels[index]
        samples = block[:, channel.offset : channel.offset + channel.samples]
        return bool((samples != values[index]).any())

    for number in spaced_records(records):
        block = read_records(file, header, number, number + 1)
        suspects = [index for index in suspects if not varies(block, index)]
        if not suspects:
            return []
    for _, block in record_chunks(file, header, records):
        suspects = [index for index in suspects if not varies(block, index)]
        if not suspects:
            break
    return suspects


def annotation_records(file: EdfBytes) -> Iterator[list[bytes]]:
    """The bytes of every annotation signal, data record by data record.

    The file may have no other signals.

    Raises :class:`UnusableEdf` for a file that is not an EDF, ``OSError`` when it cannot be read.
    """
    header = read_header(file, without_signals=True)
    columns = [
        slice(signal.offset, signal.offset + signal.samples)
        for signal in header.signals
        if signal.label == ANNOTATIONS
    ]
    if not columns:
        return
    for _, chunk in record_chunks(file, header, available_records(file, header)):
        for record in chunk:
            yield [record[column].tobytes() for column in columns]


def recording_start(file: Path | EdfBytes) -> datetime.datetime | None:
    """Date and time of a recording's first sample; None where the header does not give them.

    The header has whole seconds; the first time stamp of an EDF+ adds the fraction of a second, to
    the microsecond. Raises ``OSError`` when the file cannot be read.
    """
    edf = _bytes(file)
    try:
        header = read_header(edf)
    except UnusableEdf:
        return None
    if header.start is None:
        return None
    microseconds = round(first_stamp(edf, header) * 1_000_000)
    return header.start + datetime.timedelta(microseconds=microseconds)
