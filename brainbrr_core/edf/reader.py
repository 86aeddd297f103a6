"""A file as a clinical recording: its wanted channels in µV, and what is odd about it.

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
from brainbrr_core.constants import BLOCK_S, MontageName
from brainbrr_core.display.counts import count
from brainbrr_core.edf.channels import Aliases, MontageChannels, match_labels, montage_channels
from brainbrr_core.edf.formats import is_native, suffix_of
from brainbrr_core.edf.header import (
    DecodedFile,
    EdfFacts,
    EdfHeader,
    EdfSignal,
    UnusableEdf,
    read_header,
)
from brainbrr_core.edf.records import available_records, read_records, record_chunks, whole_records
from brainbrr_core.edf.source import Digital, EdfBytes, LocalEdf, as_bytes
from brainbrr_core.edf.timestamps import first_stamp, record_clock, spaced_records
from brainbrr_core.edf.units import oddity_of, quote_unit
from brainbrr_core.machine.walk import as_text
from brainbrr_core.signal.montage import MontageMatch
from brainbrr_core.signal.resampling import UnsupportedRate, design

#: In Hz: half of it is the highest frequency that the signal chain passes. A recording with a
#: lower sampling rate is accepted with a finding.
LOWEST_FULL_RATE = 240
#: Samples of each channel that are looked at together.
_CHECKED = 1 << 15


@dataclass(frozen=True)
class EdfRecording:
    """The channels of a montage in one EDF, in µV, opened by :func:`open_edf`.

    Attributes
    ----------
    file : EdfBytes
        The file that is read.
    match : MontageMatch
        Which signal of the file is which electrode.
    channels : MontageChannels
        Which signals of the file give the channels of the montage.
    rate : fractions.Fraction
        Sampling rate in Hz.
    samples : int
        Samples of each channel.
    facts : EdfFacts
        What was learned about the file, including its findings.
    """

    file: EdfBytes
    match: MontageMatch
    channels: MontageChannels
    rate: Fraction
    samples: int
    facts: EdfFacts
    _header: EdfHeader
    _first: NDArray[Digital]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Irregularities of the file that do not exclude it."""
        return tuple(self.facts.findings)

    @property
    def missing(self) -> tuple[str, ...]:
        """Electrodes that must be interpolated after the filters, by name."""
        return self.channels.missing

    @property
    def interpolated(self) -> tuple[str, ...]:
        """Electrodes that the file lacks and that are interpolated, by name."""
        return self.channels.interpolated

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return float(self.samples / self.rate)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read samples ``start`` up to ``stop`` of the channels.

        Parameters
        ----------
        start, stop : int
            First sample, and the one after the last.

        Returns
        -------
        numpy.ndarray
            (channels, stop - start) float32 in µV, relative to the first sample of each channel.
            The channels are in the order of the montage, without the ``missing`` ones.

        Raises
        ------
        OSError
            The file cannot be read.
        UnusableEdf
            A sample is not a number, or infinite, as in a format with floating-point samples.
        """
        per_record = self.channels.per_record
        first, after_last = start // per_record, -(-stop // per_record)
        records = read_records(self.file, self._header, first, after_last)
        return self.channels.microvolts(
            records, self._first, start - first * per_record, stop - start
        )

    def check_samples(self) -> None:
        """Raise :class:`UnusableEdf` where a sample is not a number, or infinite.

        Only a format that a library decodes can have such samples; all of it is read. Raises
        ``OSError`` when that is not possible.
        """
        if not isinstance(self.file, DecodedFile):
            return
        for start in range(0, self.samples, _CHECKED):
            try:
                self.read(start, min(start + _CHECKED, self.samples))
            except UnusableEdf as error:
                error.facts = self.facts
                raise


def open_edf(
    file: Path | EdfBytes,
    bad: Iterable[str] = (),
    rules: ChannelRules | None = None,
    montage: MontageName = "10-20",
    aliases: Aliases | None = None,
) -> EdfRecording:
    """Open a recording and match its signals to the channels of a montage.

    Parameters
    ----------
    file : pathlib.Path or EdfBytes
        The EDF, or the main file of a recording in another format
        (``brainbrr_core.edf.formats.FORMATS``).
    bad : iterable of str
        Names of channels that count as missing.
    rules : ChannelRules, optional
        Which references are accepted, and how many electrodes may be interpolated; by default
        those of the default configuration.
    montage : {"10-20", "double-banana"}
        The channels to read. ``double-banana`` reads referential and bipolar recordings.
    aliases : callable, optional
        What electrodes are called in the corpus of the recording, besides their usual labels.

    Returns
    -------
    EdfRecording
        The channels of the file.

    Raises
    ------
    UnusableEdf
        The file does not give the channels; the error has the reason.
    OSError
        The file cannot be read.
    """
    facts = EdfFacts()
    try:
        return _open(recording_file(file), tuple(bad), rules, montage, facts, aliases)
    except UnusableEdf as error:
        error.facts = facts
        raise


def recording_file(file: Path | EdfBytes) -> EdfBytes:
    """A file of any format by its path, without opening it; what is not a path is returned."""
    if not isinstance(file, Path):
        return file
    if is_native(file.name) or not suffix_of(file.name):
        return LocalEdf(file)
    # Only other formats need MNE's readers.
    from brainbrr_core.edf.decoded import MneFile

    return MneFile(file)


def _open(
    file: EdfBytes,
    bad: tuple[str, ...],
    rules: ChannelRules | None,
    montage: MontageName,
    facts: EdfFacts,
    aliases: Aliases | None,
) -> EdfRecording:
    header = read_header(file)
    name, note = file.name, facts.findings.append
    if header.odd_date:
        note(Finding(header.odd_date, name))
    labels = [signal.label for signal in header.signals]
    facts.signals = sum(not header.is_text(signal) for signal in header.signals)
    if isinstance(file, DecodedFile):
        bad = (*bad, *file.bad)
    match = match_labels(labels, bad, rules, montage, aliases)
    facts.matched, facts.missing = match.labels, match.missing
    signals = tuple(header.signals[index] for index in match.indices.values())
    records = _usable_records(file, header, facts)
    # A recording without any electrode has a length, too.
    timed = signals or tuple(s for s in header.signals if not header.is_text(s))
    rates = sorted({signal.samples / header.record_duration for signal in timed})
    if len(rates) == 1:
        facts.rate, facts.samples = rates[0], records * timed[0].samples
    for channel in match.bad:
        note(Finding("bad_channel", name, channel))
    for label in match.unmatched:
        note(Finding("unmatched_bad_channel", name, as_text(label)))
    channels = montage_channels(header, match)
    if match.derivations is None and match.electrodes.mixed_references:
        note(Finding("mixed_references", name, match.electrodes.mixed_references))
    if len(rates) > 1:
        raise UnusableEdf("uneven_rates", ", ".join(f"{float(rate):g} Hz" for rate in rates))
    rate, samples = facts.rate, facts.samples
    if samples == 0:
        raise UnusableEdf("no_samples")
    gains = channels.gains
    for unit, number in Counter(signal.dimension for signal in signals).items():
        if code := oddity_of(unit):
            note(Finding(code, name, f"{quote_unit(unit)} on {count(number, 'channel')}"))
    _check_time(file, header, records, facts)
    if samples / rate < BLOCK_S:
        raise UnusableEdf("too_short", f"{float(samples / rate):g} s")
    try:
        design(rate)
    except UnsupportedRate as error:
        raise UnusableEdf("unsupported_rate", str(error)) from None
    if rate < LOWEST_FULL_RATE:
        note(Finding("low_rate", name, f"content ends at {float(rate) / 2:g} Hz"))
    for electrode in channels.interpolated:
        note(Finding("interpolated_channel", name, electrode))
    for channel, gain in zip(channels.signals, gains, strict=True):
        if gain < 0:
            note(Finding("inverted_channel", name, channel))
    flat = _flat(file, header, signals, records)
    if len(flat) == len(signals):
        raise UnusableEdf("flat_signal")
    for index in flat:
        note(Finding("flat_channel", name, list(channels.signals)[index]))
    if channels.copies:
        for _, chunk in record_chunks(file, header, records):
            channels.check_copies(chunk)
    first = read_records(file, header, 0, 1)[0].copy()
    return EdfRecording(file, match.electrodes, channels, rate, samples, facts, header, first)


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
    values = [record[channel.offset] for channel in channels]

    def varies(block: NDArray[Digital], index: int) -> bool:
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

    An EDF may have no other signals. Of other formats, each annotation counts as a record.

    Raises :class:`UnusableEdf` for a file that makes no sense, ``OSError`` when it cannot be read.
    """
    header = read_header(file, without_signals=True)
    if isinstance(file, DecodedFile):
        for number, entry in enumerate(file.annotation_lists()):
            # The empty text of the first list of an EDF+ says when the file begins.
            yield [entry if number else b"+0\x14\x14\0" + entry]
        return
    columns = [
        slice(signal.offset, signal.offset + signal.samples)
        for signal in header.signals
        if header.is_text(signal)
    ]
    if not columns:
        return
    for _, chunk in record_chunks(file, header, available_records(file, header)):
        for record in chunk:
            yield [as_bytes(record[column]) for column in columns]


def recording_start(file: Path | EdfBytes) -> datetime.datetime | None:
    """Date and time of a recording's first sample; None where the header does not give them.

    The header has whole seconds; the first time stamp of an EDF+ adds the fraction of a second, to
    the microsecond. Raises ``OSError`` when the file cannot be read.
    """
    edf = recording_file(file)
    try:
        header = read_header(edf)
    except UnusableEdf:
        return None
    if header.start is None:
        return None
    microseconds = round(first_stamp(edf, header) * 1_000_000)
    return header.start + datetime.timedelta(microseconds=microseconds)
