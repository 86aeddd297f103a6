"""A damaged summary, list or table excludes a recording, or leaves no seizure as background."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.annotation import chbmit, on_signal, seizeit, siena
from brainbrr_core.annotation.clock import on_signal_despite_clock
from brainbrr_core.annotation.parsed import ParsedAnnotation
from brainbrr_core.annotation.policy import ANNOTATION_FINDINGS
from tests.support.examples import examples

SIGNAL_S = 3600.0
SUMMARY = """Channel 1: FP1-F7

File Name: chb31_01.edf
File Start Time: 10:00:00
File End Time: 11:00:00
Number of Seizures in File: 1
Seizure Start Time: 100 seconds
Seizure End Time: 150 seconds

File Name: chb31_02.edf
File Start Time: 11:00:05
File End Time: 12:00:05
Number of Seizures in File: 2
Seizure 1 Start Time: 500 seconds
Seizure 1 End Time: 550 seconds
Seizure 2 Start Time: 1200 seconds
Seizure 2 End Time: 1270 seconds

File Name: chb31_03.edf
File Start Time: 12:00:10
File End Time: 13:00:10
Number of Seizures in File: 0
"""
LIST = """PN31

Seizure n 1
File name: PN31-1.edf
Registration start time: 10.00.00
Registration end time: 11.00.00
Seizure start time: 10.01.40
Seizure end time: 10.02.30

Seizure n 2
File name: PN31-2.edf
Registration start time: 15.00.00
Registration end time: 16.00.00
Seizure start time: 15.08.20
Seizure end time: 15.09.10

Seizure n 3
File name: PN31-2.edf
Seizure start time: 15.20.00
Seizure end time: 15.21.10
"""
TABLE = """# Subject: P_ID31
# Recording: r2

100\t150\tFIA\tx
1200\tNone\tFA\tx
"""
#: The EDFs of each form, and the seconds in which they certainly have a seizure.
SEIZURES = {
    "chb31_01.edf": [(100, 150)],
    "chb31_02.edf": [(500, 550), (1200, 1270)],
    "chb31_03.edf": [],
    "PN31-1.edf": [(100, 150)],
    "PN31-2.edf": [(500, 550), (1200, 1270)],
    "P_ID31_r2.edf": [(100, 150), (1200, 1270)],
}
STARTS = {"PN31-1.edf": datetime(2016, 1, 1, 10), "PN31-2.edf": datetime(2016, 1, 1, 15)}


def read(text: str, edf: str) -> ParsedAnnotation | None:
    if edf.startswith("chb"):
        summary = chbmit.parse(text, "chb31-summary.txt", edf)
        return None if summary is None else on_signal_despite_clock(summary, SIGNAL_S)
    if edf.startswith("PN"):
        listed = siena.parse(text, "Seizures-list-PN31.txt")
        return siena.recording_annotation(listed, edf, STARTS[edf], SIGNAL_S)
    return on_signal(seizeit.parse(text, "P_ID31_r2_a1.tsv"), SIGNAL_S)


def loses_no_seizure(annotation: ParsedAnnotation | None, edf: str) -> bool:
    """Whether a recording is excluded, or each of its seizures is a seizure or unknown."""
    if annotation is None or not annotation.usable:
        return True
    return all(
        any(event.start <= second < event.stop for event in annotation.events)
        for start, stop in SEIZURES[edf]
        for second in range(start, stop)
    )


FORMS = [(SUMMARY, f"chb31_0{n}.edf") for n in (1, 2, 3)]
FORMS += [(LIST, "PN31-1.edf"), (LIST, "PN31-2.edf"), (TABLE, "P_ID31_r2.edf")]


@pytest.mark.parametrize(("text", "edf"), FORMS, ids=[edf for _, edf in FORMS])
def test_a_line_that_is_lost_or_cut_short_loses_no_seizure(text: str, edf: str) -> None:
    whole = read(text, edf)
    assert whole is not None and whole.usable and loses_no_seizure(whole, edf)
    lines = text.splitlines()
    for number, line in enumerate(lines):
        for damaged in ([line[: len(line) // 2]], [line, line], [f"? {line}"], []):
            if text is TABLE and not damaged and not line.startswith("#"):
                # Nothing else in the table says that there was such a row.
                continue
            changed = "\n".join([*lines[:number], *damaged, *lines[number + 1 :]])
            assert loses_no_seizure(read(changed, edf), edf), (number, damaged)


def test_a_summary_that_is_cut_short_loses_no_seizure() -> None:
    for length in range(len(SUMMARY)):
        for edf in ("chb31_01.edf", "chb31_02.edf"):
            assert loses_no_seizure(read(SUMMARY[:length], edf), edf), length


characters = st.sampled_from(
    [*"0123456789.:,-#\t\n ()?", "Seizure ", "Start Time: ", "File Name: "]
)


@examples(150)
@given(st.sampled_from(FORMS), st.lists(characters, max_size=30).map("".join), st.data())
def test_any_text_has_an_outcome(form: tuple[str, str], extra: str, data: st.DataObject) -> None:
    text, edf = form
    at = data.draw(st.integers(0, len(text)))
    until = data.draw(st.integers(at, min(len(text), at + 40)))
    annotation = read(text[:at] + extra + text[until:], edf)
    if annotation is None:
        return
    assert all(finding.code in ANNOTATION_FINDINGS for finding in annotation.findings)
    if annotation.usable:
        assert all(0 <= e.start < e.stop <= SIGNAL_S for e in annotation.events)
