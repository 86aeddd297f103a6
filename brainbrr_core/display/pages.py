"""How an HTML page is rendered from a template."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from brainbrr_core.display.times import clock

_SHARED = Path(__file__).parent / "templates"


def template_environment(templates: Path) -> Environment:
    """The Jinja environment for the templates in a folder.

    Undefined names are errors, everything is escaped, and the filter ``clock`` formats seconds. A
    template can include ``theme.css``, the colors of a light and of a dark page.
    """
    environment = Environment(
        loader=FileSystemLoader([templates, _SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["clock"] = clock
    return environment
