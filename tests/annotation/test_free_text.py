"""Events without an end and texts about seizures: nothing about a seizure becomes background."""

from __future__ import annotations

from pathlib import Path

import pytest

from brainbrr_core.annotation import UNKNOWN, Event
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Meaning
from tests.support.annotation_files import (
    Row,
    codes,
    events_tsv,
    labels_from,
    table,
    whole,
)


@pytest.mark.parametrize("length", ["0", "0.0", "n/a", ""])
def test_a_seizure_without_an_end_is_unknown_until_the_next_row(
    tmp_path: Path, length: str
) -> None:
    outcome = labels_from(
        tmp_path,
        tsv=events_tsv((60, length, "sz"), (100, length, "sz_foc_ia"), (200, "30", "sz_gen")),
    )
    assert outcome.reason is None
    assert outcome.events == (
        Event(60, 100, UNKNOWN),
        Event(100, 200, UNKNOWN),
        Event(200, 230, "gnsz"),
    )
    assert codes(outcome).count("event_without_end") == 2
    last = labels_from(tmp_path, tsv=events_tsv((20, "30", "sz"), (100, length, "sz")))
    assert last.events == (Event(20, 50), Event(100, 300, UNKNOWN))
    # Its interval may end after an event that contains its start.
    inside = labels_from(tmp_path, tsv=events_tsv((20, "30", "sz_foc"), (40, length, "sz_gen")))
    assert inside.events == (Event(20, 50, "fnsz"), Event(50, 300, UNKNOWN))
    # Background that starts later is certain.
    over = labels_from(tmp_path, tsv=events_tsv((20, length, "sz"), (90, "210", "bckg")))
    assert over.events == (Event(20, 90, UNKNOWN),)


def test_a_seizure_row_of_zero_length_in_a_csv_bi_is_not_background(tmp_path: Path) -> None:
    outcome = labels_from(tmp_path, csv_bi=whole((100, 100), (200, 230)))
    assert (outcome.reason, codes(outcome)) == (None, ["event_without_end"])
    assert outcome.events == (Event(100, 200, UNKNOWN), Event(200, 230))
    # Only in the csv: no contradiction, since an event of zero length overlaps nothing.
    typed = table([("FP1-F7", 50, 50, "fnsz"), ("FP1-F7", 200, 230, "fnsz")])
    outcome = labels_from(tmp_path, csv_bi=whole((200, 230)), csv=typed)
    assert outcome.reason is None
    assert [event.label for event in outcome.events] == [UNKNOWN, "fnsz"]
    assert outcome.events[0] == Event(50, 200, UNKNOWN)


def test_a_recording_without_any_known_second_is_excluded(tmp_path: Path) -> None:
    nothing = labels_from(tmp_path, tsv=events_tsv((0, "n/a", "sz")))
    assert (nothing.reason, nothing.events) == ("all_unknown", (Event(0, 300, UNKNOWN),))
    little = labels_from(tmp_path, tsv=events_tsv((0, "1", "sz"), (1, "n/a", "sz")))
    assert little.reason is None


def test_intervals_marked_unknown_are_unknown(tmp_path: Path) -> None:
    rows: list[Row] = [("TERM", 20, 40, "seiz"), ("TERM", 100, 150, "unknown")]
    binary = labels_from(tmp_path, csv_bi=table(rows))
    assert binary.events == (Event(20, 40), Event(100, 150, UNKNOWN))
    typed = table([("FP1-F7", 20, 40, "fnsz"), ("F7-T3", 100, 150, "unkn")])
    both = labels_from(tmp_path, csv_bi=whole((20, 40)), csv=typed)
    assert both.events == (Event(20, 40, "fnsz", 1, ("FP1-F7",)), Event(100, 150, UNKNOWN))
    for column in ("eventType", "trial_type"):
        named = events_tsv((20, "20", "sz"), (100, "50", "unknown"), column=column)
        assert labels_from(tmp_path, tsv=named).events == (Event(20, 40), Event(100, 150, UNKNOWN))
    # Known events take precedence over unknown intervals.
    named = events_tsv((20, "20", "sz"), (10, "50", "unknown"))
    assert labels_from(tmp_path, tsv=named).events == (
        Event(10, 20, UNKNOWN),
        Event(20, 40),
        Event(40, 60, UNKNOWN),
    )
    # Nothing says that the rest is background.
    for text in (table([("TERM", 100, 150, "unknown")]), events_tsv((100, "50", "unknown"))):
        kind = "csv_bi" if "TERM" in text else "tsv"
        alone = labels_from(tmp_path, **{kind: text})
        assert (alone.reason, codes(alone)[-1]) == ("bad_annotation", "no_known_row")


