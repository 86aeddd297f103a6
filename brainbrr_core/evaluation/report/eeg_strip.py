"""Pictures of the EEG of single events, with reference, detections and scores below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.display.colors import BLUE, GREEN, ORANGE, VERMILLION
from brainbrr_core.evaluation.report.drawing import STYLE, TEXT, svg
from brainbrr_core.evaluation.report.pictures import Picture, Strip
from brainbrr_core.evaluation.results import EvaluationResults
from brainbrr_core.scoring import OperatingPoint

REFERENCE, HYPOTHESIS = BLUE, VERMILLION
#: Points of a channel's line in a picture: with 19 channels it stays below 150 kB.
_EEG_POINTS = 480
_ROW_SD = 7.0


def strip_picture(results: EvaluationResults, strip: Strip, name: str) -> Picture:
    """The picture of one highlight of ``results``; ``name`` is unique among a report's pictures."""
    highlight, event = strip.highlight, strip.highlight.event
    recording = next(
        row for row in results.recordings if row.partition_key == highlight.partition_key
    )
    remark = ""
    if highlight.kind == "false alarm":
        remark = f", mean probability {event.confidence:.2f}"
    if highlight.kind == "detected seizure":
        outcome = next(
            one
            for one in results.outcomes
            if (one.partition_key, one.start_s) == (recording.partition_key, event.start)
        )
        remark = (
            f", latency {outcome.latency_s:+.1f} s, {outcome.covered:.0%} of it covered by "
            "detections"
        )
    return Picture(
        name,
        f"{highlight.kind.capitalize()}: {highlight.partition_key}",
        f"{event.start:.1f} to {event.stop:.1f} s ({event.duration:.1f} s{remark}); the picture "
        f"shows {highlight.start_s:.0f} to {highlight.stop_s:.0f} s.",
        eeg_strip(
            strip.signal,
            strip.rate_hz,
            strip.channel_names,
            highlight.start_s,
            recording.reference,
            recording.hypothesis,
            strip.scores,
            strip.frame_hz,
            name,
            results.threshold.point,
        ),
    )


def eeg_strip(
    signal: NDArray[np.float32],
    rate: float,
    channel_names: Sequence[str],
    start_s: float,
    reference: Sequence[Event],
    hypothesis: Sequence[Event],
    scores: NDArray[np.floating],
    frame_hz: float,
    name: str = "eeg",
    point: OperatingPoint | None = None,
) -> str:
    """Draw a segment of EEG with reference, hypothesis and scores below it, as SVG.

    ``signal`` is ``(channels, samples)``, z-scored, at ``rate`` Hz, and begins ``start_s``
    seconds into the recording. ``reference``, ``hypothesis`` and ``scores`` (frames at
    ``frame_hz``) are those of the whole recording. Raises ``ValueError`` if the signal is empty or
    does not have one row for each name.
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
        for events, color, at in ((reference, REFERENCE, 1), (hypothesis, HYPOTHESIS, 0)):
            for event in events:
                first, last = max(event.start, start_s), min(event.stop, stop_s)
                if last > first:
                    bands.barh(at, last - first, left=first, height=0.7, color=color)
                    eeg.axvspan(first, last, color=color, alpha=0.1, linewidth=0)
        _draw_scores(chance, scores, frame_hz, start_s, stop_s, point)
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


def _draw_scores(
    axes: Axes,
    scores: NDArray[np.floating],
    frame_hz: float,
    start_s: float,
    stop_s: float,
    point: OperatingPoint | None,
) -> None:
    first = max(math.floor(start_s * frame_hz), 0)
    frames = scores[first : math.ceil(stop_s * frame_hz)]
    axes.plot((first + np.arange(len(frames)) + 0.5) / frame_hz, frames, color=GREEN, linewidth=1.2)
    if point is not None:
        for threshold, line in ((point.on, "--"), (point.off, ":")):
            axes.axhline(threshold, color=TEXT, linestyle=line, linewidth=0.8)
    axes.set_ylabel("Logit", fontsize=9)


def _scale_bar(axes: Axes) -> None:
    """A bar of 5 SD to the right of the lowest channel, outside of the axes."""
    across = axes.get_yaxis_transform()
    axes.plot([1.008] * 2, [-2.5, 2.5], color=ORANGE, linewidth=2, transform=across, clip_on=False)
    axes.text(1.016, 0, "5 SD", va="center", fontsize=8, transform=across)


def _envelope(
    values: NDArray[np.float32], rate: float
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Times and values of a line; of a long one, the lowest and highest value of each bucket.

    An envelope keeps spikes that picking every n-th sample would lose.
    """
    if values.size <= _EEG_POINTS:
        return np.arange(values.size) / rate, values
    edges = np.linspace(0, values.size, _EEG_POINTS // 2 + 1).astype(np.int64)
    picked: list[int] = []
    for low, high in pairwise(edges.tolist()):
        bucket = values[low:high]
        picked += sorted({low + int(bucket.argmin()), low + int(bucket.argmax())})
    index = np.array(picked)
    return index / rate, values[index]
