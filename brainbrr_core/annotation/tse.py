"""Annotation files of TUSZ 1.5 and earlier: ``tse_bi`` (events) and ``tse`` (with types).

Both are text: a line ``version = tse_v1.0.0`` and one line for each event, ``start stop label
confidence``, with times in seconds. Events and background together cover the recording, so the last
stop is its duration. Where they leave something out, the duration is not known. Labels and findings
are those of ``csv_bi``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from brainbrr_core.annotation import tuh
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import ParsedAnnotation
from brainbrr_core.annotation.policy import ROUNDING_S
from brainbrr_core.files.regular import read_text

_VERSION = re.compile(r"version\s*=\s*tse_v\S*")


def parse(text: str, where: str) -> ParsedAnnotation:
    """Parse the text of a ``tse`` or ``tse_bi`` file; ``where`` names it in findings."""
    lines = [_as_csv(line) for line in text.removeprefix("\ufeff").splitlines()]
    spans = [(*_span(line), number) for number, line in enumerate(lines, start=1)]
    stop, number = max(((stop, number) for _, stop, number in spans), default=(0.0, 0))
    # Appended as the last line, so that findings have the line numbers of the file.
    duration = [f"# duration = {stop} secs"] if stop > 0 else []
    parsed = replace(tuh.parse("\n".join([*lines, *duration]), where), duration_line=number)
    uncovered = _uncovered([(start, stop) for start, stop, _ in spans if stop > start])
    if not uncovered or not parsed.usable:
        return parsed
    detail = "no row from {:.4f} to {:.4f} s".format(*uncovered)
    finding = Finding("no_duration", where, detail)
    return replace(parsed, duration_s=None, duration_line=0, findings=(*parsed.findings, finding))


def read(path: Path) -> ParsedAnnotation:
    """Read a ``tse`` or ``tse_bi`` file. Raises ``OSError`` when it cannot be opened."""
    return parse(read_text(path), path.name)


def _as_csv(line: str) -> str:
    """A line in the form of a ``csv_bi``."""
    if _VERSION.fullmatch(line.strip()):
        return ",".join(tuh.COLUMNS)
    return ",".join(["TERM", *line.split()]) if line.strip() and not line.startswith("#") else line


def _span(line: str) -> tuple[float, float]:
    """Start and stop of the event in a line; 0 and 0 where the line is not an event."""
    cells = line.split(",")
    try:
        return float(cells[1]), float(cells[2])
    except (IndexError, ValueError):
        return 0.0, 0.0


def _uncovered(spans: list[tuple[float, float]]) -> tuple[float, float] | None:
    """The first interval before the last stop that no row covers, beyond rounding."""
    reached = 0.0
    for start, stop in sorted(spans):
        if start > reached + ROUNDING_S:
            return reached, start
        reached = max(reached, stop)
    return None
