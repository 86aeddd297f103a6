"""Clock times in annotation files written by hand: ``19.58.36``, ``16:13.23``, ``24:37:23``."""

from __future__ import annotations

import re
from dataclasses import replace

from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import ParsedAnnotation, on_signal
from brainbrr_core.annotation.policy import ROUNDING_S

DAY_S = 86_400
#: Hours of a time that is counted on past midnight.
_LARGEST_HOUR = 47
_CLOCK = re.compile(r"(?<![\d.:,])(\d{1,2})[.:,](\d{2})[.:,](\d{2})(?![\d.:,]*\d)")
_SPLIT = re.compile(r"(?<=[\d.:,])[ \t]+(?=[\d.:,])")


def clock_times(text: str) -> tuple[int, ...] | None:
    """The clock times in a text, in seconds since midnight; None where a number is no part of one.

    A blank within a time (``1 6.49.25``) and a remark after it are ignored.
    """
    joined = _SPLIT.sub("", text)
    times = []
    for match in _CLOCK.finditer(joined):
        hour, minute, second = (int(group) for group in match.groups())
        if hour > _LARGEST_HOUR or minute > 59 or second > 59:
            return None
        times.append((hour * 3600 + minute * 60 + second) % DAY_S)
    if re.search(r"\d", _CLOCK.sub("", joined)) is not None:
        return None
    return tuple(times)


def clock_words(text: str) -> str:
    """The clock times in a text as it writes them, and nothing else of it; ``?`` where not a time.

    :func:`clock_times` reads the same times from the result.
    """
    if not clock_times(text):
        return "?"
    return " or ".join(match[0] for match in _CLOCK.finditer(_SPLIT.sub("", text)))


def seconds_after(clock: float, start: float) -> float:
    """Seconds from the clock time ``start`` to ``clock``, at most a day, also past midnight.

    A clock time in whole seconds may lie just before a start with a fraction of a second: then 0.
    """
    seconds = clock - start
    return 0.0 if -1 < seconds < 0 else seconds % DAY_S


def seconds_between(clock: float, other: float) -> float:
    """By how many seconds two clock times differ, at most half a day."""
    return abs((clock - other + DAY_S / 2) % DAY_S - DAY_S / 2)


def on_signal_despite_clock(parsed: ParsedAnnotation, signal_s: float | None) -> ParsedAnnotation:
    """Fit an annotation whose duration follows from clock times (:func:`on_signal`).

    Its events are seconds from the start of the recording and do not depend on these times, so a
    duration that differs from that of the signal is only counted.
    """
    fitted = on_signal(replace(parsed, duration_s=None), signal_s)
    if parsed.duration_s is None:
        return fitted
    findings = fitted.findings
    if signal_s is not None and abs(parsed.duration_s - signal_s) > ROUNDING_S:
        location = f"{parsed.where}:{parsed.duration_line}"
        detail = f"listed {parsed.duration_s:.2f} s, signal {signal_s:.2f} s"
        findings = (*findings, Finding("clock_mismatch", location, detail))
    return replace(fitted, duration_s=parsed.duration_s, findings=findings)
