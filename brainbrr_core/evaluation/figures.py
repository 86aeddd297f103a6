"""Figures of an evaluation: what is drawn. Their look is in ``drawing``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.evaluation.drawing import BLUE, GREEN, ORANGE, STYLE, TEXT, VERMILLION, svg
from brainbrr_core.evaluation.report import Picture, Strip
from brainbrr_core.evaluation.results import EvaluationResults, GroupRow
from brainbrr_core.scoring import SweepRow

REFERENCE, HYPOTHESIS = BLUE, VERMILLION
_SIZE = (4.4, 3.5)
#: Colour and width of SzCORE's and of NEDC's curve.
_RULE_LINES = ((BLUE, 3.0), (VERMILLION, 1.2))
#: Points of a channel's line in an EEG picture: with 19 channels it stays below 150 kB.
_EEG_POINTS = 480
_ROW_SD = 7.0
_MOST_PATIENTS = 60


def all_pictures(results: EvaluationResults) -> list[Picture]:
    """The figures of a report, in its order."""
    pictures = [
        operating_curve(results),
        roc(results),
        precision_recall(results),
        reliability(results),
    ]
    return [*pictures, patients(results.patients)]


def operating_curve(results: EvaluationResults) -> Picture:
    """Sensitivity against false alarms per 24 hours over all thresholds."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        chosen = results.threshold.on_threshold
        curves: list[tuple[str, Sequence[SweepRow], str]] = [
            (results.split, results.operating_curve, "-")
        ]
        if results.threshold.rows and results.threshold.split != results.split:
            curves.append((f"{results.threshold.split} (tuning)", results.threshold.rows, ":"))
        for split, rows, line in curves:
            by_rule = (
                ("SzCORE event", [(row.false_per_day, row.sensitivity) for row in rows]),
                ("NEDC OVLP", [(row.ovlp_false_per_day, row.ovlp_sensitivity) for row in rows]),
            )
            # Where the two rules agree, the wider line shows around the narrower one.
            for (rule, points), (colour, width) in zip(by_rule, _RULE_LINES, strict=True):
                defined = [point for point in points if not any(map(math.isnan, point))]
                if defined:
                    x, y = zip(*defined, strict=True)
                    label = f"{rule}, {split}"
                    axes.plot(_positive(x), y, line, color=colour, linewidth=width, label=label)
        for rule, (colour, width) in zip(("szcore_event", "nedc_ovlp"), _RULE_LINES, strict=True):
            point = results.headline[rule]
            if not math.isnan(point.sensitivity):
                x_at = _positive([point.false_per_day])
                axes.plot(x_at, [point.sensitivity], "o", color=colour, markersize=4 + 2 * width)
        axes.set_xscale("log")
        axes.set_xlim(0.8 * _LEAST_RATE, max(100 * _LEAST_RATE, 1.1 * axes.get_xlim()[1]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        _labels(axes, "False alarms per 24 h", "Sensitivity")
        axes.set_ylim(-0.02, 1.02)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right")
        elif not axes.lines:
            _say(axes, "no seizure in these recordings")
        return Picture(
            "operating-curve",
            "Sensitivity against false alarms",
            f"Pooled, by threshold; the dots are the threshold in use ({chosen:.3g}). "
            f"Rates below {_LEAST_RATE:g} are drawn at {_LEAST_RATE:g}.",
            svg(figure, "operating-curve", "Sensitivity against false alarms per 24 hours"),
        )


def roc(results: EvaluationResults) -> Picture:
    """Receiver operating characteristic of the seconds."""
    seconds = results.seconds
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.plot([0, 1], [0, 1], ":", color=TEXT, linewidth=1, label="chance")
        _line(axes, seconds.roc, f"AUROC {seconds.auroc:.3f}")
        _labels(axes, "False positive rate", "Sensitivity")
        return Picture(
            "roc",
            "ROC of each second",
            f"{seconds.seconds:,} seconds, {seconds.ictal_seconds:,} of them ictal.",
            svg(figure, "roc", "Receiver operating characteristic of each second"),
        )


def precision_recall(results: EvaluationResults) -> Picture:
    """Precision against recall of the seconds."""
    seconds = results.seconds
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        if seconds.seconds:
            share = seconds.ictal_seconds / seconds.seconds
            axes.plot([0, 1], [share, share], ":", color=TEXT, linewidth=1, label="chance")
        _line(axes, seconds.precision_recall, f"AUPRC {seconds.auprc:.3f}")
        _labels(axes, "Sensitivity (recall)", "Precision")
        return Picture(
            "precision-recall",
            "Precision and recall of each second",
            "AUPRC is the average precision, not interpolated; chance is the ictal share.",
            svg(figure, "precision-recall", "Precision against recall of each second"),
        )


def reliability(results: EvaluationResults) -> Picture:
    """Ictal share of the seconds against their probability."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.plot([0, 1], [0, 1], ":", color=TEXT, linewidth=1, label="calibrated")
        filled = [part for part in results.seconds.reliability if part.seconds]
        error = results.seconds.calibration_error
        _line(
            axes,
            [(part.probability, part.ictal) for part in filled],
            f"calibration error {error:.3f}",
            marker="o",
        )
        _labels(axes, "Probability", "Ictal share of the seconds")
        return Picture(
            "reliability",
            "Calibration",
            "Seconds in ten bins of probability; the expected calibration error weighs each bin "
            "by its seconds.",
            svg(figure, "reliability", "Ictal share against probability"),
        )


def patients(rows: Sequence[GroupRow]) -> Picture:
    """Sensitivity and false positives per day of each patient, SzCORE's event rule."""
    shown = sorted(rows, key=lambda row: (-row.seizures, row.name))[:_MOST_PATIENTS]
    shown.sort(
        key=lambda row: (
            math.isnan(row.figures.sensitivity),
            -_or_zero(row.figures.sensitivity),
            row.name,
        )
    )
    left_out = len(rows) - len(shown)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 1.1 + 0.21 * max(len(shown), 2)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        place = np.arange(len(shown))
        found = [row.figures.sensitivity for row in shown]
        rate = [row.figures.false_per_day for row in shown]
        left.barh(place, [_or_zero(value) for value in found], color=BLUE, height=0.7)
        right.barh(place, [_or_zero(value) for value in rate], color=VERMILLION, height=0.7)
        for at, value in enumerate(found):
            if math.isnan(value):
                left.text(0.01, at, "no seizures", fontsize=8, va="center")
        left.set_yticks(place, [f"{row.name} ({row.seizures})" for row in shown], fontsize=9)
        left.set_ylim(len(shown) - 0.4, -0.6)
        left.set_xlim(0, 1)
        right.set_xlim(left=0)
        left.set_xlabel("Sensitivity")
        right.set_xlabel("False positives per day")
        for axes in (left, right):
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
        return Picture(
            "patients",
            "Patients",
            "SzCORE's event rule, pooled within each patient; seizures in brackets."
            + (f" {left_out} patients with fewer seizures are not drawn." if left_out else ""),
            svg(figure, "patients", "Sensitivity and false positives per day of each patient"),
        )


def strip_picture(results: EvaluationResults, strip: Strip, name: str) -> Picture:
    """The EEG picture of a highlight of ``results``; ``name`` tells a report's pictures apart."""
    highlight, event = strip.highlight, strip.highlight.event
    recording = next(
        row for row in results.recordings if row.partition_key == highlight.partition_key
    )
    confidence = (
        f", mean probability {event.confidence:.2f}" if highlight.kind == "false alarm" else ""
    )
    return Picture(
        name,
        f"{highlight.kind.capitalize()}: {highlight.partition_key}",
        f"{event.start:.1f} to {event.stop:.1f} s ({event.duration:.1f} s{confidence}); shown are "
        f"{highlight.start_s:.0f} to {highlight.stop_s:.0f} s.",
        eeg_strip(
            strip.signal,
            strip.rate_hz,
            strip.channel_names,
            highlight.start_s,
            recording.reference,
            recording.hypothesis,
            strip.probabilities,
            strip.frame_hz,
            name,
            results.threshold.on_threshold,
        ),
    )


def eeg_strip(
    signal: NDArray[np.float32],
    rate: float,
    channel_names: Sequence[str],
    start_s: float,
    reference: Sequence[Event],
    hypothesis: Sequence[Event],
    probabilities: NDArray[np.floating],
    frame_hz: float,
    name: str = "eeg",
    on_threshold: float | None = None,
) -> str:
    """SVG of a stretch of EEG with reference, hypothesis and probability below it.

    ``signal`` is ``(channels, samples)``, z-scored, at ``rate`` Hz, and begins ``start_s``
    seconds into the recording. ``reference``, ``hypothesis`` and ``probabilities`` (frames at
    ``frame_hz``) are those of the whole recording. Raises ``ValueError`` where the signal does
    not fit its names.
    """
    if signal.ndim != 2 or signal.shape[0] != len(channel_names) or not signal.shape[1]:
        raise ValueError(f"a signal {signal.shape} does not fit {len(channel_names)} names")
    channels, samples = signal.shape
    stop_s = start_s + samples / rate
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(9.0, 6.4), layout="constrained")
        eeg, bands, chance = figure.subplots(3, 1, sharex=True, height_ratios=[channels, 1.8, 3.2])
        for row in range(channels):
            time_s, values = _envelope(signal[row], rate)
            level = (channels - 1 - row) * _ROW_SD
            eeg.plot(
                start_s + time_s,
                np.clip(values, -2 * _ROW_SD, 2 * _ROW_SD) + level,
                color=TEXT,
                linewidth=0.6,
            )
        eeg.set_yticks(_ROW_SD * np.arange(channels)[::-1], list(channel_names), fontsize=8)
        eeg.set_ylim(-_ROW_SD, channels * _ROW_SD)
        _scale_bar(eeg)
        bands.set_yticks([1, 0], ["Reference", "Detection"], fontsize=9)
        bands.set_ylim(-0.6, 1.6)
        for events, colour, at in ((reference, REFERENCE, 1), (hypothesis, HYPOTHESIS, 0)):
            for event in events:
                first, last = max(event.start, start_s), min(event.stop, stop_s)
                if last > first:
                    bands.barh(at, last - first, left=first, height=0.7, color=colour)
                    eeg.axvspan(first, last, color=colour, alpha=0.1, linewidth=0)
        _draw_probabilities(chance, probabilities, frame_hz, start_s, stop_s, on_threshold)
        chance.set_xlabel("Seconds from the start of the recording")
        chance.set_xlim(start_s, stop_s)
        for axes in (eeg, bands):
            axes.tick_params(axis="x", length=0)
            axes.spines["bottom"].set_visible(False)
        for axes in (eeg, bands):
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        label = f"EEG of {channels} channels from {start_s:.0f} to {stop_s:.0f} seconds"
        return svg(figure, name, label)


def _draw_probabilities(
    axes: Axes,
    probabilities: NDArray[np.floating],
    frame_hz: float,
    start_s: float,
    stop_s: float,
    on_threshold: float | None,
) -> None:
    first = max(math.floor(start_s * frame_hz), 0)
    frames = probabilities[first : math.ceil(stop_s * frame_hz)]
    axes.plot((first + np.arange(len(frames)) + 0.5) / frame_hz, frames, color=GREEN, linewidth=1.2)
    if on_threshold is not None:
        axes.axhline(on_threshold, color=TEXT, linestyle="--", linewidth=0.8)
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 1])
    axes.set_ylabel("Probability", fontsize=9)


