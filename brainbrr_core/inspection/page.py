"""An inspection as a single, self-contained HTML file in which one can scroll."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict

from markupsafe import Markup

from brainbrr_core.display.pages import template_environment
from brainbrr_core.inspection.channels import PreprocessedSignal, RawSignal
from brainbrr_core.inspection.colors import event_colors
from brainbrr_core.inspection.inspection import Inspection
from brainbrr_core.inspection.quality import SCALP_UV

_TEMPLATES = Path(__file__).parent / "templates"


def page(inspection: Inspection, clip_sd: float) -> str:
    """The HTML text; ``clip_sd`` is where the signal chain clips, in standard deviations."""
    environment = template_environment(_TEMPLATES)
    environment.filters.update(figure=_figure, percent=_percent, capitalize_first=_capitalize_first)
    channels = inspection.channels
    rates = sorted({channel.raw.rate for channel in channels if channel.raw is not None})
    signals = [s for channel in channels for s in (channel.raw, channel.preprocessed) if s]
    finest = max((signal.envelope.bins_per_s for signal in signals), default=1)
    return environment.get_template("inspect.html.j2").render(
        inspection=inspection,
        clip_sd=f"{clip_sd:g}",
        scalp_uv=[f"{limit:g}" for limit in SCALP_UV],
        rates=", ".join(f"{rate:g} Hz" for rate in rates),
        partly=(inspection.start_s, inspection.stop_s) != (0.0, inspection.duration_s),
        step=f"1/{float(finest):g}" if finest > 1 else "1",
        version=version("brainbrr"),
        data=_script_text(_page_data(inspection)),
    )


class _SignalData(TypedDict):
    """The envelope of a signal for the page's script."""

    rate: float
    step: float
    usual: float
    unit: str
    data: str


class _ChannelData(TypedDict):
    """A channel for the page's script."""

    name: str
    interpolated: bool
    raw: _SignalData | None
    preprocessed: _SignalData | None


class _EventData(TypedDict):
    """An event for the page's script."""

    start: float
    stop: float
    label: str


class _PageData(TypedDict):
    """The JSON that the page's script reads."""

    start: float
    stop: float
    preprocessed: bool
    events: list[_EventData]
    colors: dict[str, str]
    channels: list[_ChannelData]


def _page_data(inspection: Inspection) -> _PageData:
    return {
        "start": inspection.start_s,
        "stop": inspection.stop_s,
        "preprocessed": inspection.preprocessed,
        "events": [
            {"start": event.start, "stop": event.stop, "label": event.label}
            for event in inspection.events
        ],
        "colors": event_colors(inspection.events),
        "channels": [
            {
                "name": channel.name,
                "interpolated": channel.interpolated,
                "raw": _signal_data(channel.raw),
                "preprocessed": _signal_data(channel.preprocessed),
            }
            for channel in inspection.channels
        ],
    }


def _signal_data(signal: RawSignal | PreprocessedSignal | None) -> _SignalData | None:
    if signal is None:
        return None
    envelope = signal.envelope
    return {
        "rate": float(envelope.bins_per_s),
        "step": envelope.step,
        "usual": envelope.usual,
        "unit": envelope.unit,
        "data": envelope.packed(),
    }


def _script_text(value: _PageData) -> Markup:
    """JSON in which nothing can end the script element around it."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    if value is None:
        return "–"
    return "0 %" if value == 0 else "< 0.01 %" if value < 1e-4 else f"{100 * value:.2f} %"


def _capitalize_first(text: str) -> str:
    return text[:1].upper() + text[1:]
