"""The channels of a recording: how each was matched, its figures and its signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import repeat

import numpy as np

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import DOUBLE_BANANA, MONTAGES
from brainbrr_core.edf.channels import LabelMatch
from brainbrr_core.edf.header import EdfSignal
from brainbrr_core.edf.raw import RawFile, calibration, is_annotation
from brainbrr_core.edf.reader import EdfRecording
from brainbrr_core.inspection.envelope import Envelope, EnvelopeBuilder, finest
from brainbrr_core.inspection.quality import SampleStatistics
from brainbrr_core.progress import progress
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.derivation import electrodes_of
from brainbrr_core.signal.montage import derivation_of, electrode_of
from brainbrr_core.signal.quantization import SCALE

#: Other signals that are drawn below the channels when the recording does not have all of these.
MOST_OTHERS = 64


@dataclass(frozen=True, slots=True, eq=False)
class RawSignal:
    """Figures of a signal as it is in the file, over the whole recording, and its envelope.

    ``rate`` is in samples per second; ``mean`` and ``deviation`` (the standard deviation) are in
    ``unit``. ``at_range_end`` is the fraction of samples at an end of the digital range, None
    where the header does not give that range. :mod:`brainbrr_core.inspection.quality` defines the
    seconds.
    """

    rate: float
    unit: str
    mean: float
    deviation: float
    at_range_end: float | None
    flat_s: float
    saturated_s: float | None
    mains_s: float | None
    disconnected_s: float | None
    envelope: Envelope = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class PreprocessedSignal:
    """Figures of a preprocessed channel over the whole recording, and its envelope.

    ``mean`` and ``deviation`` (the standard deviation) are those of the filtered signal before
    the z-score, in µV. ``clipped`` is the fraction of all samples that are clipped;
    ``clipped_in_seizures`` the fraction of those within seizures, None where there are none.
    """

    mean: float
    deviation: float
    clipped: float
    clipped_in_seizures: float | None
    envelope: Envelope = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """One row of the drawing: a channel of the montage, or another signal of the file.

    ``match`` says in words how it was matched and ``label`` what the file calls it. ``raw`` is
    None where the file has no sample of it, ``preprocessed`` where there is no such signal.
    """

    name: str
    match: str
    label: str = ""
    interpolated: bool = False
    raw: RawSignal | None = None
    preprocessed: PreprocessedSignal | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the drawing before its signal is read; ``signal`` is None where there is none."""

    name: str
    match: str
    label: str = ""
    interpolated: bool = False
    signal: EdfSignal | None = None


@dataclass(frozen=True, slots=True)
class ChannelSelection:
    """The rows to draw, and the label and kind of each signal that is not drawn."""

    rows: tuple[Row, ...]
    unused: tuple[tuple[str, str], ...]


def choose_channels(
    raw: RawFile, match: LabelMatch, interpolated: Sequence[str], *, usable: bool
) -> ChannelSelection:
    """Select the channels of the montage and, where the file is not ``usable``, other signals too.

    A derivation that is computed from electrodes has no signal of its own in the file: those of the
    electrodes are drawn below the derivations.
    """
    signals = raw.header.signals
    indices = match.indices
    used = set(indices.values())
    if match.is_derived:
        rows = [_derived_row(name, match, interpolated) for name in DOUBLE_BANANA]
        rows += [
            _row(signals, name, indices[name], label, interpolated) for name, label in match.labels
        ]
    else:
        labels = dict(match.labels)
        rows = [
            _row(signals, name, indices.get(name), labels.get(name, ""), interpolated)
            for name in MONTAGES[match.montage]
        ]
    count = len(rows)
    unused = []
    for index, signal in enumerate(signals):
        if index in used:
            continue
        kind = _kind(signal, match)
        drawable = not usable and not is_annotation(signal) and signal.samples > 0
        if drawable and len(rows) < count + MOST_OTHERS:
            rows.append(Row(signal.label, kind, signal.label, signal=signal))
        else:
            unused.append((signal.label, kind))
    return ChannelSelection(tuple(rows), tuple(unused))


def _row(
    signals: Sequence[EdfSignal],
    name: str,
    index: int | None,
    label: str,
    interpolated: Sequence[str],
) -> Row:
    """A channel that is a signal of the file, or missing."""
    if index is None:
        if name in interpolated:
            return Row(name, "missing: interpolated", interpolated=True)
        return Row(name, "missing")
    if not signals[index].samples:
        return Row(name, "without a sample", label)
    how = "matched"
    if name in DOUBLE_BANANA and derivation_of(label) != electrodes_of(name):
        how = "matched, with the opposite sign"
    return Row(name, how, label, signal=signals[index])


def _derived_row(name: str, match: LabelMatch, interpolated: Sequence[str]) -> Row:
    """A derivation that is computed from two electrodes."""
    electrodes = electrodes_of(name)
    absent = [electrode for electrode in electrodes if electrode not in match.indices]
    if not absent:
        labels = dict(match.labels)
        return Row(name, "derived", " - ".join(labels[electrode] for electrode in electrodes))
    named = " and ".join(absent)
    if set(absent) <= set(interpolated):
        whole = len(absent) == len(electrodes)
        return Row(name, f"derived: {named} interpolated", interpolated=whole)
    return Row(name, f"missing: no {named}")


