"""The figures of an evaluation's report; their style is in :mod:`.drawing`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from brainbrr_core.display.colors import BLUE, GREEN, ORANGE, VERMILLION
from brainbrr_core.evaluation.facts import TrainingFacts
from brainbrr_core.evaluation.report.drawing import STYLE, TEXT, svg
from brainbrr_core.evaluation.report.pictures import Picture
from brainbrr_core.evaluation.results import EvaluationResults, GroupRow
from brainbrr_core.scoring import SweepRow

_SIZE = (4.4, 3.5)
#: Color and width of SzCORE's and of NEDC's curve.
_RULE_LINES = ((BLUE, 3.0), (VERMILLION, 1.2))
_MOST_PATIENTS = 60
_LATENCY_SHOWN_S = (-59.9, 119.9)
#: Start, stop (exclusive) and width of the bars.
_LATENCY_BINS_S = (-60, 125, 5)


def all_pictures(results: EvaluationResults) -> list[Picture]:
    """The figures of a report, in the order in which it shows them."""
    pictures = [
        operating_curve(results),
        roc(results),
        precision_recall(results),
        reliability(results),
        latency(results),
    ]
    if results.training is not None and results.training.validations:
        pictures.append(validation(results.training))
    return [*pictures, patients(results.patients)]


def operating_curve(results: EvaluationResults) -> Picture:
    """Sensitivity against false alarms per 24 hours over all thresholds."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
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
            # Where the two rules agree, the wider line remains visible behind the narrower one.
            for (rule, points), (color, width) in zip(by_rule, _RULE_LINES, strict=True):
                defined = [point for point in points if not any(map(math.isnan, point))]
                if defined:
                    x, y = zip(*defined, strict=True)
                    label = f"{rule}, {split}"
                    axes.plot(_positive(x), y, line, color=color, linewidth=width, label=label)
        for rule, (color, width) in zip(("szcore_event", "nedc_ovlp"), _RULE_LINES, strict=True):
            point = results.headline[rule]
            if not math.isnan(point.sensitivity):
                x_at = _positive([point.false_per_day])
                axes.plot(x_at, [point.sensitivity], "o", color=color, markersize=4 + 2 * width)
        axes.set_xscale("log")
        axes.set_xlim(0.8 * _LEAST_RATE, max(100 * _LEAST_RATE, 1.1 * axes.get_xlim()[1]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        _labels(axes, "False alarms per 24 h", "Sensitivity")
        axes.set_ylim(-0.02, 1.02)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right")
        elif not axes.lines:
            _write_remark(axes, "no seizures in these recordings")
        return Picture(
            "operating-curve",
            "Sensitivity against false alarms",
            f"Pooled, over all thresholds; dots mark the operating point in use. "
            f"Rates below {_LEAST_RATE:g} are drawn at {_LEAST_RATE:g}.",
            svg(figure, "operating-curve", "Sensitivity against false alarms per 24 hours"),
        )


def roc(results: EvaluationResults) -> Picture:
    """Receiver operating characteristic of all seconds."""
    seconds = results.seconds
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.plot([0, 1], [0, 1], ":", color=TEXT, linewidth=1, label="chance")
        _line(axes, seconds.roc, f"AUROC {seconds.auroc:.3f}")
        _labels(axes, "False positive rate", "Sensitivity")
        return Picture(
            "roc",
            "ROC curve over seconds",
            f"{seconds.seconds:,} seconds, {seconds.ictal_seconds:,} of them ictal.",
            svg(figure, "roc", "Receiver operating characteristic over seconds"),
        )


def precision_recall(results: EvaluationResults) -> Picture:
    """Precision against recall of all seconds."""
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
            "Precision–recall curve over seconds",
            "AUPRC is the average precision, not interpolated; chance is the proportion of ictal "
            "seconds.",
            svg(figure, "precision-recall", "Precision against recall over seconds"),
        )


def reliability(results: EvaluationResults) -> Picture:
    """Proportion of ictal seconds against predicted probability."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.plot([0, 1], [0, 1], ":", color=TEXT, linewidth=1, label="calibrated")
        filled = [score_bin for score_bin in results.seconds.reliability if score_bin.seconds]
        error = results.seconds.calibration_error
        for number, score_bin in enumerate(results.seconds.reliability):
            ictal = results.estimates[f"reliability.{number}.ictal"]
            if score_bin.seconds and not math.isnan(ictal.low):
                ends = [ictal.low, ictal.high]
                axes.plot([score_bin.probability] * 2, ends, color=BLUE, alpha=0.5)
        _line(
            axes,
            [(score_bin.probability, score_bin.ictal) for score_bin in filled],
            f"calibration error {error:.3f}",
            marker="o",
        )
        _labels(axes, "Probability", "Proportion of ictal seconds")
        return Picture(
            "reliability",
            "Calibration",
            "Seconds in ten bins of predicted probability, with confidence intervals; the "
            "expected calibration error weights each bin by its number of seconds.",
            svg(figure, "reliability", "Proportion of ictal seconds against probability"),
        )


def latency(results: EvaluationResults) -> Picture:
    """Histogram of the latency of the detected seizures."""
    late = [outcome.latency_s for outcome in results.outcomes if outcome.detected]
    missed = len(results.outcomes) - len(late)
    median = results.estimates["latency.median_s"].value
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        if late:
            shown = np.clip(late, *_LATENCY_SHOWN_S)
            axes.hist(shown, bins=[*range(*_LATENCY_BINS_S)], color=BLUE)
            axes.axvline(median, color=VERMILLION, linestyle="--", label=f"median {median:.1f} s")
            axes.legend(loc="upper right")
        else:
            _write_remark(axes, "no seizure was detected")
        _labels(axes, "Start of detection minus start of seizure (s)", "Seizures")
        low, high = _LATENCY_SHOWN_S
        return Picture(
            "latency",
            "Detection latency",
            f"Seizures that a detection overlaps (NEDC OVLP): {len(late)}; missed: {missed}, not "
            "shown. A negative latency means that the detection starts before the annotated "
            f"onset. Latencies below {low:.0f} s or above {high:.0f} s are in the outermost bars.",
            svg(figure, "latency", "Histogram of detection latency"),
        )


def validation(training: TrainingFacts) -> Picture:
    """Figures on dev over the training steps."""
    points = training.validations
    steps = [point.step for point in points]
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        curves = [("criterion for choosing the weights", [p.score for p in points], BLUE, 3.0)]
        curves += [
            ("best event F1", [point.f1 for point in points], VERMILLION, 1.4),
            ("AUROC", [point.auroc for point in points], GREEN, 1.4),
            ("average precision", [point.auprc for point in points], ORANGE, 1.4),
        ]
        for label, values, color, width in curves:
            axes.plot(steps, values, color=color, linewidth=width, marker=".", label=label)
        axes.axvline(training.kept_step, color=TEXT, linestyle="--", linewidth=1)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(left=0)
        _labels(axes, "Optimizer steps", "On dev")
        axes.legend(loc="lower right")
        return Picture(
            "validation",
            "Validation during training",
            f"The weights of step {training.kept_step:,} (dashed line), with the highest "
            f"{training.rule} on dev, are the ones in use.",
            svg(figure, "validation", "Figures on dev over the training steps"),
        )


def patients(rows: Sequence[GroupRow]) -> Picture:
    """Sensitivity and false alarms per 24 h of each patient under SzCORE's event rule."""
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
        bars = np.arange(len(shown))
        sensitivities = [row.figures.sensitivity for row in shown]
        rates = [row.figures.false_per_day for row in shown]
        left.barh(bars, [_or_zero(value) for value in sensitivities], color=BLUE, height=0.7)
        right.barh(bars, [_or_zero(value) for value in rates], color=VERMILLION, height=0.7)
        for bar, value in enumerate(sensitivities):
            if math.isnan(value):
                left.text(0.01, bar, "no seizures", fontsize=8, va="center")
        left.set_yticks(bars, [f"{row.name} ({row.seizures})" for row in shown], fontsize=9)
        left.set_ylim(len(shown) - 0.4, -0.6)
        left.set_xlim(0, 1)
        right.set_xlim(left=0)
        left.set_xlabel("Sensitivity")
        right.set_xlabel("False alarms per 24 h")
        for axes in (left, right):
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
        return Picture(
            "patients",
            "Patients",
            "SzCORE's event rule, pooled within each patient; numbers of seizures in brackets."
            + (f" Patients with fewer seizures who are not drawn: {left_out}." if left_out else ""),
            svg(figure, "patients", "Sensitivity and false alarms per 24 hours of each patient"),
        )


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
    """Plot a labeled curve in the unit square, or a remark if there are no points."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    if not points:
        _write_remark(axes, "undefined for these recordings")
        return
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=BLUE, label=label, marker=marker)
    axes.legend(loc="best")


def _write_remark(axes: Axes, remark: str) -> None:
    axes.text(0.5, 0.5, remark, transform=axes.transAxes, ha="center", va="center")
