"""The picture of a run on several corpora: figures with their intervals, next to own dev."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from brainbrr_core.display.colors import BLUE, VERMILLION
from brainbrr_core.evaluation.corpus_row import CorpusRow
from brainbrr_core.evaluation.report.drawing import STYLE, svg
from brainbrr_core.evaluation.report.pictures import Picture

#: Name of each figure, its title, and whether it is a rate, which has a logarithmic axis.
_PANELS = (
    ("szcore_event.f1", "Event F1", False),
    ("szcore_event.sensitivity", "Sensitivity", False),
    ("szcore_event.false_per_day", "False alarms per 24 h", True),
    ("seconds.auroc", "AUROC", False),
)
#: Lower rates are drawn at this value: a logarithmic axis has no 0.
_LEAST_RATE = 0.1


def across_picture(rows: Sequence[CorpusRow]) -> Picture:
    """Draw four figures of every corpus, with a dashed line at that of the run's own dev."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 1.3 + 0.45 * len(rows)), layout="constrained")
        panels = figure.subplots(1, len(_PANELS), sharey=True)
        for axes, (name, title, rate) in zip(panels, _PANELS, strict=True):
            for number, row in enumerate(rows):
                estimate = row.figures[name]
                if math.isnan(estimate.value):
                    continue
                value, low, high = (
                    _drawn(end, rate) for end in (estimate.value, estimate.low, estimate.high)
                )
                color = BLUE if row.own else VERMILLION
                if not math.isnan(estimate.low):
                    axes.plot([low, high], [number, number], color=color)
                axes.plot([value], [number], "o", color=color)
                if number == 0:
                    axes.axvline(value, color=color, linestyle="--", linewidth=1.0)
            if rate:
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            else:
                axes.set_xlim(-0.03, 1.03)
            axes.set_title(title)
        panels[0].set_yticks(range(len(rows)), [_name(row) for row in rows])
        panels[0].set_ylim(len(rows) - 0.5, -0.5)
        return Picture(
            "across",
            "The run on each corpus",
            "Dots are figures, lines their 95 % confidence intervals over patients; the dashed "
            f"line is own dev. Rates below {_LEAST_RATE:g} are drawn at {_LEAST_RATE:g}.",
            svg(figure, "across", "Figures of the run on each corpus"),
        )


def _drawn(value: float, rate: bool) -> float:
    return max(value, _LEAST_RATE) if rate else value


def _name(row: CorpusRow) -> str:
    external = row.evaluation.results.external
    return row.name if external is None or external.adapted is None else f"{row.name} (adapted)"