def _scale_bar(axes: Axes) -> None:
    """A bar of 5 SD to the right of the lowest channel, outside of the axes."""
    across = axes.get_yaxis_transform()
    axes.plot([1.008] * 2, [-2.5, 2.5], color=ORANGE, linewidth=2, transform=across, clip_on=False)
    axes.text(1.016, 0, "5 SD", va="center", fontsize=8, transform=across)


def _envelope(
    values: NDArray[np.float32], rate: float
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Times and values of a line: lowest and highest of each bucket where there are too many.

    An envelope keeps spikes that picking every n-th sample would lose.
    """
    if values.size <= _EEG_POINTS:
        return np.arange(values.size) / rate, values
    edges = np.linspace(0, values.size, _EEG_POINTS // 2 + 1).astype(np.int64)
    picked: list[int] = []
    for low, high in pairwise(edges.tolist()):
        part = values[low:high]
        picked += sorted({low + int(part.argmin()), low + int(part.argmax())})
    index = np.array(picked)
    return index / rate, values[index]


_LEAST_RATE = 0.1


def _positive(values: Sequence[float]) -> list[float]:
    return [max(value, _LEAST_RATE) for value in values]


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    return figure, figure.add_subplot()


def _labels(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _line(
    axes: Axes, points: Sequence[tuple[float, float]], label: str, marker: str | None = None
) -> None:
    """A line in the unit square with its legend, or a remark where there is none."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    if not points:
        _say(axes, "undefined for these recordings")
        return
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=BLUE, label=label, marker=marker)
    axes.legend(loc="best")


def _say(axes: Axes, remark: str) -> None:
    axes.text(0.5, 0.5, remark, transform=axes.transAxes, ha="center", va="center")
