"""Annotation files are read, and irregular ones give findings with file and line."""

from __future__ import annotations

import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.annotation import (
    Event,
    ParsedAnnotation,
    merge_overlapping,
    on_signal,
    seizure_seconds,
    szcore,
    tuh,
)
from brainbrr_core.annotation.policy import ANNOTATION_FINDINGS
from brainbrr_core.annotation.szcore import format_tsv
from brainbrr_core.annotation.texts import label_of
from brainbrr_core.configuration.settings import SEIZURE_LABELS

HEAD = """\
# version = csv_v1.0.0
# bname = aaaaaaaa_s001_t000
# duration = 300.00 secs
# montage_file = nedc_eas_default_montage.txt
#
channel,start_time,stop_time,label,confidence
"""


def codes(text: str) -> list[tuple[str, str]]:
    return [(finding.code, finding.where) for finding in tuh.parse(text, "a.csv_bi").findings]


def test_a_csv_bi_is_read() -> None:
    text = HEAD + "TERM,0.0000,36.8868,bckg,1.0000\nTERM,36.8868,183.3055,seiz,0.9000\n"
    parsed = tuh.parse(text, "a.csv_bi")
    assert parsed.events == (Event(36.8868, 183.3055, "seiz", 0.9),)
    assert (parsed.duration_s, parsed.usable, parsed.findings) == (300.0, True, ())


