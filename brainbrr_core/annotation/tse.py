"""Annotation files of TUSZ 1.5 and before: ``tse_bi`` (events) and ``tse`` (with types).

Both are text: a line ``version = tse_v1.0.0`` and one line for each event, ``start stop label
confidence``, times in seconds. Events and background together cover the recording, so the last
stop is its duration.

What such a file may hold and what makes it unusable is the same as for ``csv_bi``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from brainbrr_core.annotation import tuh
from brainbrr_core.annotation.parsed import ParsedAnnotation

_VERSION = re.compile(r"version\s*=\s*tse_v\S*")


def parse(text: str, where: str) -> ParsedAnnotation:
    """Parse the text of a ``tse`` or ``tse_bi`` file; ``where`` names it in findings."""
    lines = [_as_csv(line) for line in text.removeprefix("\ufeff").splitlines()]
    stops = [(_seconds(line), number) for number, line in enumerate(lines, start=1)]
    stop, number = max(stops, default=(0.0, 0))
    # In a line of its own, after the others, so that findings name the lines of the file.
    duration = [f"# duration = {stop} secs"] if stop > 0 else []
    return replace(tuh.parse("\n".join([*lines, *duration]), where), duration_line=number)


def read(path: Path) -> ParsedAnnotation:
    """Read a ``tse`` or ``tse_bi`` file. Raises ``OSError`` when it cannot be opened."""
    return parse(path.read_text(encoding="utf-8", errors="replace"), path.name)


def _as_csv(line: str) -> str:
    """A line as a ``csv_bi`` has it."""
    if _VERSION.fullmatch(line.strip()):
        return ",".join(tuh.COLUMNS)
    return ",".join(["TERM", *line.split()]) if line.strip() and not line.startswith("#") else line


def _seconds(line: str) -> float:
    """Where the event of a line stops; 0 where it is none."""
    cells = line.split(",")
    try:
        return float(cells[2])
    except (IndexError, ValueError):
        return 0.0
