"""The style of a report's figures, and their conversion to SVG.

Axes and text take the color of the page around them (``currentColor``), so that a figure is legible
on a light and on a dark page; data have the colors of ``display.colors``. The same figure always
gives the same SVG.
"""

from __future__ import annotations

import io
import re
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

#: Stands for the color of the page's text until the SVG is written.
TEXT = "#7e7f80"
STYLE: dict[Any, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "brainbrr",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 10.0,
    "axes.edgecolor": TEXT,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": TEXT,
    "grid.alpha": 0.2,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "path.simplify": True,
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
}


def svg(figure: Figure, name: str, label: str) -> str:
    """Convert a figure to an SVG element that can be put into a page.

    ``name`` (lowercase letters, digits, hyphens) is the prefix of every id, so that the figures of
    a page do not clash; ``label`` describes the figure for screen readers. Call this within
    ``matplotlib.rc_context(STYLE)``. Raises ``ValueError`` for a name with other characters.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ValueError(
            f"a figure's name {name!r} must consist of lowercase letters, digits and hyphens"
        )
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg ") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # A tenth of a point is finer than a pixel of a screen, and needs a third of the text.
    text = re.sub(
        r' d="[^"]*"',
        lambda path: re.sub(r"(\.\d)\d+", r"\1", path.group()).replace(" \n", " "),
        text,
    )
    text = re.sub(r"'DejaVu Sans'(, sans-serif)?", "sans-serif", text)
    text = text.replace(TEXT, "currentColor")
    # A page has several figures, so the ids of each need their own prefix.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    head = re.compile(r'<svg ([^>]*?)width="[^"]*"([^>]*?)height="[^"]*"([^>]*)>|<svg ([^>]*)>')
    view = re.search(r'viewBox="[^"]*"', text)
    if view is None:
        raise ValueError("the SVG has no viewBox")
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{view.group()} role="img" aria-label="{label}">'
    )
    return head.sub(opening, text, count=1)
