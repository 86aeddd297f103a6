"""Annotation files: real forms are read, odd ones are findings with file and line."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.annotation import Event, merge_overlapping, seizure_seconds, tuh
from brainbrr_core.annotation.szcore import format_tsv

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


def test_each_oddity_is_found_with_its_line() -> None:
    assert codes("") == [("missing_header", "a.csv_bi")]
    assert codes(HEAD + "TERM,0,10,seiz\n") == [("malformed_row", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,zero,10,seiz,1\n") == [("malformed_row", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,nan,10,seiz,1\n") == [("malformed_row", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,0,10,siez,1\n") == [("unknown_label", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,20,10,seiz,1\n") == [("stop_before_start", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,20,301,seiz,1\n") == [("event_past_end", "a.csv_bi:7")]
    assert codes(HEAD + "TERM,0,20,seiz,1\nTERM,10,30,seiz,1\n") == [
        ("overlapping_events", "a.csv_bi")
    ]
    assert codes(HEAD + "TERM,0,20,seiz,1\nTERM,20,30,seiz,1\n") == []
    assert codes(HEAD) == [("no_rows", "a.csv_bi")]
    assert codes(HEAD.replace("duration", "length") + "TERM,0,20,bckg,1\n") == [
        ("no_duration", "a.csv_bi")
    ]
    assert codes(HEAD + "FP1-F7,0,20,fnsz,1\n") == [("channel_rows", "a.csv_bi")]


def test_only_a_file_that_cannot_be_trusted_is_unusable() -> None:
    past_end = tuh.parse(HEAD + "TERM,20,301,seiz,1\n", "a")
    assert past_end.usable
    assert past_end.events == (Event(20, 301),)
    assert not tuh.parse(HEAD + "TERM,0,10,siez,1\n", "a").usable


def test_rows_of_one_type_become_one_event_with_their_channels() -> None:
    rows = "FP1-F7,10,40,fnsz,1\nF7-T3,12,50,fnsz,1\nFP1-F7,100,120,gnsz,1\n"
    events = tuh.typed_events(tuh.parse(HEAD + rows, "a.csv"))
    assert events == [
        Event(10, 50, "fnsz", 1.0, ("FP1-F7", "F7-T3")),
        Event(100, 120, "gnsz", 1.0, ("FP1-F7",)),
    ]


def test_touching_events_are_joined_or_kept_apart() -> None:
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


@given(st.text())
def test_any_text_is_parsed_without_a_crash(text: str) -> None:
    for candidate in (text, HEAD + text):
        parsed = tuh.parse(candidate, "a")
        assert all(event.stop >= event.start >= 0 for event in parsed.events)


def test_the_szcore_file_names_seizures_or_one_background_row() -> None:
    lines = format_tsv(
        [Event(5, 12.5, "seiz", 0.75)], 60, datetime.datetime(2012, 1, 1, 10)
    ).splitlines()
    assert lines[0].split("\t")[:3] == ["onset", "duration", "eventType"]
    assert lines[1:] == ["5.0000\t7.5000\tsz\t0.7500\tn/a\t2012-01-01 10:00:00\t60.0000"]
    # Readers of the benchmark stop at a start that is no date: EDF's own stand-in is written.
    assert format_tsv([], 60).splitlines()[1:] == [
        "0.0000\t60.0000\tbckg\t1.0000\tn/a\t1985-01-01 00:00:00\t60.0000"
    ]
