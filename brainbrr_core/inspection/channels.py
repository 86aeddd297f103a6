"""The channels of a recording as they are shown: how each was matched, its figures, its signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import CHANNELS
from brainbrr_core.edf.header import EdfSignal
from brainbrr_core.edf.raw import RawFile, calibration, is_annotation
from brainbrr_core.edf.reader import EdfRecording
from brainbrr_core.inspection.envelope import Envelope, EnvelopeBuilder, finest
from brainbrr_core.inspection.quality import SampleStatistics
from brainbrr_core.progress import Progress, progress
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.montage import MontageMatch, electrode_of, is_bipolar
from brainbrr_core.signal.quantization import SCALE

#: Signals that are drawn beside the electrodes of a file that does not have all of them.
MOST_OTHERS = 64


@dataclass(slots=True, eq=False)
class Channel:
    """One row of the drawing: an electrode, or another signal of the file.

    ``match`` says how it was found. Figures of the raw signal are in ``unit``, those of the
    filtered signal in µV; None where there is no such signal. ``at_range_end`` and ``clipped``
    are parts of the samples, ``clipped_in_seizures`` of those within seizures; what the seconds
    are, says :mod:`brainbrr_core.inspection.quality`.
    """

    name: str
    match: str
    label: str = ""
    rate: float | None = None
    unit: str = ""
    mean: float | None = None
    deviation: float | None = None
    at_range_end: float | None = None
    flat_s: float | None = None
    saturated_s: float | None = None
    mains_s: float | None = None
    disconnected_s: float | None = None
    interpolated: bool = False
    filtered_mean: float | None = None
    filtered_deviation: float | None = None
    clipped: float | None = None
    clipped_in_seizures: float | None = None
    raw: Envelope | None = field(default=None, repr=False)
    preprocessed: Envelope | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """Rows to draw, each with its signal in the file, and labels of signals that are not drawn.

    ``unused`` pairs a label with what the signal is.
    """

    rows: tuple[tuple[Channel, EdfSignal | None], ...]
    unused: tuple[tuple[str, str], ...]


def choose_channels(raw: RawFile, match: MontageMatch, interpolated: Sequence[str]) -> Shown:
    """The 19 electrodes; when no 19-channel signal can be made, the file's other signals too."""
    signals = raw.header.signals
    rows: list[tuple[Channel, EdfSignal | None]] = []
    for name in CHANNELS:
        if name in match.signals:
            index, label = match.signals[name]
            found = signals[index] if signals[index].samples else None
            rows.append((Channel(name, "matched" if found else "without a sample", label), found))
        elif name in interpolated:
            rows.append((Channel(name, "missing: interpolated", interpolated=True), None))
        else:
            rows.append((Channel(name, "missing"), None))
    used = {index for index, _ in match.signals.values()}
    unused = []
    for index, signal in enumerate(signals):
        if index in used:
            continue
        what = _what(signal, match)
        drawable = match.reason is not None and not is_annotation(signal) and signal.samples > 0
        if drawable and len(rows) < len(CHANNELS) + MOST_OTHERS:
            rows.append((Channel(signal.label, what, signal.label), signal))
        else:
            unused.append((signal.label, what))
    return Shown(tuple(rows), tuple(unused))


def _what(signal: EdfSignal, match: MontageMatch) -> str:
    electrode = electrode_of(signal.label)
    if is_annotation(signal):
        return "text, no signal"
    if electrode in match.bad:
        return f"{electrode}, marked bad in channels.tsv"
    if electrode in match.duplicated:
        return f"{electrode} again"
    return "bipolar derivation" if is_bipolar(signal.label) else "none of the 19 electrodes"


