"""An inspection as a picture: the whole recording, and ten seconds from its first event."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from brainbrr_core.inspection.channels import Channel
from brainbrr_core.inspection.colours import event_colours
from brainbrr_core.inspection.envelope import Envelope
from brainbrr_core.inspection.inspection import Inspection
from brainbrr_core.inspection.page import clock

_DETAIL_S = 10.0
#: Columns of a panel; a line has a lowest and a highest value in each.
_COLUMNS = 1000
_RAW, _PREPROCESSED = "#8a5a00", "#14508c"


def picture(seen: Inspection) -> bytes:
    """A PNG: on the left the raw, on the right the preprocessed signal where there is one.

    The same inspection gives the same bytes.
    """
    kinds: list[tuple[str, str, Callable[[Channel], Envelope | None]]] = [
        ("raw", _RAW, lambda channel: channel.raw)
    ]
    if seen.preprocessed:
        kinds.append(("preprocessed", _PREPROCESSED, lambda channel: channel.preprocessed))
    rows = [c for c in seen.channels if c.raw is not None or c.preprocessed is not None]
    first = next((e.start for e in seen.events if seen.start_s <= e.start < seen.stop_s), None)
    detail = seen.start_s if first is None else max(first - _DETAIL_S / 4, seen.start_s)
    stretches = [(seen.start_s, seen.stop_s)]
    if seen.stop_s - seen.start_s > 1.5 * _DETAIL_S:
        detail = min(detail, seen.stop_s - _DETAIL_S)
        stretches.append((detail, detail + _DETAIL_S))
    with rc_context({"font.size": 8.0, "text.parse_math": False, "path.simplify": True}):
        height = (0.24 * max(len(rows), 4) + 0.7) * len(stretches) + 0.6
        figure = Figure(figsize=(8.0 * len(kinds), height), dpi=100, layout="constrained")
        excluded = f"   excluded: {seen.reasons[0][0]}" if seen.reasons else ""
        figure.suptitle(f"{seen.name}   {clock(seen.duration_s)}{excluded}")
        grid = figure.subplots(len(stretches), len(kinds), squeeze=False)
        for line, stretch in enumerate(stretches):
            for column, (kind, colour, envelope_of) in enumerate(kinds):
                envelopes = [envelope_of(channel) for channel in rows]
                axes = grid[line, column]
                _draw(axes, rows, envelopes, (seen.start_s, *stretch), colour)
                _shade(axes, seen, stretch)
                axes.set_title(f"{kind}, {clock(stretch[0])} to {clock(stretch[1])}", fontsize=9)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(
    axes: Axes,
    rows: Sequence[Channel],
    envelopes: Sequence[Envelope | None],
    seconds: tuple[float, float, float],
    colour: str,
) -> None:
    origin, start, stop = seconds
    usual: dict[str, list[float]] = {}
    for envelope in envelopes:
        if envelope is not None and envelope.usual > 0:
            usual.setdefault(envelope.unit, []).append(envelope.usual)
    for number, envelope in enumerate(envelopes):
        if envelope is None or not len(envelope.low):
            continue
        rate = float(envelope.bins_per_s)
        begin, end = int((start - origin) * rate), int(np.ceil((stop - origin) * rate))
        low, high = envelope.low[begin:end], envelope.high[begin:end]
        if not len(low):
            continue
        starts = np.unique(np.linspace(0, len(low), _COLUMNS, endpoint=False).astype(int))
        lowest, highest = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
        same = usual.get(envelope.unit, [1.0])
        span = envelope.usual or 1.0 if "digital" in envelope.unit else float(np.median(same))
        scale = envelope.step / span / (1 if stop - start <= _DETAIL_S * 2 else 2)
        times = np.repeat(start + (starts + 0.5) / rate, 2)
        values = np.stack([lowest, highest], axis=1).reshape(-1) * scale
        axes.plot(times, -number + np.clip(values, -1.5, 1.5), color=colour, linewidth=0.5)
    axes.set_xlim(start, stop)
    axes.set_ylim(-len(rows), 1)
    axes.set_yticks(
        [-n for n in range(len(rows))],
        [row.name + ("*" if row.interpolated else "") for row in rows],
    )
    axes.xaxis.set_major_locator(FixedLocator(_ticks(start, stop)))
    axes.xaxis.set_major_formatter(lambda value, _: clock(value))
    axes.grid(axis="x", alpha=0.3)


def _ticks(start: float, stop: float) -> list[float]:
    """At most ten times, in whole parts or multiples of minutes and hours."""
    sizes = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200)
    step = next((size for size in sizes if (stop - start) / size <= 10), 86400)
    return [float(t) for t in range(-int(-start // step) * step, int(stop) + 1, step)]


def _shade(axes: Axes, seen: Inspection, stretch: tuple[float, float]) -> None:
    colours = event_colours(seen.events)
    named_to = -np.inf
    for event in seen.events:
        if event.stop <= stretch[0] or event.start >= stretch[1]:
            continue
        left, right = max(event.start, stretch[0]), min(event.stop, stretch[1])
        axes.axvspan(left, right, color=colours[event.label], alpha=0.2, linewidth=0)
        # Names would cover each other where events follow closely.
        if left >= named_to:
            axes.text(left, 0.95, event.label, color=colours[event.label], va="top", clip_on=True)
            named_to = left + (stretch[1] - stretch[0]) / 20
