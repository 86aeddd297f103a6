"""A list of seizures of the Siena database: clock times by hand, exact seconds from the EDF."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainbrr_core.annotation import UNKNOWN, Event, siena
from brainbrr_core.annotation.parsed import ParsedAnnotation

WHERE = "Seizures-list-PN31.txt"
START = datetime(2016, 1, 1, 22, 50, 10)
HEAD = """PN31

Data Sampling Rate: 512 Hz

Channels in EDF files:
Channel 1: Fp1      \r
Channel 5: 1      \r
Channel 33: EKG 1    \r

"""


def entry(
    name: str = "PN31-1.edf",
    registration: tuple[str, str] = ("22.50.10", "23.50.10"),
    seizure: tuple[str, str] = ("23.00.10", "23.01.10"),
    heading: str = "Seizure n 1",
) -> str:
    return (
        f"{heading}\nFile name: {name} \nRegistration start time: {registration[0]}\n"
        f"Registration end time:  {registration[1]}\nSeizure start time: {seizure[0]} \n"
        f"Seizure end time:{seizure[1]}\n\n"
    )


def of(
    text: str,
    edf: str = "PN31-1.edf",
    start: datetime | None = START,
    signal_s: float | None = 3600.0,
) -> ParsedAnnotation:
    annotation = siena.recording_annotation(siena.parse(HEAD + text, WHERE), edf, start, signal_s)
    assert annotation is not None
    return annotation


def codes(annotation: ParsedAnnotation) -> list[str]:
    return [finding.code for finding in annotation.findings]


def test_seizures_are_seconds_from_the_first_sample() -> None:
    text = entry() + entry(
        "PN31-2.edf", ("02.18.17", "02.56.19"), ("02:38.37", "02.39.31"), "Seizure n 2 (in sleep):"
    )
    assert (of(text).events, of(text).findings) == ((Event(600, 660),), ())
    second = of(text, "PN31-2.edf", datetime(2016, 1, 1, 2, 18, 17), 2282.0)
    assert (second.events, second.findings) == ((Event(1220, 1274),), ())
    assert siena.recording_annotation(siena.parse(text, WHERE), "PN31-3.edf", START, 60.0) is None


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 86_399),
    st.integers(0, 80_000),
    st.integers(1, 3000),
    st.sampled_from(["%H.%M.%S", "%H:%M:%S", "%H:%M.%S", "%H.%M:%S"]),
)
def test_every_second_is_exact_also_past_midnight(
    of_day: int, onset: int, length: int, form: str
) -> None:
    start = datetime(2016, 1, 1) + timedelta(seconds=of_day)
    clocks = [
        (start + timedelta(seconds=seconds)).strftime(form)
        for seconds in (0, 86_000, onset, onset + length)
    ]
    text = entry(registration=(clocks[0], clocks[1]), seizure=(clocks[2], clocks[3]))
    annotation = of(text, start=start, signal_s=86_000.0)
    assert annotation.events == (Event(onset, onset + length),)
    assert annotation.findings == ()


def test_a_fraction_of_a_second_of_the_start_counts() -> None:
    start = START + timedelta(milliseconds=250)
    assert of(entry(), start=start).events == (Event(599.75, 659.75),)
    # The clock shows whole seconds, so this seizure starts with the first sample.
    first = of(entry(seizure=("22.50.10", "22.51.10")), start=start)
    assert first.events == (Event(0, 59.75),)


@pytest.mark.parametrize(
    ("listed", "edf"),
    [
        ("PN31-1.edf", "PN31-1.edf"),
        ("PN31-1.EDF", "PN31-1.edf"),
        ("PN31-1", "PN31-1.edf"),
        ("PN31- 1.edf", "PN31-1.edf"),
        ("PNO6-4.edf", "PN06-4.edf"),
        ("PN31.edf", "PN31-1.edf"),
        ("PN31-.edf", "PN31-1.edf"),
        ("PN31-4.5.6.edf", "PN31-4.5.6.edf"),
    ],
)
def test_a_name_in_another_spelling_is_corrected_with_a_finding(listed: str, edf: str) -> None:
    annotation = of(entry(listed), edf)
    assert annotation.events == (Event(600, 660),)
    same = listed.lower() == edf.lower()
    assert codes(annotation) == ([] if same else ["other_file_name"])
    assert siena.unlisted(siena.parse(entry(listed), WHERE), [edf]) == []


@pytest.mark.parametrize("line", ["Filename: PN31-2.edf", "FILE NAME : PN31-2.edf"])
def test_a_name_is_read_in_any_spelling_of_its_line(line: str) -> None:
    listed = entry() + entry("PN31-2.edf", seizure=("23.10.10", "23.11.10")).replace(
        "File name: PN31-2.edf ", line
    )
    assert (of(listed).events, codes(of(listed))) == ((Event(600, 660),), [])
    second = of(listed, "PN31-2.edf")
    assert (second.events, codes(second)) == ((Event(1200, 1260),), [])


def test_what_follows_a_line_with_another_name_belongs_to_no_known_edf() -> None:
    text = entry() + entry("PN31-2.edf", seizure=("23.10.10", "23.11.10")).replace(
        "File name: PN31-2.edf ", "Recorded in PN31-2.edf"
    )
    first = of(text)
    assert (first.events, codes(first)) == ((Event(600, 660),), ["seizure_without_file"])
    assert not first.usable
    # The copy without free text says the same.
    kept = siena.without_free_text(HEAD + text, ["PN31-1.edf"])
    assert "Recorded" not in kept
    copied = siena.recording_annotation(siena.parse(kept, WHERE), "PN31-1.edf", START, 3600.0)
    assert copied == first


def test_a_name_without_a_number_is_not_guessed_beside_others() -> None:
    listed = siena.parse(entry("PN31.edf") + entry("PN31-2.edf"), WHERE)
    assert siena.recording_annotation(listed, "PN31-1.edf", START, 3600.0) is None
    assert siena.unlisted(listed, ["PN31-1.edf", "PN31-2.edf"]) == ["PN31.edf"]


def test_further_seizures_need_not_repeat_name_and_registration() -> None:
    only_heading = (
        "File name: PN31-1.edf\nRegistration start time: 22.50.10\n"
        "Registration end time: 23.50.10\n\n"
        "Seizure n 1 (in sleep)\nStart time: 22:51:10\nEnd time: 22:51:40\n\n"
        "Seizure n 2\nStart time: 23:30:10\nEnd time: 23:30:40\n"
    )
    with_name = entry() + (
        "Seizure n 2\nFile name: PN31-1.edf\nSeizure start time: 23.30.10\n"
        "Seizure end time: 23.30.40\n"
    )
    assert of(only_heading).events == (Event(60, 90), Event(2400, 2430))
    assert of(with_name).events == (Event(600, 660), Event(2400, 2430))
    assert of(only_heading).findings == of(with_name).findings == ()


def test_a_blank_in_a_time_and_a_remark_after_it_are_ignored() -> None:
    text = entry(
        registration=("2 2.50.10", "23.50.10"), seizure=("23.00.10 (CLINICAL ONSET)", "23.01.10")
    )
    assert (of(text).events, of(text).findings) == ((Event(600, 660),), ())


def test_between_alternatives_a_time_is_unknown() -> None:
    text = entry(
        seizure=("23.00.04 (CLINICAL ONSET); 23.00.10 (ELECTRIC ONSET)", "23.01.31 opure 23.01.10")
    )
    annotation = of(text)
    assert annotation.events == (
        Event(594, 600, UNKNOWN),
        Event(600, 660),
        Event(660, 681, UNKNOWN),
    )
    assert codes(annotation) == ["alternative_times", "alternative_times"]
    assert annotation.usable


@pytest.mark.parametrize("time", ["23.00", "23.61.10", "", "about 23 h", "23.00.10.5"])
def test_a_time_that_is_not_understood_excludes(time: str) -> None:
    annotation = of(entry(seizure=(time, "23.01.10")))
    assert codes(annotation) == ["malformed_row"]
    assert not annotation.usable


def test_a_line_with_a_time_that_is_not_understood_excludes() -> None:
    for line in ("Seizure onset: 23.10.10", "? Seizure start time: 23.10.10", "23:10:10 seizure"):
        annotation = of(entry() + f"Seizure n 2\n{line}\nSeizure end time: 23.11.10\n")
        assert "malformed_row" in codes(annotation), line
        assert not annotation.usable
    # A date is no time, and a missing word changes nothing.
    dated = of("Date: 01.01.16\n" + entry())
    assert (dated.events, dated.findings) == ((Event(600, 660),), ())
    text = entry().replace("Seizure start time:", "Seizure start:").replace("n 1", "n1")
    assert (of(text).events, of(text).findings) == ((Event(600, 660),), ())


def test_the_start_in_the_header_counts_and_the_list_confirms_it() -> None:
    # By seconds: the clock of the list is inaccurate.
    near = of(entry(registration=("22.50.20", "23.50.10")))
    assert (codes(near), near.usable, near.events) == (["clock_mismatch"], True, (Event(600, 660),))
    # By hours, but the end that the list gives is that of the EDF.
    far = of(entry(registration=("19.50.10", "23.50.10")))
    assert (codes(far), far.usable, far.events) == (["clock_corrected"], True, (Event(600, 660),))
    # By hours, and nothing says which of the two is right.
    wrong = of(entry(registration=("19.50.10", "20.50.10")))
    assert (codes(wrong), wrong.usable) == (["clock_contradicts"], False)
    unknown = of(entry(registration=("19.50.10", "?")))
    assert (codes(unknown), unknown.usable) == (["clock_contradicts"], False)
    # The end alone is another one.
    late = of(entry(registration=("22.50.10", "23.57.10")))
    assert [str(finding) for finding in late.findings] == [
        f"{WHERE}:11: clock_mismatch (its start is 0 s off, its end 420 s)"
    ]


def test_one_source_of_the_start_is_enough_and_is_counted() -> None:
    for annotation in (of(entry(), start=None), of(entry(registration=("", "")))):
        assert (annotation.events, annotation.usable) == ((Event(600, 660),), True)
        assert codes(annotation) == ["clock_unchecked"]
    neither = of(entry(registration=("", "")), start=None)
    assert (codes(neither), neither.usable) == (["clock_contradicts"], False)


def test_a_clock_time_says_nothing_in_a_recording_of_more_than_a_day() -> None:
    annotation = of(entry(), signal_s=90_000.0)
    assert (codes(annotation), annotation.usable) == (["clock_contradicts"], False)


def test_an_end_after_the_recording_excludes_and_is_not_corrected() -> None:
    annotation = of(entry(seizure=("23.00.10", "00.01.10")))
    assert [str(finding) for finding in annotation.findings] == [
        f"{WHERE}:14: event_outside (600.0000 to 4260.0000 s of 3600.00 s)"
    ]
    assert not annotation.usable
    assert not of(entry(seizure=("23.01.10", "23.00.10"))).usable


def test_a_seizure_without_a_file_excludes_every_recording_of_the_list() -> None:
    text = "Seizure n 1\nSeizure start time: 23.00.10\nSeizure end time: 23.01.10\n" + entry()
    annotation = of(text)
    assert (codes(annotation), annotation.usable) == (["seizure_without_file"], False)


def test_a_seizure_may_lack_its_end_or_its_start() -> None:
    text = entry()
    without_end = of(text.replace("Seizure end time:23.01.10\n", ""))
    assert without_end.events == (Event(600, 3600, UNKNOWN),)
    without_start = of(text.replace("Seizure start time: 23.00.10 \n", ""))
    assert without_start.events == (Event(0, 660, UNKNOWN),)
    assert codes(without_end) == ["event_without_end"]
    assert codes(without_start) == ["end_without_onset"]


def test_the_table_of_subjects_gives_the_type_of_the_seizures() -> None:
    table = (
        "patient_id, age_years, gender, seizure, localization\n"
        "PN31,55,Male,IAS,T\nPN32,71,Male,WIAS,T\nPN33,25,Male,FBTC,F\nPN34,9,Male,?,F\n"
    )
    labels = [siena.seizure_label(table, f"PN{number}") for number in range(31, 36)]
    assert labels == ["cpsz", "spsz", "fnsz", "seiz", "seiz"]
    assert siena.seizure_label("", "PN31") == "seiz"
