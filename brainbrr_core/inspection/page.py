"""An inspection as one HTML file that needs nothing else, and in which one can scroll."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from brainbrr_core.inspection.colours import event_colours
from brainbrr_core.inspection.envelope import Envelope
from brainbrr_core.inspection.inspection import Inspection
from brainbrr_core.inspection.quality import SCALP_UV

_TEMPLATES = Path(__file__).parent / "templates"


def page(seen: Inspection, clip_sd: float) -> str:
    """The text of the page; ``clip_sd`` is where the chain clips, in standard deviations."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        clock=clock, figure=_figure, percent=_percent, capitalize_first=_capitalize_first
    )
    rates = sorted({channel.rate for channel in seen.channels if channel.rate is not None})
    finest = max(
        (e.bins_per_s for c in seen.channels for e in (c.raw, c.preprocessed) if e), default=1
    )
    return environment.get_template("inspect.html.j2").render(
        seen=seen,
        clip_sd=f"{clip_sd:g}",
        scalp_uv=[f"{limit:g}" for limit in SCALP_UV],
        rates=", ".join(f"{rate:g} Hz" for rate in rates),
        partly=(seen.start_s, seen.stop_s) != (0.0, seen.duration_s),
        step=f"1/{float(finest):g}" if finest > 1 else "1",
        version=version("brainbrr"),
        data=_script_text(_data(seen)),
    )


def clock(seconds: float, digits: int = 0) -> str:
    """``h:mm:ss`` from the recording's start, with ``digits`` decimals."""
    whole = round(seconds, digits)
    width = digits + 3 if digits else 2
    minutes, rest = divmod(whole, 60)
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{rest:0{width}.{digits}f}"


def _data(seen: Inspection) -> dict[str, Any]:
    return {
        "start": seen.start_s,
        "stop": seen.stop_s,
        "preprocessed": seen.preprocessed,
        "events": [
            {"start": event.start, "stop": event.stop, "label": event.label}
            for event in seen.events
        ],
        "colours": event_colours(seen.events),
        "channels": [
            {
                "name": channel.name,
                "interpolated": channel.interpolated,
                "raw": _packed(channel.raw),
                "preprocessed": _packed(channel.preprocessed),
            }
            for channel in seen.channels
        ],
    }


def _packed(envelope: Envelope | None) -> dict[str, Any] | None:
    if envelope is None:
        return None
    return {
        "rate": float(envelope.bins_per_s),
        "step": envelope.step,
        "usual": envelope.usual,
        "unit": envelope.unit,
        "data": envelope.packed(),
    }


def _script_text(value: dict[str, Any]) -> Markup:
    """JSON that cannot end the script element it stands in."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    if value is None:
        return "–"
    return "0 %" if value == 0 else "< 0.01 %" if value < 1e-4 else f"{100 * value:.2f} %"


def _capitalize_first(text: str) -> str:
    return text[:1].upper() + text[1:]