def test_each_irregularity_is_a_finding_with_its_line() -> None:
    assert codes("") == [("missing_header", "a.csv_bi")]
    assert codes(HEAD + "TERM,0,10,seiz\n") == [("malformed_row", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,zero,10,seiz,1\n") == [("malformed_row", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,nan,10,seiz,1\n") == [("malformed_row", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,0,10,seiz,nan\n") == [("malformed_row", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,0,10,siez,1\n") == [("unknown_label", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,20,10,seiz,1\n") == [("stop_before_start", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,20,20,seiz,1\n") == [("event_without_end", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,0,20,seiz,1\nTERM,20,30,seiz,1\n") == []
    assert codes(HEAD) == [("no_rows", "a.csv_bi")]
    assert codes(HEAD.replace("duration", "length") + "TERM,0,20,bckg,1\n") == [
        ("no_duration", "a.csv_bi")
    ]
    assert codes(HEAD + "FP1-F7,0,20,fnsz,1\n") == [("channel_rows", "a.csv_bi:7")]
    assert codes(HEAD + "FP1-F7,0,20,bckg,1\n") == [("channel_rows", "a.csv_bi:7")]
    many = codes(HEAD + "TERM,0,10,siez,1\n" * 50)
    assert many == [("unknown_label", f"a.csv_bi:{line}") for line in (*range(7, 17), 56)]


def placed(rows: str, signal_s: float | None = 300.0) -> ParsedAnnotation:
    return on_signal(tuh.parse(HEAD + rows, "a.csv_bi"), signal_s)


def found(parsed: ParsedAnnotation) -> list[tuple[str, str]]:
    return [(finding.code, finding.where) for finding in parsed.findings]


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (300.04, []),
        (300.06, [("event_past_end", "a.csv_bi:7")]),
        (300.2, [("event_past_end", "a.csv_bi:7")]),
        (300.45, [("event_past_end", "a.csv_bi:7")]),
    ],
)
def test_only_a_rounded_end_is_cut_without_a_finding(
    stop: float, expected: list[tuple[str, str]]
) -> None:
    annotation = placed(f"TERM,20,{stop},seiz,1\n")
    assert found(annotation) == expected
    assert annotation.events == (Event(20, 300),)


def test_an_event_that_ends_a_little_late_is_cut_and_one_far_outside_excludes() -> None:
    late = placed("TERM,20,310,seiz,1\n")
    assert found(late) == [("event_past_end", "a.csv_bi:7")]
    assert (late.usable, late.events) == (True, (Event(20, 300),))
    rounded = placed("TERM,20,300.04,seiz,1\n")
    assert (rounded.findings, rounded.events) == ((), (Event(20, 300),))
    for rows in ("TERM,20,310.1,seiz,1\n", "TERM,300,300.5,seiz,1\n"):
        outside = placed(rows)
        assert found(outside) == [("event_outside", "a.csv_bi:7")]
        assert not outside.usable


@pytest.mark.parametrize(
    ("signal_s", "expected", "usable"),
    [
        (299.0, [], True),
        (301.0, [], True),
        (298.9, [("duration_mismatch", "a.csv_bi:3")], True),
        (310.0, [("duration_mismatch", "a.csv_bi:3")], True),
        (310.1, [("duration_contradicts", "a.csv_bi:3")], False),
        (289.0, [("duration_contradicts", "a.csv_bi:3")], False),
        (None, [], True),
    ],
)
def test_an_annotation_must_be_as_long_as_its_signal(
    signal_s: float | None, expected: list[tuple[str, str]], usable: bool
) -> None:
    parsed = placed("TERM,20,40,seiz,1\n", signal_s)
    assert (found(parsed), parsed.usable) == (expected, usable)


def test_overlapping_events_are_merged_and_touching_ones_are_not() -> None:
    parsed = placed(
        "TERM,0,100,seiz,1\nTERM,10,20,seiz,1\nTERM,30,40,seiz,1\n"
        "TERM,100,120,seiz,1\nTERM,200,220,seiz,1\nTERM,210,230,seiz,1\n"
    )
    assert parsed.events == (Event(0, 100), Event(100, 120), Event(200, 230))
    assert parsed.lines == (7, 10, 11)
    assert found(parsed) == [("overlapping_events", f"a.csv_bi:{line}") for line in (8, 9, 12)]
    assert parsed.usable


def test_types_come_from_the_csv_next_to_the_csv_bi() -> None:
    binary = placed("TERM,10,50,seiz,1\nTERM,100,120,seiz,1\n")
    rows = "FP1-F7,9,40,fnsz,1\nF7-T3,41,50,gnsz,1\n"
    typed = tuh.with_types(binary, tuh.parse(HEAD + rows, "a.csv"))
    assert typed.events == (Event(10, 50, "fnsz", 1.0, ("FP1-F7",)), Event(100, 120))
    assert found(typed) == [("untyped_event", "a.csv_bi:8")]
    spoilt = tuh.with_types(binary, tuh.parse(HEAD + "FP1-F7,9,40,fnzs,1\n", "a.csv"))
    assert spoilt.events == binary.events
    assert [str(f) for f in spoilt.findings] == ["a.csv:7: unusable_types (unknown_label)"]
    assert spoilt.usable


TSV = "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration\n"


def row(onset: str, duration: str, kind: str, confidence: str = "n/a") -> str:
    return f"{onset}\t{duration}\t{kind}\t{confidence}\tn/a\t2016-11-06 13:43:04\t300.00\n"


def test_an_events_tsv_is_read() -> None:
    rows = row("12.50", "20.00", "sz_foc_ia", "0.75") + row("100.00", "5.00", "sz")
    parsed = on_signal(szcore.parse(TSV + rows, "a_events.tsv"), 300)
    assert parsed.events == (Event(12.5, 32.5, "cpsz", 0.75), Event(100, 105))
    assert (parsed.duration_s, parsed.findings, parsed.usable) == (300.0, (), True)
    background = szcore.parse(TSV + row("0.00", "300.00", "bckg"), "a_events.tsv")
    assert (background.events, background.findings, background.usable) == ((), (), True)
    shuffled = "eventType\tnotes\tonset\tduration\nsz\tx\t3\t4\n"
    parsed = szcore.parse(shuffled, "a_events.tsv")
    assert parsed.events == (Event(3, 7),)
    assert found(parsed) == [("no_recording_duration", "a_events.tsv")]
    assert parsed.usable


def test_each_irregularity_of_an_events_tsv_is_a_finding_with_its_line() -> None:
    cases = {
        "": ("missing_header", 1),
        "onset\tduration\tdescription\n0\t1\tsz\n": ("missing_header", 1),
        TSV: ("no_rows", 0),
        TSV + row("0", "3", "szz"): ("unknown_label", 2),
        TSV + row("0", "3", "artf"): ("unknown_label", 2),
        TSV + row("0", "3", "sz") + row("n/a", "3", "sz"): ("malformed_row", 3),
        TSV + row("5", "soon", "sz"): ("malformed_row", 2),
        TSV + row("-5", "10", "sz"): ("malformed_row", 2),
        TSV + row("5", "-1", "sz"): ("stop_before_start", 2),
        TSV + "5\t1\tsz\n": ("malformed_row", 2),
    }
    for text, (code, line) in cases.items():
        parsed = szcore.parse(text, "e.tsv")
        assert found(parsed)[0] == (code, f"e.tsv:{line}" if line else "e.tsv"), text
        assert not parsed.usable


@pytest.mark.parametrize("number", ["nan", "NaN", "inf", "-1", "soon"])
def test_a_number_that_counts_as_not_stated_is_named(number: str) -> None:
    stated = row("0", "3", "sz").replace("300.00", number)
    parsed = szcore.parse(TSV + stated, "e.tsv")
    assert (parsed.events, parsed.duration_s, parsed.usable) == ((Event(0, 3),), None, True)
    assert found(parsed) == [("unusable_number", "e.tsv:2"), ("no_recording_duration", "e.tsv")]
    assert [finding.detail for finding in parsed.findings] == ["recordingDuration", ""]
    # Another row says how long the recording is.
    parsed = szcore.parse(TSV + stated + row("9", "1", "sz"), "e.tsv")
    assert (parsed.duration_s, found(parsed)) == (300.0, [("unusable_number", "e.tsv:2")])
    parsed = szcore.parse(TSV + row("0", "3", "sz", number), "e.tsv")
    assert parsed.events == (Event(0, 3, confidence=1.0),)
    assert [str(finding) for finding in parsed.findings] == [
        "e.tsv:2: unusable_number (confidence)"
    ]


def test_types_of_hed_score_have_the_label_of_the_same_meaning() -> None:
    pairs = {
        "sz": "seiz",
        "sz_uo": "seiz",
        "sz_foc": "fnsz",
        "sz_foc_f2b": "fnsz",
        "sz_foc_a_m": "spsz",
        "sz_foc_ia_nm_cognitive": "cpsz",
        "sz_gen": "gnsz",
        "sz_gen_nm_typical": "absz",
        "sz_gen_m_tonicClonic": "tcsz",
        "sz_gen_m_tonic": "tnsz",
        "sz_gen_m_clonic": "cnsz",
        "sz_gen_m_atonic": "atsz",
        "sz_gen_m_myoclonic": "mysz",
        "sz_gen_m_spasms": "gnsz",
        "bckg": "bckg",
    }
    assert {kind: label_of(kind) for kind in pairs} == pairs
    assert set(pairs.values()) <= {*SEIZURE_LABELS, "bckg"}


def test_rows_of_one_type_become_one_event_with_their_channels() -> None:
    rows = "FP1-F7,10,40,fnsz,1\nF7-T3,12,50,fnsz,1\nFP1-F7,100,120,gnsz,1\n"
    events = tuh.typed_events(tuh.parse(HEAD + rows, "a.csv"))
    assert events == [
        Event(10, 50, "fnsz", 1.0, ("FP1-F7", "F7-T3")),
        Event(100, 120, "gnsz", 1.0, ("FP1-F7",)),
    ]


def test_touching_events_are_merged_only_if_asked() -> None:
    events = [Event(20, 30), Event(0, 10), Event(10, 20)]
    assert merge_overlapping(events) == [Event(0, 30)]
    assert merge_overlapping(events, touching=False) == sorted(events)
    assert merge_overlapping([Event(0, 10), Event(5, 7), Event(9, 12)], touching=False) == [
        Event(0, 12)
    ]


stretches = st.lists(
    st.tuples(st.integers(0, 2900), st.integers(1, 100)).map(
        lambda pair: Event(pair[0] / 10, min(300.0, (pair[0] + pair[1]) / 10))
    ),
    max_size=12,
)


@given(stretches)
def test_a_written_csv_bi_covers_the_same_seconds(events: list[Event]) -> None:
    parsed = tuh.parse(tuh.format_csv_bi(events, 300.0, "a"), "a.csv_bi")
    assert parsed.findings == ()
    # Tenths of a second, one by one.
    covered = {t for e in events for t in range(round(e.start * 10), round(e.stop * 10))}
    got = {t for e in parsed.events for t in range(round(e.start * 10), round(e.stop * 10))}
    assert got == covered
    assert round(seizure_seconds(events) * 10) == len(covered)


@given(st.text(), st.floats(0, 1e6))
def test_any_text_is_parsed_without_a_crash(text: str, signal_s: float) -> None:
    for candidate in (text, HEAD + text):
        check_events(on_signal(tuh.parse(candidate, "a"), signal_s), signal_s)
    for candidate in (text, TSV + text):
        check_events(on_signal(szcore.parse(candidate, "a"), signal_s), signal_s)


cells = st.sampled_from(
    ["TERM", "FP1-F7", "0", "5", "1e9", "-3", "seiz", "sz", "bckg", "x", "", "1"]
)
tables = st.lists(st.lists(cells, min_size=3, max_size=7), max_size=8)


@given(tables, st.floats(0, 400))
def test_any_table_is_parsed_without_a_crash(rows: list[list[str]], signal_s: float) -> None:
    text = HEAD + "".join(",".join(cells) + "\n" for cells in rows)
    check_events(on_signal(tuh.parse(text, "a.csv_bi"), signal_s), signal_s)
    text = TSV + "".join("\t".join(cells) + "\n" for cells in rows)
    check_events(on_signal(szcore.parse(text, "a"), signal_s), signal_s)


def check_events(parsed: ParsedAnnotation, signal_s: float) -> None:
    assert all(finding.code in ANNOTATION_FINDINGS for finding in parsed.findings)
    assert all(event.stop > event.start >= 0 for event in parsed.events)
    if parsed.usable:
        assert all(event.stop <= signal_s for event in parsed.events)
        for label in {event.label for event in parsed.events}:
            own = [event for event in parsed.events if event.label == label]
            assert all(a.stop <= b.start for a, b in pairwise(own))


def test_the_szcore_file_names_seizures_or_one_background_row() -> None:
    lines = format_tsv(
        [Event(5, 12.5, "seiz", 0.75)], 60, datetime.datetime(2012, 1, 1, 10)
    ).splitlines()
    assert lines[0].split("\t")[:3] == ["onset", "duration", "eventType"]
    assert lines[1:] == ["5.0000\t7.5000\tsz\t0.7500\tn/a\t2012-01-01 10:00:00\t60.0000"]
    # Readers of the benchmark fail at a start that is not a date, so that of an EDF is written.
    assert format_tsv([], 60).splitlines()[1:] == [
        "0.0000\t60.0000\tbckg\t1.0000\tn/a\t1985-01-01 00:00:00\t60.0000"
    ]
