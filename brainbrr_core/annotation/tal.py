"""Annotations of an EDF+ file: the time-stamped annotation lists (TAL) in its annotation signals.

A list is an onset such as ``+567.25``, optionally the byte 0x15 and a duration, then 0x14, texts
that each end with 0x14, and a zero byte. The first list of each data record has an empty text: its
onset is the start of the record (EDF+ specification, 2003, sections 2.2.2 and 2.2.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain

from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import Mark, ParsedAnnotation, in_order
from brainbrr_core.annotation.policy import EVENT_ROUNDING_S
from brainbrr_core.annotation.texts import Meaning, Texts

#: The length of a time is bounded because the file is untrusted input.
_TIME = rb"[0-9]{1,10}(?:\.[0-9]{0,12})?"
LIST = re.compile(rb"([+-]%b)(?:\x15(%b)?)?\x14(.*)" % (_TIME, _TIME), re.DOTALL)
#: Meanings that make the annotations of a file the labels of its recording.
_SEIZURE = (Meaning.ONSET, Meaning.END, Meaning.SEIZURE)


def parse(records: Iterable[Sequence[bytes]], where: str, texts: Texts) -> ParsedAnnotation | None:
    """Parse the annotations of data records; None where none of them mentions a seizure.

    ``records`` has the bytes of the annotation signals of each data record. ``where`` names the
    file in findings, in which the number of the record stands for the line. Times are relative to
    the start of the first record.
    """
    marks: list[Mark] = []
    findings: list[Finding] = []
    origin = Fraction(0)
    rows = 0
    for number, signals in enumerate(records, start=1):
        location = f"{where}:{number}"
        entries = [entry for content in signals for entry in content.split(b"\0") if entry]
        lists = [LIST.fullmatch(entry) for entry in entries]
        if None in lists:
            findings.append(Finding("malformed_row", location, "not an annotation list"))
        for position, match in enumerate(lists):
            if match is None:
                continue
            contents = match[3].split(b"\x14")
            time = Fraction(match[1].decode())
            if number == 1 and position == 0 and not contents[0]:
                origin = time
            for text in filter(None, contents):
                rows += 1
                meaning, label = texts.meaning(text.decode("utf-8", "replace"))
                start = float(time - origin)
                if meaning in _SEIZURE and start < -EVENT_ROUNDING_S:
                    findings.append(Finding("event_outside", location, f"at {start:.4f} s"))
                if meaning is not Meaning.NOTHING:
                    stop = float(time - origin + Fraction((match[2] or b"0").decode()))
                    marks.append(Mark(max(start, 0.0), stop, meaning, label, number))
    if not any(mark.meaning in _SEIZURE for mark in marks):
        return None
    return in_order(where, marks, rows, None, findings)


def remarks(records: Iterable[Sequence[bytes]], besides: str) -> int:
    """How many annotations have another text than ``besides``; they may name a patient."""
    contents = chain.from_iterable(records)
    entries = (entry for content in contents for entry in content.split(b"\0"))
    matches = filter(None, map(LIST.fullmatch, entries))
    texts = (text for match in matches for text in match[3].split(b"\x14"))
    return sum(bool(text) and text != besides.encode() for text in texts)