def _kind(signal: EdfSignal, match: LabelMatch) -> str:
    """In words, what a signal is that was not matched to a channel."""
    electrode, derivation = electrode_of(signal.label), derivation_of(signal.label)
    if is_annotation(signal):
        return "text, not a signal"
    if match.derivations is None and electrode in match.bad:
        return f"{electrode}, marked bad in channels.tsv"
    if match.derivations is not None and signal.label.strip() in match.bad:
        return "marked bad in channels.tsv"
    if electrode in match.electrodes.duplicated:
        return f"second signal for {electrode}"
    if derivation is not None:
        return "bipolar derivation"
    if match.derivations is not None:
        return "not one of the derivations"
    return "not one of the 19 electrodes"


def read_channels(
    rows: Sequence[Row],
    raw: RawFile,
    source: EdfRecording | None,
    settings: Preprocessing,
    start_s: float,
    stop_s: float,
    seizures: Sequence[Event] = (),
) -> tuple[Channel, ...]:
    """Read the signals of all rows, with envelopes from ``start_s`` to ``stop_s``.

    ``source`` is the same file opened as a recording of the montage, None where it cannot be. The
    ``seizures`` must not overlap each other.
    """
    drawn = sum(row.signal is not None for row in rows)
    drawn += len(settings.channels) if source is not None else 0
    bins = finest(drawn, stop_s - start_s)
    passes = 1 if source is None else 2
    seconds = (start_s, stop_s)
    preprocessed: Sequence[PreprocessedSignal] = ()
    with progress("inspect", raw.duration_s / 3600, "hours") as bar:

        def advance(passed_s: float) -> None:
            bar.advance(passed_s / 3600 / passes)

        signals = [row.signal for row in rows if row.signal is not None]
        read = iter(_read_raw(signals, raw, bins, seconds, advance))
        if source is not None:
            preprocessed = _preprocess(source, settings, bins, seconds, seizures, advance)
    return tuple(
        Channel(
            row.name,
            row.match,
            row.label,
            row.interpolated,
            None if row.signal is None else next(read),
            # The channels of the montage are the first rows.
            preprocessed[number] if number < len(preprocessed) else None,
        )
        for number, row in enumerate(rows)
    )


def _read_raw(
    signals: Sequence[EdfSignal],
    raw: RawFile,
    bins: int,
    seconds: tuple[float, float],
    advance: Callable[[float], None],
) -> list[RawSignal]:
    statistics = []
    builders = []
    for signal in signals:
        rate = raw.rate(signal)
        first, stop = (round(limit * rate) for limit in seconds)
        statistics.append(SampleStatistics(signal, rate))
        kind = np.int16 if raw.header.sample_bytes == 2 else np.int32
        builders.append(EnvelopeBuilder(rate, first, stop, bins, kind))
    for first, records in raw.chunks():
        for signal, figures, builder in zip(signals, statistics, builders, strict=True):
            samples = records[:, signal.offset : signal.offset + signal.samples].reshape(-1)
            figures.add(samples)
            builder.add(samples, first * signal.samples)
        advance(float(len(records) * raw.header.record_duration))
    return [
        _raw_signal(signal, raw.rate(signal), figures, builder)
        for signal, figures, builder in zip(signals, statistics, builders, strict=True)
    ]


def _raw_signal(
    signal: EdfSignal, rate: Fraction, figures: SampleStatistics, builder: EnvelopeBuilder
) -> RawSignal:
    gain, offset, unit = calibration(signal)
    quality = figures.quality
    return RawSignal(
        rate=float(rate),
        unit=unit,
        mean=gain * figures.mean + offset,
        deviation=abs(gain) * figures.deviation,
        at_range_end=figures.at_range_end,
        flat_s=quality.flat_s,
        saturated_s=quality.saturated_s,
        mains_s=quality.mains_s,
        disconnected_s=quality.disconnected_s,
        envelope=builder.envelope(gain, offset, unit),
    )


def _preprocess(
    source: EdfRecording,
    settings: Preprocessing,
    bins: int,
    seconds: tuple[float, float],
    seizures: Sequence[Event],
    advance: Callable[[float], None],
) -> list[PreprocessedSignal]:
    chain = Chain(source, settings)
    rate = Fraction(settings.rate_hz)
    first, stop = (min(round(limit * rate), chain.samples) for limit in seconds)
    builders = [EnvelopeBuilder(rate, first, stop, bins) for _ in settings.channels]
    limit = round(settings.clip_sd / SCALE)
    clipped = np.zeros(len(settings.channels), np.int64)
    clipped_in_seizures = np.zeros(len(settings.channels), np.int64)
    spans = [
        (round(event.start * rate), min(round(event.stop * rate), chain.samples))
        for event in seizures
    ]
    position = 0
    for blocks, counts in chain.quantized():
        signal = blocks.swapaxes(0, 1).reshape(len(settings.channels), -1)
        clipped += counts.sum(axis=0)
        for begin, end in spans:
            inside = signal[:, max(begin - position, 0) : max(end - position, 0)]
            clipped_in_seizures += np.count_nonzero(np.abs(inside) >= limit, axis=1)
        for builder, samples in zip(builders, signal, strict=True):
            builder.add(samples, position)
        before, position = position, position + signal.shape[1]
        advance(float((min(position, chain.samples) - before) / rate))
    ictal = sum(max(end - begin, 0) for begin, end in spans)
    fractions = clipped_in_seizures / ictal if ictal else repeat(None, len(settings.channels))
    return [
        PreprocessedSignal(
            mean=float(mean),
            deviation=float(deviation),
            clipped=float(count) / max(chain.samples, 1),
            clipped_in_seizures=None if in_seizures is None else float(in_seizures),
            envelope=builder.envelope(SCALE, 0.0, "SD"),
        )
        for mean, deviation, count, in_seizures, builder in zip(
            chain.statistics.mean,
            chain.statistics.deviation,
            clipped,
            fractions,
            builders,
            strict=True,
        )
    ]
