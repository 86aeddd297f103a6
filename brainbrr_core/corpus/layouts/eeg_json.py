"""The power-line frequency of a recording, as a ``*_eeg.json`` of BIDS states it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

from brainbrr_core.annotation import Finding
from brainbrr_core.errors import check_exhausted
from brainbrr_core.files.regular import read_text

#: Codes of the findings, by frequency in Hz. There is no other frequency in public grids.
POWER_LINE = {50: "power_line_50", 60: "power_line_60"}
#: Code of the finding about a file that cannot be read.
BAD_EEG_JSON = "bad_eeg_json"


def power_line_findings(paths: Iterable[Path], edf: str) -> tuple[Finding, ...]:
    """What the files say about the power line, as findings about an EDF named ``edf``.

    The first file that states the frequency counts, so give the nearest one first.

    Raises :class:`BrainbrrError` where this process cannot open any more files.
    """
    findings = []
    for path in paths:
        try:
            content = json.loads(read_text(path))
        except OSError as error:
            check_exhausted(str(path), error)
            findings.append(Finding(BAD_EEG_JSON, edf, error.strerror or type(error).__name__))
            continue
        except (ValueError, RecursionError):
            findings.append(Finding(BAD_EEG_JSON, edf, "not valid JSON"))
            continue
        frequency = content.get("PowerLineFrequency") if isinstance(content, dict) else None
        if isinstance(frequency, float) and not math.isfinite(frequency):
            detail = "PowerLineFrequency is not a finite number"
            findings.append(Finding(BAD_EEG_JSON, edf, detail))
        elif isinstance(frequency, int | float) and not isinstance(frequency, bool):
            code = POWER_LINE.get(int(frequency)) if frequency == int(frequency) else None
            return (*findings, *([Finding(code, edf, path.name)] if code else []))
    return tuple(findings)
