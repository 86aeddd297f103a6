"""How every figure of a report looks, and how it becomes SVG text.

Axes and letters take the color of the page around them (``currentColor``), so a figure is
legible on a light and on a dark page; data have the colors of ``display.colors``. The same figure
gives the same text.
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
    """SVG element of a figure, to be put into a page: scalable, named, and small.

    ``name`` (small letters, digits, hyphens) begins every id, so that figures of one page do not
    clash; ``label`` says to those who cannot see it what the figure shows. Call it within
    ``matplotlib.rc_context(STYLE)``. Raises ``ValueError`` for another name.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ValueError(f"a figure's name {name!r} must be of small letters, digits and hyphens")
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg ") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # A tenth of a point is finer than a screen's pixel, and a third of the text.
    text = re.sub(
        r' d="[^"]*"',
        lambda path: re.sub(r"(\.\d)\d+", r"\1", path.group()).replace(" \n", " "),
        text,
    )
    text = re.sub(r"'DejaVu Sans'(, sans-serif)?", "sans-serif", text)
    text = text.replace(TEXT, "currentColor")
    # Several figures stand in one page, so each needs ids of its own.
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
