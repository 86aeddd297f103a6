"""An inspection as a picture: all that is drawn, and ten seconds around the first event."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from brainbrr_core.display.times import clock
from brainbrr_core.inspection.channels import Channel, PreprocessedSignal, RawSignal
from brainbrr_core.inspection.colors import event_colors
from brainbrr_core.inspection.envelope import Envelope
from brainbrr_core.inspection.inspection import Inspection

_DETAIL_S = 10.0
#: Steps of time across a panel; each is drawn as its lowest and highest value.
_COLUMNS = 1000
_RAW, _PREPROCESSED = "#8a5a00", "#14508c"


def picture(inspection: Inspection) -> bytes:
    """Draw an inspection: the raw signal on the left, the preprocessed one, if any, on the right.

    Parameters
    ----------
    inspection : Inspection
        What :func:`~brainbrr_core.inspection.inspection.inspect_recording` returns.

    Returns
    -------
    bytes
        A PNG. The same inspection gives the same bytes.
    """
    rows = [c for c in inspection.channels if c.raw is not None or c.preprocessed is not None]
    panels = [("raw", _RAW, [_envelope(row.raw) for row in rows])]
    if inspection.preprocessed:
        envelopes = [_envelope(row.preprocessed) for row in rows]
        panels.append(("preprocessed", _PREPROCESSED, envelopes))
    start_s, stop_s = inspection.start_s, inspection.stop_s
    intervals = [(start_s, stop_s)]
    if stop_s - start_s > 1.5 * _DETAIL_S:
        first = next((e.start for e in inspection.events if start_s <= e.start < stop_s), start_s)
        detail = min(max(first - _DETAIL_S / 4, start_s), stop_s - _DETAIL_S)
        intervals.append((detail, detail + _DETAIL_S))
    with rc_context({"font.size": 8.0, "text.parse_math": False, "path.simplify": True}):
        height = (0.24 * max(len(rows), 4) + 0.7) * len(intervals) + 0.6
        figure = Figure(figsize=(8.0 * len(panels), height), dpi=100, layout="constrained")
        excluded = f"   excluded: {inspection.reasons[0][0]}" if inspection.reasons else ""
        figure.suptitle(f"{inspection.name}   {clock(inspection.duration_s)}{excluded}")
        grid = figure.subplots(len(intervals), len(panels), squeeze=False)
        for line, interval in enumerate(intervals):
            for column, (kind, color, envelopes) in enumerate(panels):
                axes = grid[line, column]
                _draw(axes, rows, envelopes, (start_s, *interval), color)
                _shade(axes, inspection, interval)
                axes.set_title(f"{kind}, {clock(interval[0])} to {clock(interval[1])}", fontsize=9)
        if any(row.interpolated for row in rows):
            note = "* interpolated from other electrodes, not recorded"
            figure.supxlabel(note, x=0.01, ha="left", fontsize=8)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _envelope(signal: RawSignal | PreprocessedSignal | None) -> Envelope | None:
    return None if signal is None else signal.envelope


def _draw(
    axes: Axes,
    rows: Sequence[Channel],
    envelopes: Sequence[Envelope | None],
    seconds: tuple[float, float, float],
    color: str,
) -> None:
    origin, start, stop = seconds
    zoom = 1 if stop - start <= _DETAIL_S * 2 else 2
    spans = {unit: zoom * span for unit, span in _usual_spans(envelopes).items()}
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
        # Channels without a physical unit are scaled one by one.
        span = spans.get(envelope.unit, zoom * (envelope.usual or 1.0))
        scale = envelope.step / span
        times = np.repeat(start + (starts + 0.5) / rate, 2)
        values = np.stack([lowest, highest], axis=1).reshape(-1) * scale
        axes.plot(times, -number + np.clip(values, -1.5, 1.5), color=color, linewidth=0.5)
    axes.set_xlim(start, stop)
    axes.set_ylim(-len(rows), 1)
    axes.set_yticks(
        [-n for n in range(len(rows))],
        [row.name + ("*" if row.interpolated else "") for row in rows],
    )
    axes.xaxis.set_major_locator(FixedLocator(_ticks(start, stop)))
    axes.xaxis.set_major_formatter(lambda value, _: clock(value))
    axes.grid(axis="x", alpha=0.3)
    for unit, span in list(spans.items())[:1]:
        _draw_scale(axes, unit, span)


def _usual_spans(envelopes: Sequence[Envelope | None]) -> dict[str, float]:
    """Of each physical unit, the median of the usual ranges; that of most channels first."""
    usual: dict[str, list[float]] = {}
    for envelope in envelopes:
        if envelope is not None and envelope.usual > 0 and "digital" not in envelope.unit:
            usual.setdefault(envelope.unit, []).append(envelope.usual)
    most_first = sorted(usual.items(), key=lambda entry: -len(entry[1]))
    return {unit: float(np.median(values)) for unit, values in most_first}


def _draw_scale(axes: Axes, unit: str, row_height: float) -> None:
    """A bar at the right edge with its height in ``unit``; a row is ``row_height`` high."""
    size = round_below(2 * row_height)
    beside = axes.get_yaxis_transform()
    axes.plot(
        [1.006, 1.006],
        [0, -size / row_height],
        transform=beside,
        color="black",
        linewidth=2,
        clip_on=False,
        solid_capstyle="butt",
    )
    axes.text(
        1.012,
        -size / row_height / 2,
        f"{size:g} {unit}",
        transform=beside,
        rotation="vertical",
        va="center",
    )


def round_below(value: float) -> float:
    """The largest number that is 1, 2 or 5 times a power of ten and at most ``value``."""
    # The last digits of a value, and of its logarithm, are rounded.
    limit = value * (1 + 1e-9)
    power = 10.0 ** np.floor(np.log10(limit))
    return float(max(factor * power for factor in (1, 2, 5) if factor * power <= limit))


def _ticks(start: float, stop: float) -> list[float]:
    """Up to ten round times from ``start`` to ``stop``, in seconds."""
    sizes = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200)
    step = next((size for size in sizes if (stop - start) / size <= 10), 86400)
    return [float(t) for t in range(-int(-start // step) * step, int(stop) + 1, step)]


def _shade(axes: Axes, inspection: Inspection, interval: tuple[float, float]) -> None:
    colors = event_colors(inspection.events)
    named_to = -np.inf
    for event in inspection.events:
        if event.stop <= interval[0] or event.start >= interval[1]:
            continue
        left, right = max(event.start, interval[0]), min(event.stop, interval[1])
        axes.axvspan(left, right, color=colors[event.label], alpha=0.2, linewidth=0)
        # Labels of events that follow closely would overlap.
        if left >= named_to:
            axes.text(left, 0.95, event.label, color=colors[event.label], va="top", clip_on=True)
            named_to = left + (interval[1] - interval[0]) / 20
