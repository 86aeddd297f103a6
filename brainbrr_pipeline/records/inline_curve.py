"""A drawing of the operating curve so small that Dagster shows it among an asset's metadata."""

from __future__ import annotations

import base64
import math

import numpy as np

from brainbrr_core.evaluation.results import EvaluationResults

#: Dagster shows a Markdown text as long as this, or longer, only after a click.
LONGEST = 1000
#: The corners of the axes, in units of the drawing; sensitivities from 0 to 1 are 90 units high.
_LEFT, _RIGHT, _TOP, _BOTTOM = 20, 260, 10, 100
#: Rates of false alarms per 24 h at both ends of the axis; others are drawn at its ends.
_RATES = (0.1, 1000.0)
_LABELED = (0.1, 1, 10, 100, 1000)
_MOST_POINTS = 20


def operating_curve(results: EvaluationResults) -> str:
    """Sensitivity against false alarms by SzCORE's event rule over all thresholds, as Markdown.

    A dot marks the threshold in use. The text is shorter than ``LONGEST``: it is an SVG with some
    of the curve's points, and the report has the whole curve.
    """
    rows = [(row.false_per_day, row.sensitivity) for row in results.operating_curve]
    placed = {_place(*row) for row in rows if all(map(math.isfinite, row))}
    # Upward where several sensitivities have one rate; the drawing counts from its top.
    points = _corners(sorted(placed, key=lambda point: (point[0], -point[1])))
    some = np.unique(np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int))
    line = " ".join("{} {}".format(*points[n]) for n in some) if points else ""
    in_use = results.headline["szcore_event"]
    dot = ""
    if math.isfinite(in_use.false_per_day) and math.isfinite(in_use.sensitivity):
        dot = '<circle cx="{}" cy="{}" r="3"/>'.format(
            *_place(in_use.false_per_day, in_use.sensitivity)
        )
    labels = "".join(
        f'<text x="{_place(rate, 0)[0] - 5}" y="112">{rate}</text>' for rate in _LABELED
    )
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="420" viewBox="0 -8 280 134" '
        'font-size="9" fill="#68a">'
        f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" fill="none" stroke="#999"/>'
        f'<polyline points="{line}" fill="none" stroke="#68a"/>{dot}'
        f'<text x="9" y="14">1</text><text x="9" y="100">0</text>{labels}'
        '<text x="20" y="2">sensitivity</text>'
        '<text x="30" y="124">false alarms per 24 h</text></svg>'
    )
    encoded = base64.b64encode(drawing.encode()).decode()
    return f"![sensitivity](data:image/svg+xml;base64,{encoded})"


def _corners(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Points of a line without those in the middle of a vertical or horizontal part."""
    kept = points[:2]
    for point in points[2:]:
        if any(kept[-2][axis] == kept[-1][axis] == point[axis] for axis in (0, 1)):
            kept.pop()
        kept.append(point)
    return kept


def _place(false_per_day: float, sensitivity: float) -> tuple[int, int]:
    """Where a point is in the drawing, whose horizontal axis is logarithmic."""
    low, high = map(math.log10, _RATES)
    rate = math.log10(min(max(false_per_day, _RATES[0]), _RATES[1]))
    x = _LEFT + (rate - low) / (high - low) * (_RIGHT - _LEFT)
    return round(x), round(_BOTTOM - sensitivity * (_BOTTOM - _TOP))
