"""Annotation files of TUSZ 1.5 and earlier: ``lbl_bi`` and ``lbl`` (with types), per channel.

Both are text. ``montage`` lines number the channels and ``symbols`` lines the labels. Each
``label`` line is an event: its level, sublevel, start and stop in seconds, channel, and the
probability of each symbol. Events and background together cover the recording, so the last stop is
its duration. Labels and findings are those of ``csv``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from brainbrr_core.annotation import tuh
from brainbrr_core.annotation.events import UNKNOWN, merge_overlapping
from brainbrr_core.annotation.parsed import ParsedAnnotation, on_signal
from brainbrr_core.configuration.settings import SEIZURE_LABELS
from brainbrr_core.constants import BACKGROUND
from brainbrr_core.files.regular import read_text

_VERSION = re.compile(r"version\s*=\s*lbl_v\S*")
_MONTAGE = re.compile(r"montage\s*=\s*(\d+)\s*,\s*([^:,]+?)\s*:.*")
_SYMBOLS = re.compile(r"symbols\[(\d+)\]\s*=\s*\{(.*)\}")
_SYMBOL = re.compile(r"(\d+)\s*:\s*'([^']*)'")
#: Symbols of the corpus that are no seizure, and those that are.
_SYMBOL_NAMES = frozenset(
    ("(null)", "spsw", "gped", "pled", "eyem", "artf", "intr", "slow", "calb", "shiv", "elpp")
) | {*SEIZURE_LABELS, BACKGROUND, UNKNOWN, "unkn"}
_LEVELS = re.compile(r"(?:number_of_levels|level\[\d+\])\s*=\s*\d+")
_LABEL = re.compile(
    r"label\s*=\s*\{\s*(\d+)\s*,\s*\d+\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*(\d+)\s*,"
    r"\s*\[([\d.,\s]*)\]\s*\}"
)


def parse(text: str, where: str) -> ParsedAnnotation:
    """Parse the text of an ``lbl`` or ``lbl_bi`` file; ``where`` names it in findings."""
    channels: dict[str, str] = {}
    symbols: dict[str, dict[int, str]] = {}
    rows: list[str] = []
    stops = [(0.0, 0)]
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        stripped = line.strip()
        # Every line stays one, so that findings have the line numbers of the file.
        row = ""
        if _VERSION.fullmatch(stripped):
            row = ",".join(tuh.COLUMNS)
        elif (montage := _MONTAGE.fullmatch(stripped)) is not None:
            channels[montage[1]] = montage[2]
        elif (level := _SYMBOLS.fullmatch(stripped)) is not None:
            symbols[level[1]] = {int(key): name for key, name in _SYMBOL.findall(level[2])}
        elif (label := _LABEL.fullmatch(stripped)) is not None:
            row = _row(label, channels, symbols)
            stops.append((_seconds(label[3]), number))
        elif stripped and not stripped.startswith("#") and not _LEVELS.fullmatch(stripped):
            row = "?"
        rows.append(row)
    stop, number = max(stops)
    # Appended as the last line, for the same reason.
    duration = [f"# duration = {stop} secs"] if stop > 0 else []
    return replace(tuh.parse("\n".join([*rows, *duration]), where), duration_line=number)


def without_free_text(text: str, is_channel: Callable[[str], bool]) -> str:
    """An ``lbl`` or ``lbl_bi`` that says the same about seizures, line by line, and nothing else.

    ``is_channel`` tells whether a text is the name of a channel; others get numbers.
    """
    lines = []
    for line in text.removeprefix("\ufeff").splitlines():
        stripped, kept = line.strip(), ""
        if _VERSION.fullmatch(stripped):
            kept = "version = lbl_v1.0.0"
        elif (montage := _MONTAGE.fullmatch(stripped)) is not None:
            number, name = montage.groups()
            kept = f"montage = {number}, {name if is_channel(name) else number}:"
        elif (level := _SYMBOLS.fullmatch(stripped)) is not None:
            names = (
                f"{key}: '{name if name in _SYMBOL_NAMES else 'other'}'"
                for key, name in _SYMBOL.findall(level[2])
            )
            kept = f"symbols[{level[1]}] = {{{', '.join(names)}}}"
        elif _LABEL.fullmatch(stripped) or _LEVELS.fullmatch(stripped):
            kept = stripped
        elif stripped and not stripped.startswith("#"):
            # What is not understood excludes the recording, and has to go on doing so.
            kept = "?"
        lines.append(kept)
    return "\n".join(lines) + "\n"


def read(path: Path) -> ParsedAnnotation:
    """Read an ``lbl`` or ``lbl_bi`` file. Raises ``OSError`` when it cannot be opened."""
    return parse(read_text(path), path.name)


def of_montage(parsed: ParsedAnnotation, signal_s: float | None) -> ParsedAnnotation:
    """The events of all channels as events of the montage, fitted to a signal of ``signal_s``.

    Overlapping events of one label are one. Time that is unknown on a channel is unknown.
    """
    fitted = on_signal(parsed, signal_s, per_channel=True)
    if not fitted.usable:
        return fitted
    unknown = merge_overlapping(event for event in fitted.events if event.label == UNKNOWN)
    events = sorted([*tuh.typed_events(fitted), *unknown])
    first: dict[tuple[float, str], int] = {}
    for event, line in zip(fitted.events, fitted.lines, strict=True):
        first.setdefault((event.start, event.label), line)
    lines = tuple(first[event.start, event.label] for event in events)
    return replace(fitted, events=tuple(events), lines=lines)


def _row(label: re.Match[str], channels: dict[str, str], symbols: dict[str, dict[int, str]]) -> str:
    """A ``label`` line in the form of a ``csv``; its label is empty where no symbol is certain."""
    level, start, stop, channel, text = label.groups()
    probabilities = [_seconds(value) for value in text.split(",")]
    most = max(probabilities)
    name = ""
    if probabilities.count(most) == 1:
        name = symbols.get(level, {}).get(probabilities.index(most), "")
    return f"{channels.get(channel, channel)},{start},{stop},{name},{most}"


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