def test_overlapping_events_of_different_labels_are_kept(tmp_path: Path) -> None:
    text = events_tsv((10, "30", "sz_gen_nm"), (20, "60", "sz_foc"), (70, "20", "sz_foc"))
    outcome = labels_from(tmp_path, tsv=text)
    assert outcome.events == (Event(10, 40, "absz"), Event(20, 90, "fnsz"))
    assert sorted(codes(outcome)) == [
        "no_recording_duration",
        "overlapping_events",
        "overlapping_labels",
    ]


def test_ictal_is_a_seizure_and_the_time_around_one_is_not(tmp_path: Path) -> None:
    text = events_tsv(
        (5, "4", "pre-ictal"),
        (10, "20", "ictal"),
        (30, "15", "postictal"),
        (60, "0", "Ictal onset"),
        (80, "0", "ictal end"),
        (90, "9", "post-ictal generalized slowing"),
        (120, "5", "inter ictal spikes"),
        (200, "10", "possible ictal pattern"),
        (230, "10", "interictal"),
        column="trial_type",
    )
    outcome = labels_from(tmp_path, tsv=text)
    assert outcome.events == (Event(10, 30), Event(60, 80), Event(200, 300, UNKNOWN))
    assert codes(outcome) == ["no_recording_duration", "unclear_text"]


def test_an_impedance_check_is_neither_seizure_nor_background(tmp_path: Path) -> None:
    outcome = labels_from(tmp_path, tsv=events_tsv((0, "20", "impd"), (50, "10", "sz_foc_ia_nm")))
    assert (outcome.reason, outcome.events) == (
        None,
        (Event(0, 20, UNKNOWN), Event(50, 60, "cpsz")),
    )


@pytest.mark.parametrize("column", ["trial_type", "value"])
def test_columns_of_free_text_are_read(tmp_path: Path, column: str) -> None:
    text = events_tsv(
        (5, "0", "Eyes open"),
        (10, "30", "Seizure"),
        (60, "12", "sz_foc_ia"),
        (100, "0", "onset"),
        (101, "n/a", "left arm, pt Doe"),
        (130, "0", "offset"),
        (200, "15", "seiz"),
        column=column,
    )
    outcome = labels_from(tmp_path, tsv=text)
    assert (outcome.reason, codes(outcome)) == (None, ["no_recording_duration"])
    assert outcome.events == (
        Event(10, 40),
        Event(60, 72, "cpsz"),
        Event(100, 130),
        Event(200, 215),
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # The first onset has no end.
        (
            [(10, "0", "onset"), (50, "0", "onset"), (80, "0", "offset")],
            [Event(10, 50, UNKNOWN), Event(50, 80)],
        ),
        (
            [(10, "0", "onset"), (50, "5", "sz_gen"), (80, "0", "offset")],
            [Event(10, 50, UNKNOWN), Event(50, 55, "gnsz"), Event(55, 80, UNKNOWN)],
        ),
        # One second, written for an instant, is not the length of the seizure.
        ([(10, "1", "onset"), (80, "1", "offset")], [Event(10, 80)]),
        ([(10, "1", "onset")], [Event(10, 300, UNKNOWN)]),
        # Rows with one start describe one seizure.
        (
            [(10, "0", "onset"), (10, "0", "sz_gen"), (80, "0", "offset")],
            [Event(10, 80, "gnsz")],
        ),
        ([(10, "0", "onset"), (10, "70", "seizure"), (80.5, "0", "offset")], [Event(10, 80)]),
        # One seizure ends when the next starts.
        (
            [(10, "0", "onset"), (40, "0", "onset"), (40, "0", "offset"), (80, "0", "offset")],
            [Event(10, 40), Event(40, 80)],
        ),
        (
            [(0, "0", "onset"), (0, "0", "offset"), (9, "9", "sz")],
            [Event(0, 9, UNKNOWN), Event(9, 18)],
        ),
    ],
)
def test_an_onset_lasts_until_the_next_end(
    tmp_path: Path, rows: list[tuple[float, str, str]], expected: list[Event]
) -> None:
    for ordered in (rows, rows[::-1]):
        outcome = labels_from(tmp_path, tsv=events_tsv(*ordered, column="trial_type"))
        assert outcome.reason is None
        assert list(outcome.events) == expected


