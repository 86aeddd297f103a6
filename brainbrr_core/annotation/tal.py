"""Annotations of an EDF+ file: the lists of texts with a time (TAL) in its annotation signals.

A list is ``+567.25``, optionally the byte 0x15 and a duration, then 0x14, texts that each end with
0x14, and a zero byte. The first of each data record has an empty text: the start of the record on
the axis of all these times (EDF+ specification, 2003, sections 2.2.2 and 2.2.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import Mark, ParsedAnnotation, in_order
from brainbrr_core.annotation.policy import EVENT_ROUNDING_S
from brainbrr_core.annotation.texts import Meaning, Texts

#: A time is bounded, as anybody may have written it.
_TIME = rb"[0-9]{1,10}(?:\.[0-9]{0,12})?"
_LIST = re.compile(rb"([+-]%b)(?:\x15(%b)?)?\x14(.*)" % (_TIME, _TIME), re.DOTALL)
#: What speaks of a seizure, so that the annotations are a recording's labels.
_SEIZURE = (Meaning.ONSET, Meaning.END, Meaning.SEIZURE)


def parse(records: Iterable[Sequence[bytes]], where: str, texts: Texts) -> ParsedAnnotation | None:
    """What the annotations of data records say, or None where none speaks of a seizure.

    ``records`` gives the content of the annotation signals of each record; ``where`` names the
    file in findings, with the number of the record as the line. Times count from the start of the
    first record.
    """
    marks: list[Mark] = []
    findings: list[Finding] = []
    origin = Fraction(0)
    rows = 0
    for number, signals in enumerate(records, start=1):
        place = f"{where}:{number}"
        entries = [entry for content in signals for entry in content.split(b"\0") if entry]
        lists = [_LIST.fullmatch(entry) for entry in entries]
        if None in lists:
            findings.append(Finding("malformed_row", place, "no list of texts with a time"))
        for position, match in enumerate(lists):
            if match is None:
                continue
            said = match[3].split(b"\x14")
            time = Fraction(match[1].decode())
            if number == 1 and position == 0 and not said[0]:
                origin = time
            for text in filter(None, said):
                rows += 1
                meaning, label = texts.meaning(text.decode("utf-8", "replace"))
                start = float(time - origin)
                if meaning in _SEIZURE and start < -EVENT_ROUNDING_S:
                    findings.append(Finding("event_outside", place, f"at {start:.4f} s"))
                if meaning is not Meaning.NOTHING:
                    stop = float(time - origin + Fraction((match[2] or b"0").decode()))
                    marks.append(Mark(max(start, 0.0), stop, meaning, label, number))
    if not any(mark.meaning in _SEIZURE for mark in marks):
        return None
    return in_order(where, marks, rows, None, findings)
