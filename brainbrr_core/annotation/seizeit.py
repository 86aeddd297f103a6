"""``*_a1.tsv`` of SeizeIT1: the seizures of one recording.

Lines that begin with ``#`` name the patient and the recording. Each other line is a seizure: its
start and stop in seconds, its type and a remark, separated by tabs. The stop is ``None`` where the
annotator did not mark it. A recording without seizures has no such line. (Vandecasteele et al.
2020, Epilepsia 61, 766.)
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import Mark, ParsedAnnotation, in_order
from brainbrr_core.annotation.texts import Meaning, label_of
from brainbrr_core.files.regular import read_text

SUFFIX = "_a1.tsv"
#: That of the second annotator, which is not read.
SECOND_SUFFIX = "_a2.tsv"
_FIELD = re.compile(r"#\s*(subject|recording)\s*:\s*(\S+)", re.IGNORECASE)
_PERSON = re.compile(r"#\s*(age|gender)\s*:\s*(.*\S)", re.IGNORECASE)
_YEARS, _GENDERS = re.compile(r"[0-9]{1,3}"), ("male", "female")
#: Types as types of HED-SCORE: focal with impaired awareness (written in two ways), focal aware,
#: focal to bilateral tonic-clonic.
_TYPES = {"FIA": "sz_foc_ia", "FIAS": "sz_foc_ia", "FA": "sz_foc_a", "F-BTC": "sz_foc_f2b"}
#: Start, stop and type.
_CELLS = 3


def read(path: Path) -> ParsedAnnotation:
    """Read an ``_a1.tsv``. Raises ``OSError`` when it cannot be opened."""
    return parse(read_text(path), path.name)


def parse(text: str, where: str) -> ParsedAnnotation:
    """Parse the text of an ``_a1.tsv``; ``where`` is its file name, which names the recording."""
    findings: list[Finding] = []
    marks: list[Mark] = []
    named: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        location, stripped = f"{where}:{number}", line.strip()
        if stripped.startswith("#"):
            if (match := _FIELD.match(stripped)) is not None:
                named[match[1].lower()] = match[2]
        elif stripped:
            mark = _mark([cell.strip() for cell in line.split("\t")], number, location, findings)
            if mark is not None:
                marks.append(mark)
    if named.keys() != {"subject", "recording"}:
        findings.append(Finding("missing_header", where, "no subject and recording"))
    elif "_".join((named["subject"], named["recording"])).lower() != _stem(where):
        findings.append(Finding("names_another_recording", where))
    return in_order(where, marks, 0, None, findings)


def age_and_sex(text: str) -> tuple[str, str]:
    """Age and sex of the patient as the text of an ``_a1.tsv`` gives them; empty where it does not.

    They are those of its first lines that say so.
    """
    said: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        if (match := _PERSON.match(line.strip())) is not None:
            said.setdefault(match[1].lower(), match[2])
    return said.get("age", ""), said.get("gender", "")


def without_free_text(text: str, name: str) -> str:
    """An ``_a1.tsv`` that says the same about seizures, line by line, and nothing else.

    ``name`` is its file name. Remarks are left out; so is the name of another recording, which the
    file still contradicts. Age, 90 for each above 89, and sex stay where they are no other text.
    """
    subject, _, recording = name.removesuffix(SUFFIX).rpartition("_")
    own = {"subject": subject, "recording": recording}
    lines = []
    for line in text.removeprefix("\ufeff").splitlines():
        stripped, kept = line.strip(), ""
        if (match := _FIELD.match(stripped)) is not None:
            field = match[1].lower()
            is_own = match[2].lower() == own[field].lower()
            kept = f"# {field.capitalize()}: {match[2] if is_own else 'unknown'}"
        elif (match := _PERSON.match(stripped)) is not None:
            kept = _plain(match[1].lower(), match[2])
        elif stripped and not stripped.startswith("#"):
            cells = [cell.strip() for cell in line.split("\t")]
            times = [
                cell if cell.lower() in ("none", "") or _seconds(cell) is not None else "?"
                for cell in cells[:2]
            ]
            kinds = [cell if cell.upper() in _TYPES else "?" for cell in cells[2:_CELLS]]
            kept = "\t".join([*times, *kinds])
        lines.append(kept)
    return "\n".join(lines) + "\n"


def _plain(field: str, value: str) -> str:
    """The line of age or sex; empty for any other text in its place."""
    if field == "age" and _YEARS.fullmatch(value):
        return f"# Age: {min(int(value), 90)}"
    return f"# Gender: {value}" if field == "gender" and value.lower() in _GENDERS else ""


def _stem(where: str) -> str:
    return where.removesuffix(SUFFIX).lower()


def _mark(cells: list[str], line: int, where: str, findings: list[Finding]) -> Mark | None:
    if len(cells) < _CELLS:
        detail = f"{len(cells)} of {_CELLS} cells"
        findings.append(Finding("malformed_row", where, detail))
        return None
    start, stop = _seconds(cells[0]), _seconds(cells[1])
    if start is None or (stop is None and cells[1].lower() not in ("none", "")):
        findings.append(Finding("malformed_row", where, "a time is negative or not a number"))
        return None
    if stop is not None and stop < start:
        findings.append(Finding("stop_before_start", where, f"{start:.4f} to {stop:.4f} s"))
        return None
    label = label_of(_TYPES.get(cells[2].upper(), ""))
    if label is None:
        findings.append(Finding("unknown_label", where))
        return None
    return Mark(start, stop, Meaning.SEIZURE, label, line)


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