def test_the_column_that_mentions_seizures_counts(tmp_path: Path) -> None:
    text = "onset\tduration\ttrial_type\tvalue\teventType\n"
    text += "10\t5\tnote\tsz\tn/a\n20\t5\tsz_foc\t3\tn/a\n30\t5\tnote\t4\tsz_gen\n"
    assert labels_from(tmp_path, tsv=text).events == (
        Event(10, 15),
        Event(20, 25, "fnsz"),
        Event(30, 35, "gnsz"),
    )


def test_a_table_that_does_not_mention_seizures_is_not_background(tmp_path: Path) -> None:
    text = events_tsv((5, "0", "Eyes open"), (7, "0", "Mrs Doe coughs"), column="trial_type")
    outcome = labels_from(tmp_path, tsv=text)
    assert (outcome.reason, outcome.events) == ("bad_annotation", ())
    assert [str(finding) for finding in outcome.findings][-1] == (
        "x_events.tsv: no_known_row (2 rows)"
    )
    background = events_tsv((0, "300", "bckg"), column="trial_type")
    assert (labels_from(tmp_path, tsv=background).reason, background) == (None, background)


def test_an_unclear_text_about_a_seizure_is_not_background(tmp_path: Path) -> None:
    text = events_tsv(
        (10, "0", "seizure starts"),
        (20, "0", "seizure spreads"),
        (40, "0", "seizure ends"),
        (100, "0", "looks like a seizure?"),
        (150, "0", "no seizures"),
        (200, "30", "seizure"),
        column="trial_type",
    )
    outcome = labels_from(tmp_path, tsv=text)
    assert outcome.events == (Event(10, 40), Event(100, 200, UNKNOWN), Event(200, 230))
    assert [str(f) for f in outcome.findings if f.code == "unclear_text"] == [
        "x_events.tsv:5: unclear_text (at 100.0000 s)"
    ]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("SEIZURE#8 STARTS -DAH", Meaning.ONSET),
        ("Seizure onset", Meaning.ONSET),
        ("sz_start", Meaning.ONSET),
        ("onset of seizure 3", Meaning.ONSET),
        ("Onset", Meaning.ONSET),
        ("seizure ends -DAH", Meaning.END),
        ("sz end", Meaning.END),
        ("End of the seizure", Meaning.END),
        ("offset", Meaning.END),
        ("Seizure 12", Meaning.SEIZURE),
        ("sz", Meaning.SEIZURE),
        ("seiz", Meaning.SEIZURE),
        ("FNSZ", Meaning.SEIZURE),
        ("sz_gen_m_tonicClonic", Meaning.SEIZURE),
        ("unknown", Meaning.UNKNOWN),
        ("bckg", Meaning.BACKGROUND),
        ("seizure onset?", Meaning.UNCLEAR),
        ("2 seizures since noon", Meaning.UNCLEAR),
        ("?sz", Meaning.UNCLEAR),
        ("@SeizureDetected(Per", Meaning.NOTHING),
        ("Persyst SeizureDetection", Meaning.NOTHING),
        ("no seizure", Meaning.NOTHING),
        ("sleep onset", Meaning.NOTHING),
        ("photic stimulation offset", Meaning.NOTHING),
        ("XLSpike", Meaning.NOTHING),
        ("", Meaning.NOTHING),
    ],
)
def test_texts_are_interpreted(text: str, meaning: Meaning) -> None:
    assert DEFAULT_TEXTS.meaning(text)[0] is meaning