def read_channels(
    shown: Shown,
    raw: RawFile,
    source: EdfRecording | None,
    settings: Preprocessing,
    start_s: float,
    stop_s: float,
    seizures: Sequence[Event] = (),
) -> None:
    """Fill in the figures of all rows and their envelopes from ``start_s`` to ``stop_s``.

    ``source`` is the same file where a 19-channel signal can be made of it. ``seizures`` do not
    overlap.
    """
    present = [(channel, signal) for channel, signal in shown.rows if signal is not None]
    rows = len(present) + (len(CHANNELS) if source is not None else 0)
    bins = finest(rows, stop_s - start_s)
    passes = 1 if source is None else 2
    with progress("inspect", passes * raw.duration_s / 3600, "hours") as bar:
        _read_raw(present, raw, bins, (start_s, stop_s), bar)
        if source is not None:
            electrodes = [channel for channel, _ in shown.rows[: len(CHANNELS)]]
            _preprocess(electrodes, source, settings, bins, (start_s, stop_s), seizures, bar)


def _read_raw(
    present: Sequence[tuple[Channel, EdfSignal]],
    raw: RawFile,
    bins: int,
    seconds: tuple[float, float],
    bar: Progress,
) -> None:
    statistics = []
    builders = []
    for _, signal in present:
        rate = raw.rate(signal)
        first, stop = (round(limit * rate) for limit in seconds)
        statistics.append(SampleStatistics(signal, rate))
        builders.append(EnvelopeBuilder(rate, first, stop, bins))
    for first, records in raw.stretches():
        for (_, signal), figures, builder in zip(present, statistics, builders, strict=True):
            samples = records[:, signal.offset : signal.offset + signal.samples].reshape(-1)
            figures.add(samples)
            builder.add(samples, first * signal.samples)
        bar.advance(float(len(records) * raw.header.record_duration) / 3600)
    for (channel, signal), figures, builder in zip(present, statistics, builders, strict=True):
        gain, offset, unit = calibration(signal)
        channel.rate, channel.unit = float(raw.rate(signal)), unit
        channel.mean, channel.deviation = (
            gain * figures.mean + offset,
            abs(gain) * figures.deviation,
        )
        channel.at_range_end, quality = figures.at_range_end, figures.quality
        channel.flat_s, channel.saturated_s = quality.flat_s, quality.saturated_s
        channel.mains_s, channel.disconnected_s = quality.mains_s, quality.disconnected_s
        channel.raw = builder.envelope(gain, offset, unit)


def _preprocess(
    electrodes: Sequence[Channel],
    source: EdfRecording,
    settings: Preprocessing,
    bins: int,
    seconds: tuple[float, float],
    seizures: Sequence[Event],
    bar: Progress,
) -> None:
    chain = Chain(source, settings)
    rate = Fraction(settings.rate_hz)
    first, stop = (min(round(limit * rate), chain.samples) for limit in seconds)
    builders = [EnvelopeBuilder(rate, first, stop, bins) for _ in electrodes]
    limit = round(settings.clip_sd / SCALE)
    clipped = np.zeros(len(electrodes), np.int64)
    in_seizures = np.zeros(len(electrodes), np.int64)
    spans = [
        (round(event.start * rate), min(round(event.stop * rate), chain.samples))
        for event in seizures
    ]
    position = 0
    for blocks, counts in chain.quantized():
        flat = blocks.swapaxes(0, 1).reshape(len(electrodes), -1)
        clipped += counts.sum(axis=0)
        for begin, end in spans:
            inside = flat[:, max(begin - position, 0) : max(end - position, 0)]
            in_seizures += np.count_nonzero(np.abs(inside) >= limit, axis=1)
        for builder, samples in zip(builders, flat, strict=True):
            builder.add(samples, position)
        before, position = position, position + flat.shape[1]
        bar.advance(float((min(position, chain.samples) - before) / rate) / 3600)
    for number, (channel, builder) in enumerate(zip(electrodes, builders, strict=True)):
        channel.filtered_mean = float(chain.statistics.mean[number])
        channel.filtered_deviation = float(chain.statistics.deviation[number])
        channel.clipped = float(clipped[number]) / max(chain.samples, 1)
        ictal = sum(max(end - begin, 0) for begin, end in spans)
        channel.clipped_in_seizures = float(in_seizures[number]) / ictal if ictal else None
        channel.preprocessed = builder.envelope(SCALE, 0.0, "SD")
