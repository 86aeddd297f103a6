"""``chbNN-summary.txt`` of CHB-MIT: the recordings of a case and their seizures.

A block for each EDF gives its name, the clock times of its start and end (not in chb24), the number
of its seizures, and for each seizure the seconds of its start and end from the start of the EDF:
``Seizure Start Time`` for an only seizure, otherwise ``Seizure 2 Start Time``. A clock time may
count on past midnight (24:37:23). Lists of channels between the blocks are not read: the EDF has
its own. The summary of chb24 leaves out the EDFs without seizures: the corpus's list of recordings
with seizures (``RECORDS-WITH-SEIZURES``) tells them from EDFs that were forgotten.

Each end belongs to the start before it, whatever the number in its line: that of one end in
chb09-summary.txt is wrong. (Shoeb 2009, PhD thesis, MIT; Goldberger et al. 2000, Circulation 101,
e215.)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from brainbrr_core.annotation.clock import clock_times, clock_words, seconds_after
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import Mark, ParsedAnnotation, in_order
from brainbrr_core.annotation.texts import Meaning
from brainbrr_core.files.regular import read_text

_NAME = re.compile(r"file\s*name\s*:\s*(\S.*)", re.IGNORECASE)
_CLOCK = re.compile(r"file\s+(start|end)\s+time\s*:\s*(.*)", re.IGNORECASE)
_COUNT = re.compile(r"number\s+of\s+seizures\s+in\s+file\s*:\s*(\d{1,4})", re.IGNORECASE)
# A line without a unit may have been cut short within its number.
_TIME = re.compile(
    r"seizure\s*\d*\s+(start|end)\s+time\s*:\s*(\d{1,7}(?:\.\d{1,9})?)\s*(?:s|secs?|seconds?)",
    re.IGNORECASE,
)
_SEIZURE = "seizure"
_EDF = r"chb\d\d[a-z]?_\d\d\+?\.edf"
#: Names of EDFs, and their paths in ``RECORDS-WITH-SEIZURES``, that the corpus itself has.
_OWN_NAME, _OWN_PATH = re.compile(_EDF), re.compile(rf"chb\d\d/{_EDF}")


@dataclass(slots=True)
class _Block:
    """What a summary says about one EDF, filled in line by line."""

    name: str
    line: int
    stated: list[int] = field(default_factory=list)
    clocks: dict[str, int] = field(default_factory=dict)
    times: list[tuple[str, float, int]] = field(default_factory=list)
    malformed: list[int] = field(default_factory=list)


def listed_names(text: str) -> list[str]:
    """Names of the EDFs in the text of a summary, in its order."""
    return [block.name for block in _blocks(text)]


def without_seizures(inventory: str, case: str, edf: str) -> bool | None:
    """Whether an EDF of a case has no seizure according to ``RECORDS-WITH-SEIZURES``.

    ``inventory`` is the text of that list. None where it has no EDF of the case.
    """
    paths = {line.strip().lower() for line in inventory.splitlines()}
    if not any(path.startswith(f"{case.lower()}/") for path in paths):
        return None
    return f"{case}/{edf}".lower() not in paths


def parse(text: str, where: str, edf: str) -> ParsedAnnotation | None:
    """What a summary says about the EDF with this name; None where it does not name it.

    ``where`` names the summary in findings.
    """
    own = [block for block in _blocks(text) if block.name.lower() == edf.lower()]
    if not own:
        return None
    marks: list[Mark] = []
    findings: list[Finding] = []
    for block in own:
        marks += _marks(block, where, findings)
    duration, line = None, own[0].line
    if own[0].clocks.keys() == {"start", "end"}:
        duration = seconds_after(own[0].clocks["end"], own[0].clocks["start"])
    return in_order(where, marks, 0, None if duration is None else (duration, line), findings)


def read(path: Path, edf: str) -> ParsedAnnotation | None:
    """Read a summary for one EDF, as :func:`parse` does.

    Raises ``OSError`` when it cannot be opened.
    """
    return parse(read_text(path), path.name, edf)


#: O1 in chb12_28 and chb12_29: a zero for the letter.
_MISTYPED_O1 = "01"


def mistyped_labels(labels: Sequence[str]) -> dict[str, str]:
    """The label that stands for O1 in a referential EDF without an O1; otherwise nothing."""
    stripped = [label.strip().upper() for label in labels]
    return {_MISTYPED_O1: "O1"} if _MISTYPED_O1 in stripped and "O1" not in stripped else {}


def summary_without_free_text(text: str, edfs: Collection[str]) -> str:
    """A summary that says the same about seizures, line by line, and nothing else.

    Names of EDFs stay where they are those of the corpus or among the ``edfs``.
    """
    own = {name.lower() for name in edfs}
    lines: list[str] = []
    begun = False
    for line in text.removeprefix("\ufeff").splitlines():
        stripped, kept = line.strip(), ""
        if (name := _NAME.fullmatch(stripped)) is not None:
            begun = True
            is_known = name[1].lower() in own or _OWN_NAME.fullmatch(name[1].lower())
            kept = f"File Name: {name[1] if is_known else 'unknown.edf'}"
        elif not begun:
            pass
        elif (clock := _CLOCK.fullmatch(stripped)) is not None:
            kept = f"File {clock[1].capitalize()} Time: {clock_words(clock[2])}"
        elif _COUNT.fullmatch(stripped) or _TIME.fullmatch(stripped):
            kept = stripped
        elif _SEIZURE in stripped.lower():
            # What is not understood excludes the recording, and has to go on doing so.
            kept = "Seizure ?"
        lines.append(kept)
    return "\n".join(lines) + "\n"


def inventory_without_free_text(text: str, paths: Collection[str]) -> str:
    """``RECORDS-WITH-SEIZURES`` with paths of the corpus or among the ``paths`` alone."""
    own = {path.lower() for path in paths}
    lines = (line.strip() for line in text.removeprefix("\ufeff").splitlines())
    kept = (
        line if line.lower() in own or _OWN_PATH.fullmatch(line.lower()) else "" for line in lines
    )
    return "\n".join(kept) + "\n"


def _blocks(text: str) -> list[_Block]:
    blocks: list[_Block] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        stripped = line.strip()
        if (name := _NAME.fullmatch(stripped)) is not None:
            blocks.append(_Block(name[1], number))
        elif not blocks:
            continue
        elif (clock := _CLOCK.fullmatch(stripped)) is not None:
            times = clock_times(clock[2]) or ()
            if len(times) == 1:
                blocks[-1].clocks[clock[1].lower()] = times[0]
        elif (count := _COUNT.fullmatch(stripped)) is not None:
            blocks[-1].stated.append(int(count[1]))
        elif (time := _TIME.fullmatch(stripped)) is not None:
            blocks[-1].times.append((time[1].lower(), float(time[2]), number))
        elif _SEIZURE in stripped.lower():
            blocks[-1].malformed.append(number)
    return blocks


def _marks(block: _Block, where: str, findings: list[Finding]) -> list[Mark]:
    """The seizures of a block; each end belongs to the start before it."""
    marks: list[Mark] = []
    started: tuple[float, int] | None = None
    for kind, seconds, line in block.times:
        if kind == "start":
            if started is not None:
                marks.append(Mark(started[0], None, Meaning.SEIZURE, "seiz", started[1]))
            started = seconds, line
        elif started is None:
            marks.append(Mark(seconds, None, Meaning.END, "seiz", line))
        else:
            if seconds < started[0]:
                detail = f"{started[0]:.4f} to {seconds:.4f} s"
                findings.append(Finding("stop_before_start", f"{where}:{line}", detail))
            marks.append(Mark(started[0], seconds, Meaning.SEIZURE, "seiz", started[1]))
            started = None
    if started is not None:
        marks.append(Mark(started[0], None, Meaning.SEIZURE, "seiz", started[1]))
    findings.extend(
        Finding("malformed_row", f"{where}:{line}", "a line about a seizure is not understood")
        for line in block.malformed
    )
    starts = sum(kind == "start" for kind, _, _ in block.times)
    if block.stated != [starts]:
        stated = " and ".join(map(str, block.stated)) or "no number"
        detail = f"{stated} stated, {starts} with times"
        findings.append(Finding("count_contradicts", f"{where}:{block.line}", detail))
    return marks
