"""The summary of a case of CHB-MIT gives each EDF its seizures, in both forms of their times."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from brainbrr_core.annotation import UNKNOWN, Event, chbmit
from brainbrr_core.annotation.clock import on_signal_despite_clock
from brainbrr_core.annotation.parsed import ParsedAnnotation

HEAD = """Data Sampling Rate: 256 Hz
*************************

Channels in EDF Files:
**********************
Channel 1: FP1-F7
Channel 2: F7-T7

"""
WHERE = "chb31-summary.txt"


def block(name: str, *rows: str, clocks: tuple[str, str] | None = ("23:10:00", "24:10:00")) -> str:
    lines = [f"File Name: {name}"]
    if clocks is not None:
        lines += [f"File Start Time: {clocks[0]}", f"File End Time: {clocks[1]}"]
    return "\n".join([*lines, *rows]) + "\n\n"


def seizures(
    *times: tuple[int, int], numbered: bool = True, seconds: str = " seconds"
) -> list[str]:
    rows = [f"Number of Seizures in File: {len(times)}"]
    for number, (start, stop) in enumerate(times, start=1):
        name = f"Seizure {number}" if numbered else "Seizure"
        rows += [f"{name} Start Time: {start}{seconds}", f"{name} End Time: {stop}{seconds}"]
    return rows


def parsed(text: str, edf: str, signal_s: float | None = 3600.0) -> ParsedAnnotation:
    annotation = chbmit.parse(HEAD + text, WHERE, edf)
    assert annotation is not None
    return on_signal_despite_clock(annotation, signal_s)


def codes(annotation: ParsedAnnotation) -> list[str]:
    return [finding.code for finding in annotation.findings]


def test_each_edf_has_the_seizures_of_its_block() -> None:
    text = (
        block("chb31_01.edf", *seizures())
        + block("chb31_02.edf", *seizures((130, 212), numbered=False))
        + "Channels changed:\nChannel 1: FP1-F7\nChannel 2: F7-T7\n\n"
        + block("chb31_03+.edf", *seizures((2, 40), (1862, 1963)))
    )
    assert chbmit.listed_names(HEAD + text) == ["chb31_01.edf", "chb31_02.edf", "chb31_03+.edf"]
    none, one, two = (parsed(text, name) for name in chbmit.listed_names(HEAD + text))
    assert (none.events, one.events) == ((), (Event(130, 212),))
    assert two.events == (Event(2, 40), Event(1862, 1963))
    assert [a.findings for a in (none, one, two)] == [(), (), ()]
    assert [a.usable for a in (none, one, two)] == [True, True, True]
    assert chbmit.parse(HEAD + text, WHERE, "chb31_04.edf") is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 3599), max_size=8, unique=True).map(sorted),
    st.booleans(),
    st.sampled_from([" seconds", " second", " secs", "s"]),
)
def test_every_time_is_exact_in_either_form(edges: list[int], numbered: bool, seconds: str) -> None:
    times = list(zip(edges[::2], edges[1::2], strict=False))
    text = block("chb31_01.edf", *seizures(*times, numbered=numbered, seconds=seconds))
    assert parsed(text, "chb31_01.edf").events == tuple(Event(*pair) for pair in times)


def test_a_block_begins_with_a_name_in_any_spelling_of_its_line() -> None:
    text = block("a.edf", *seizures((10, 20))) + block("b.edf", *seizures((30, 40)))
    for line in ("FileName: b.edf", "File name : b.edf"):
        spelled = text.replace("File Name: b.edf", line)
        assert [parsed(spelled, name).events for name in ("a.edf", "b.edf")] == [
            (Event(10, 20),),
            (Event(30, 40),),
        ]


def test_o1_is_the_label_with_a_zero_in_an_edf_without_another_o1() -> None:
    electrodes = ["F7", "P3", "01", "O2", "-", "."]
    assert chbmit.mistyped_labels(electrodes) == {"01": "O1"}
    assert chbmit.mistyped_labels([*electrodes, "O1"]) == {}
    assert chbmit.mistyped_labels(["FP1-F7", "P7-O1"]) == {}


def test_the_duration_follows_from_clock_times_also_past_midnight() -> None:
    for clocks, duration in (
        (("23:10:00", "24:10:00"), 3600),
        (("23:10:00", "0:10:23"), 3623),
        (("00:37:31", "1:37:31"), 3600),
        (("22:00:05", "26:00:05"), 14400),
    ):
        assert parsed(block("a.edf", *seizures(), clocks=clocks), "a.edf").duration_s == duration
    # The last case of the corpus has no clock times.
    without = parsed(block("a.edf", *seizures((5, 9)), clocks=None), "a.edf")
    assert (without.duration_s, without.events, without.findings) == (None, (Event(5, 9),), ())


def test_a_clock_that_contradicts_the_signal_is_counted_and_moves_nothing() -> None:
    text = block("a.edf", *seizures((3590, 3610)), clocks=("10:00:00", "11:00:00"))
    wrong = parsed(text, "a.edf", 3700.0)
    assert [str(finding) for finding in wrong.findings] == [
        f"{WHERE}:9: clock_mismatch (listed 3600.00 s, signal 3700.00 s)"
    ]
    # The event is not cut where the clock says that the recording ends.
    assert (wrong.usable, wrong.events) == (True, (Event(3590, 3610),))


def test_a_number_of_seizures_that_is_not_that_of_the_times_excludes() -> None:
    rows = seizures((10, 20), (30, 40))
    for wrong, detail in (
        (rows[:3], "2 stated, 1 with times"),
        (
            [*rows, "Seizure 3 Start Time: 50 seconds", "Seizure 3 End Time: 60 seconds"],
            "2 stated, 3",
        ),
        (rows[1:], "no number stated, 2"),
    ):
        annotation = parsed(block("a.edf", *wrong), "a.edf")
        assert not annotation.usable
        assert any(
            finding.code == "count_contradicts" and detail in finding.detail
            for finding in annotation.findings
        )


def test_a_line_about_a_seizure_that_is_not_understood_excludes() -> None:
    annotation = parsed(
        block("a.edf", "Number of Seizures in File: 1", "Seizure 1 Start Time: 12:30"), "a.edf"
    )
    assert "malformed_row" in codes(annotation)
    assert not annotation.usable
    # No line of another block matters.
    text = block("a.edf", "Seizure 1 Start Time: ?") + block("b.edf", *seizures((1, 3)))
    assert (parsed(text, "b.edf").findings, parsed(text, "b.edf").events) == ((), (Event(1, 3),))


def test_a_seizure_without_an_end_is_unknown_until_the_next() -> None:
    rows = ["Number of Seizures in File: 2", "Seizure 1 Start Time: 100 seconds"]
    rows += ["Seizure 2 Start Time: 300 seconds", "Seizure 2 End Time: 340 seconds"]
    annotation = parsed(block("a.edf", *rows), "a.edf")
    assert annotation.events == (Event(100, 300, UNKNOWN), Event(300, 340))
    assert codes(annotation) == ["event_without_end"]


def test_an_end_belongs_to_the_start_before_it_whatever_its_number() -> None:
    rows = seizures((2951, 3030), (3196, 3267))
    rows[-1] = "Seizure 1 End Time:   3267 seconds"
    annotation = parsed(block("a.edf", *rows), "a.edf")
    assert annotation.events == (Event(2951, 3030), Event(3196, 3267))
    assert annotation.findings == ()


def test_a_seizure_that_ends_before_it_starts_or_after_the_signal_excludes() -> None:
    assert not parsed(block("a.edf", *seizures((200, 100))), "a.edf").usable
    outside = parsed(block("a.edf", *seizures((3500, 3700))), "a.edf")
    assert (codes(outside), outside.usable) == (["event_outside"], False)
