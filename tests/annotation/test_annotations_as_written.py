"""What somebody wrote about seizures is read as it was meant, or the recording is not used.

Nothing that speaks of a seizure becomes background in silence.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brainbrr_core.annotation import UNKNOWN, Event, Finding, on_signal, szcore, tal, tuh
from brainbrr_core.annotation.policy import ANNOTATION_FINDINGS
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Meaning, Texts
from brainbrr_core.configuration import Corpus, Overrides, Preprocessing, load
from brainbrr_core.configuration.settings import SEIZURE_LABELS, AnnotationTexts
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.changes import changes
from brainbrr_core.corpus.index import scan
from brainbrr_core.corpus.index_file import index_path, read_index, update_index
from brainbrr_core.corpus.layouts.base import RecordingLabels
from brainbrr_core.corpus.layouts.folder import FolderLayout
from brainbrr_core.corpus.recording import LABEL_REASONS, Recording
from brainbrr_core.corpus.summary import summarize
from brainbrr_core.edf.reader import annotation_records
from brainbrr_core.edf.source import LocalEdf
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.inspection.colors import event_colors
from brainbrr_core.inspection.inspection import inspect_recording
from tests.support.examples import examples
from tests.support.shell import Shell

SIGNAL_S = 300.0
HEAD = "# duration = {duration:.2f} secs\nchannel,start_time,stop_time,label,confidence\n"
FOLDER = Corpus(layout="folder", patient_pattern="^(.)")

Row = tuple[str, float, float, str]


def table(rows: Sequence[Row], duration: float = SIGNAL_S) -> str:
    """A csv or csv_bi."""
    lines = (f"{channel},{start},{stop},{label},1\n" for channel, start, stop, label in rows)
    return HEAD.format(duration=duration) + "".join(lines)


def whole(*seizures: tuple[float, float]) -> str:
    """A csv_bi of some seizures, with background between them."""
    rows: list[Row] = []
    reached = 0.0
    for start, stop in seizures:
        rows += [("TERM", reached, start, "bckg"), ("TERM", start, stop, "seiz")]
        reached = stop
    return table([*rows, ("TERM", reached, SIGNAL_S, "bckg")])


def labelled(folder: Path, **files: str) -> RecordingLabels:
    """What annotation files beside ``x.edf`` of 300 s say; ``_`` in a name is a dot or stays."""
    folder.mkdir(exist_ok=True)
    names = {"csv": "x.csv", "csv_bi": "x.csv_bi", "tsv": "x_events.tsv"}
    for name in names.values():
        (folder / name).unlink(missing_ok=True)
    for kind, text in files.items():
        (folder / names[kind]).write_text(text, encoding="utf-8")
    layout = FolderLayout(folder)
    return layout.read_labels(layout.describe_path(folder / "x.edf"), SIGNAL_S)


def codes(labels: RecordingLabels) -> list[str]:
    return [finding.code for finding in labels.findings]


# --- csv beside csv_bi ---------------------------------------------------------------------------


def test_a_seizure_that_only_the_csv_has_excludes_the_recording(tmp_path: Path) -> None:
    typed = table([("FP1-F7", 100, 140, "fnsz"), ("F7-T3", 105, 140, "fnsz")])
    only = labelled(tmp_path, csv_bi=whole(), csv=typed)
    assert (only.reason, codes(only)) == ("bad_annotation", ["types_contradict"] * 2)
    assert str(only.findings[0]) == (
        "x.csv:3: types_contradict (100.0000 to 140.0000 s is background in x.csv_bi)"
    )
    # One that both have does not make up for another.
    more = table([("FP1-F7", 20, 40, "fnsz"), ("FP1-F7", 100, 104, "gnsz")])
    assert labelled(tmp_path, csv_bi=whole((20, 40)), csv=more).reason == "bad_annotation"
    # It begins where one that both have ends, and so would be joined to it.
    touching = table([("FP1-F7", 20, 40, "fnsz"), ("F7-T3", 40, 46, "fnsz")])
    assert labelled(tmp_path, csv_bi=whole((20, 40)), csv=touching).reason == "bad_annotation"


def test_a_seizure_that_the_csv_calls_background_excludes_the_recording(tmp_path: Path) -> None:
    rows: list[Row] = [("FP1-F7", 0, SIGNAL_S, "bckg"), ("F7-T3", 0, SIGNAL_S, "bckg")]
    denied = labelled(tmp_path, csv_bi=whole((100, 140)), csv=table(rows))
    assert (denied.reason, codes(denied)) == (
        "bad_annotation",
        ["types_contradict", "untyped_event"],
    )
    # Of what no row speaks, the csv says nothing.
    silent = labelled(
        tmp_path,
        csv_bi=whole((20, 40), (100, 140)),
        csv=table([("FP1-F7", 20, 40, "fnsz"), ("F7-T3", 0, 60, "bckg")]),
    )
    assert (silent.reason, codes(silent)) == (None, ["untyped_event"])
    assert silent.events == (Event(20, 40, "fnsz", 1, ("FP1-F7",)), Event(100, 140))


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (100.0, 140.0, []),
        (99.5, 141.0, []),
        (95.0, 140.0, ["types_differ"]),
        (100.0, 150.0, ["types_differ"]),
        (100.0, 150.5, ["types_contradict"]),
        (89.0, 140.0, ["types_contradict"]),
        # The csv's other channel is background throughout.
        (103.0, 140.0, ["types_differ"]),
        (111.0, 140.0, ["types_contradict"]),
    ],
)
def test_edges_of_csv_and_csv_bi_may_differ_a_little(
    tmp_path: Path, start: float, stop: float, expected: list[str]
) -> None:
    rows: list[Row] = [("FP1-F7", start, stop, "fnsz"), ("F7-T3", 0, SIGNAL_S, "bckg")]
    outcome = labelled(tmp_path, csv_bi=whole((100, 140)), csv=table(rows))
    assert codes(outcome) == expected
    assert (outcome.reason == "bad_annotation") == ("types_contradict" in expected)
    if outcome.reason is None:
        assert outcome.events == (Event(100, 140, "fnsz", 1, ("FP1-F7",)),)


def test_a_csv_of_another_recording_is_seen(tmp_path: Path) -> None:
    rows: list[Row] = [("FP1-F7", 100, 140, "fnsz")]
    for duration, expected in ((305.0, "duration_mismatch"), (600.0, "duration_contradicts")):
        outcome = labelled(tmp_path, csv_bi=whole((100, 140)), csv=table(rows, duration))
        assert [str(finding) for finding in outcome.findings] == [
            f"x.csv:1: {expected} (annotated {duration:.2f} s, signal 300.00 s)"
        ]
        assert outcome.reason == ("bad_annotation" if duration > 310 else None)
    late: list[Row] = [*rows, ("FP1-F7", 400, 420, "fnsz")]
    outside = labelled(tmp_path, csv_bi=whole((100, 140)), csv=table(late))
    assert (outside.reason, codes(outside)) == ("bad_annotation", ["event_outside"])


# --- events without an end, and what nobody can say ----------------------------------------------


def events_tsv(
    *rows: tuple[float, str, str], column: str = "eventType", more: str = "", cells: str = ""
) -> str:
    head = f"onset\tduration\t{column}{more}\n"
    return head + "".join(f"{onset}\t{length}\t{text}{cells}\n" for onset, length, text in rows)


@pytest.mark.parametrize("length", ["0", "0.0", "n/a", ""])
def test_a_seizure_without_an_end_is_unknown_until_the_next_row(
    tmp_path: Path, length: str
) -> None:
    outcome = labelled(
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
    last = labelled(tmp_path, tsv=events_tsv((20, "30", "sz"), (100, length, "sz")))
    assert last.events == (Event(20, 50), Event(100, 300, UNKNOWN))
    # It may end after an event that it lies in.
    inside = labelled(tmp_path, tsv=events_tsv((20, "30", "sz_foc"), (40, length, "sz_gen")))
    assert inside.events == (Event(20, 50, "fnsz"), Event(50, 300, UNKNOWN))
    # Background that begins later is known.
    over = labelled(tmp_path, tsv=events_tsv((20, length, "sz"), (90, "210", "bckg")))
    assert over.events == (Event(20, 90, UNKNOWN),)


def test_a_seizure_row_of_no_length_in_a_csv_bi_is_no_background(tmp_path: Path) -> None:
    outcome = labelled(tmp_path, csv_bi=whole((100, 100), (200, 230)))
    assert (outcome.reason, codes(outcome)) == (None, ["event_without_end"])
    assert outcome.events == (Event(100, 200, UNKNOWN), Event(200, 230))
    # In the csv alone: nobody denies it, since an event of no length overlaps nothing.
    typed = table([("FP1-F7", 50, 50, "fnsz"), ("FP1-F7", 200, 230, "fnsz")])
    outcome = labelled(tmp_path, csv_bi=whole((200, 230)), csv=typed)
    assert outcome.reason is None
    assert [event.label for event in outcome.events] == [UNKNOWN, "fnsz"]
    assert outcome.events[0] == Event(50, 200, UNKNOWN)


def test_a_recording_of_which_nothing_is_known_is_excluded(tmp_path: Path) -> None:
    nothing = labelled(tmp_path, tsv=events_tsv((0, "n/a", "sz")))
    assert (nothing.reason, nothing.events) == ("all_unknown", (Event(0, 300, UNKNOWN),))
    little = labelled(tmp_path, tsv=events_tsv((0, "1", "sz"), (1, "n/a", "sz")))
    assert little.reason is None


def test_what_a_person_marks_as_unknown_is_unknown(tmp_path: Path) -> None:
    rows: list[Row] = [("TERM", 20, 40, "seiz"), ("TERM", 100, 150, "unknown")]
    binary = labelled(tmp_path, csv_bi=table(rows))
    assert binary.events == (Event(20, 40), Event(100, 150, UNKNOWN))
    typed = table([("FP1-F7", 20, 40, "fnsz"), ("F7-T3", 100, 150, "unkn")])
    both = labelled(tmp_path, csv_bi=whole((20, 40)), csv=typed)
    assert both.events == (Event(20, 40, "fnsz", 1, ("FP1-F7",)), Event(100, 150, UNKNOWN))
    for column in ("eventType", "trial_type"):
        named = events_tsv((20, "20", "sz"), (100, "50", "unknown"), column=column)
        assert labelled(tmp_path, tsv=named).events == (Event(20, 40), Event(100, 150, UNKNOWN))
    # What is known goes before what is not.
    named = events_tsv((20, "20", "sz"), (10, "50", "unknown"))
    assert labelled(tmp_path, tsv=named).events == (
        Event(10, 20, UNKNOWN),
        Event(20, 40),
        Event(40, 60, UNKNOWN),
    )
    # Nobody said that the rest is background.
    for text in (table([("TERM", 100, 150, "unknown")]), events_tsv((100, "50", "unknown"))):
        kind = "csv_bi" if "TERM" in text else "tsv"
        alone = labelled(tmp_path, **{kind: text})
        assert (alone.reason, codes(alone)[-1]) == ("bad_annotation", "no_known_row")


def test_events_of_different_labels_that_overlap_all_stay(tmp_path: Path) -> None:
    text = events_tsv((10, "30", "sz_gen_nm"), (20, "60", "sz_foc"), (70, "20", "sz_foc"))
    outcome = labelled(tmp_path, tsv=text)
    assert outcome.events == (Event(10, 40, "absz"), Event(20, 90, "fnsz"))
    assert sorted(codes(outcome)) == [
        "no_recording_duration",
        "overlapping_events",
        "overlapping_labels",
    ]


# --- events.tsv as BIDS has it -------------------------------------------------------------------


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
    outcome = labelled(tmp_path, tsv=text)
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
        # The first onset has no end of its own.
        (
            [(10, "0", "onset"), (50, "0", "onset"), (80, "0", "offset")],
            [Event(10, 50, UNKNOWN), Event(50, 80)],
        ),
        (
            [(10, "0", "onset"), (50, "5", "sz_gen"), (80, "0", "offset")],
            [Event(10, 50, UNKNOWN), Event(50, 55, "gnsz"), Event(55, 80, UNKNOWN)],
        ),
        # A program that writes a second for a point in time says nothing of the seizure's length.
        ([(10, "1", "onset"), (80, "1", "offset")], [Event(10, 80)]),
        ([(10, "1", "onset")], [Event(10, 300, UNKNOWN)]),
        # Rows at one time speak of one seizure.
        (
            [(10, "0", "onset"), (10, "0", "sz_gen"), (80, "0", "offset")],
            [Event(10, 80, "gnsz")],
        ),
        ([(10, "0", "onset"), (10, "70", "seizure"), (80.5, "0", "offset")], [Event(10, 80)]),
        # One seizure ends when the next begins.
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
def test_an_onset_lasts_to_the_end_that_comes_next(
    tmp_path: Path, rows: list[tuple[float, str, str]], expected: list[Event]
) -> None:
    for ordered in (rows, rows[::-1]):
        outcome = labelled(tmp_path, tsv=events_tsv(*ordered, column="trial_type"))
        assert outcome.reason is None
        assert list(outcome.events) == expected


def test_the_column_that_speaks_of_seizures_holds(tmp_path: Path) -> None:
    text = "onset\tduration\ttrial_type\tvalue\teventType\n"
    text += "10\t5\tnote\tsz\tn/a\n20\t5\tsz_foc\t3\tn/a\n30\t5\tnote\t4\tsz_gen\n"
    assert labelled(tmp_path, tsv=text).events == (
        Event(10, 15),
        Event(20, 25, "fnsz"),
        Event(30, 35, "gnsz"),
    )


def test_a_table_that_says_nothing_of_seizures_is_not_background(tmp_path: Path) -> None:
    text = events_tsv((5, "0", "Eyes open"), (7, "0", "Mrs Doe coughs"), column="trial_type")
    outcome = labelled(tmp_path, tsv=text)
    assert (outcome.reason, outcome.events) == ("bad_annotation", ())
    assert [str(finding) for finding in outcome.findings][-1] == (
        "x_events.tsv: no_known_row (2 rows)"
    )
    background = events_tsv((0, "300", "bckg"), column="trial_type")
    assert (labelled(tmp_path, tsv=background).reason, background) == (None, background)


def test_a_text_about_a_seizure_that_is_not_understood_is_no_background(tmp_path: Path) -> None:
    text = events_tsv(
        (10, "0", "seizure starts"),
        (20, "0", "seizure spreads"),
        (40, "0", "seizure ends"),
        (100, "0", "looks like a seizure?"),
        (150, "0", "no seizures"),
        (200, "30", "seizure"),
        column="trial_type",
    )
    outcome = labelled(tmp_path, tsv=text)
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
def test_texts_mean_what_people_write(text: str, meaning: Meaning) -> None:
    assert DEFAULT_TEXTS.meaning(text)[0] is meaning


# --- EDF+ annotations ----------------------------------------------------------------------------


def annotated_edf(
    path: Path,
    *annotations: tuple[float, float | None, str],
    seconds: int = 60,
    subsecond: int = 0,
    seed: int = 0,
) -> Path:
    """An EDF+C of 19 channels of noise with annotations."""
    rng = np.random.default_rng(seed)
    signals = [
        edfio.EdfSignal(
            rng.uniform(-90, 90, 256 * seconds),
            256,
            label=f"EEG {name}-REF",
            physical_dimension="uV",
            physical_range=(-100, 100),
        )
        for name in CHANNELS
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(
        signals,
        data_record_duration=1,
        starttime=datetime.time(10, 0, 0, subsecond),
        annotations=[edfio.EdfAnnotation(*annotation) for annotation in annotations],
    ).write(path)
    return path


def one(corpus: Path, settings: Corpus = FOLDER) -> Recording:
    (recording,) = scan(corpus, corpus=settings)
    return recording


def test_an_edf_without_a_file_beside_it_is_labelled_by_its_own_annotations(
    tmp_path: Path,
) -> None:
    annotated_edf(
        tmp_path / "x.edf",
        (3, None, "Mrs Doe, eyes open"),
        (5.25, None, "SEIZURE#8 STARTS -DAH"),
        (7, None, "Persyst SeizureDetection"),
        (20.5, None, "seizure ends -DAH"),
        (30, 4.5, "Seizure"),
        (50, None, "seizure onset"),
    )
    recording = one(tmp_path)
    assert (recording.reason, recording.label_source) == (None, "edf_annotations")
    assert recording.events == (Event(5.25, 20.5), Event(30, 34.5), Event(50, 60, UNKNOWN))
    assert recording.seizure_s == 19.75
    assert [str(f) for f in recording.findings if f.code in ANNOTATION_FINDINGS] == [
        "x.edf:annotations:51: event_without_end (at 50.0000 s)"
    ]
    # A file beside it holds alone.
    (tmp_path / "x.csv_bi").write_text(table([("TERM", 0, 60, "bckg")], 60))
    beside = one(tmp_path)
    assert (beside.label_source, beside.events) == ("csv_bi", ())


def test_annotations_that_say_nothing_of_seizures_are_no_labels(tmp_path: Path) -> None:
    annotated_edf(tmp_path / "x.edf", (3, None, "eyes open"), (5, 10, "unknown"), (6, 0, "bckg"))
    annotated_edf(tmp_path / "y.edf", (3, None, "maybe a seizure"))
    annotated_edf(tmp_path / "z.edf")
    for recording in scan(tmp_path, corpus=FOLDER):
        assert (recording.reason, recording.events) == ("no_annotation", ()), recording


def test_annotations_count_from_the_first_sample(tmp_path: Path) -> None:
    path = annotated_edf(
        tmp_path / "x.edf", (5, None, "onset"), (20, None, "offset"), subsecond=753_000
    )
    # The file's own times are on the axis of its stamps, of which the first is 0.753 s.
    assert b"+5.753\x14onset" in path.read_bytes()
    assert one(tmp_path).events == (Event(5, 20),)


def test_a_seizure_before_the_first_sample_is_of_another_recording() -> None:
    """A little before is rounding."""
    for onset, expected in ((-0.04, None), (-1, "bad_annotation")):
        records = [[tal_bytes(0, 0, "") + tal_bytes(onset, 20, "seizure")]]
        parsed = tal.parse(records, "x.edf:annotations", DEFAULT_TEXTS)
        assert parsed is not None
        outcome = RecordingLabels.of(on_signal(parsed, SIGNAL_S), "edf_annotations", SIGNAL_S)
        assert outcome.reason == expected
        (event,) = outcome.events
        assert (event.start, event.label) == (0, "seiz")
        assert event.stop == pytest.approx(20 + onset)
        assert codes(outcome) == ([] if expected is None else ["event_outside"])


def test_seizure_hours_are_those_of_the_labels_that_count(tmp_path: Path) -> None:
    annotated_edf(tmp_path / "x.edf", (5, 10, "fnsz"), (20, 8, "nesz"), (40, 9, "unknown"))
    counts = summarize(scan(tmp_path, corpus=FOLDER), ("fnsz",))
    assert (counts.seizures, counts.usable_seizure_hours) == (1, round(10 / 3600, 4))
    counts = summarize(scan(tmp_path, corpus=FOLDER), ("fnsz", "nesz"))
    assert (counts.seizures, counts.usable_seizure_hours) == (2, round(18 / 3600, 4))


def test_what_is_unknown_is_drawn_in_no_color_of_a_seizure() -> None:
    events = [Event(1, 2, "fnsz"), Event(3, 4, "zzsz")]
    before = event_colors(events)
    colors = event_colors([Event(0, 1, UNKNOWN), *events])
    assert colors.pop(UNKNOWN) not in before.values()
    assert colors == before


def test_an_end_without_an_onset_is_no_background(tmp_path: Path) -> None:
    annotated_edf(
        tmp_path / "x.edf",
        (10, None, "seizure ends"),
        (20, 5, "seizure"),
        (25.5, None, "seizure ends"),
        (40, None, "seizure ends"),
    )
    recording = one(tmp_path)
    assert recording.events == (Event(0, 10, UNKNOWN), Event(20, 25), Event(25.5, 40, UNKNOWN))
    assert [f.code for f in recording.findings].count("end_without_onset") == 2


def test_no_text_of_an_annotation_leaves_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotated_edf(
        tmp_path / "data" / "x.edf",
        (3, None, "Quillfeather asleep"),
        (5, None, "seizure starts -Quillfeather"),
        (9, None, "seizure of Quillfeather?"),
    )
    table = tmp_path / "data" / "y_events.tsv"
    annotated_edf(tmp_path / "data" / "y.edf", seed=1)
    table.write_text(events_tsv((3, "0", "Quillfeather has a seizure"), column="trial_type"))
    said: list[str] = []
    cache = tmp_path / "cache"
    index = update_index(str(tmp_path / "data"), cache, FOLDER, log=said.append)
    assert [r.reason for r in index] == [None, "bad_annotation"]
    assert "Quillfeather" not in repr(index)
    assert b"Quillfeather" not in index_path(cache).read_bytes()
    output = capsys.readouterr()
    assert "Quillfeather" not in "".join([*said, output.out, output.err])


def test_changed_patterns_are_seen_and_hash_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    annotated_edf(data / "x.edf", (5, None, "Anfall"), (20, None, "Ende"))
    annotated_edf(data / "y.edf", seed=1)
    (data / "y.csv_bi").write_text(table([("TERM", 0, 60, "bckg")], 60))
    first = update_index(str(data), cache, FOLDER)
    assert [r.reason for r in first] == ["no_annotation", None]
    german = FOLDER.model_copy(
        update={"annotation_texts": AnnotationTexts(onset=("anfall",), end=("ende",))}
    )
    assert not changes(str(data), cache, FOLDER, first)
    # What has a file of fixed words beside it is not looked at again.
    assert changes(str(data), cache, german, first).changed == ("x",)

    def refuse(*_: object) -> str:
        raise AssertionError("an EDF was hashed again")

    monkeypatch.setattr("brainbrr_core.corpus.sources.edf_hashes", refuse)
    second = update_index(str(data), cache, german)
    assert [r.reason for r in second] == [None, None]
    assert second.recordings[0].events == (Event(5, 20),)
    assert second.recordings[0].content_hash == first.recordings[0].content_hash
    assert second.recordings[1] == first.recordings[1]
    assert read_index(cache) == second
    assert not changes(str(data), cache, german, second)
    assert update_index(str(data), cache, FOLDER) == first


def test_what_the_index_says_is_listed_and_inspected(tmp_path: Path, shell: Shell) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    path = annotated_edf(data / "x" / "x.edf", (5.5, None, "onset"), (20, None, "offset"))
    # Before there is an index, the file itself is asked.
    assert inspect_recording(path, Preprocessing()).events == (Event(5.5, 20),)
    annotated_edf(data / "y" / "y.edf", (5, None, "onset"), seed=1)
    arguments = ("index", "--data-dir", data, "--layout", "folder", "--cache-root", cache)
    lines = [line.split("\t") for line in shell.type(*arguments, "--list").stdout.splitlines()]
    rows = {line[0]: line[1:] for line in lines if len(line) > 1}
    assert rows["recording"] == [
        *("split", "status", "reason", "seconds", "seizures", "findings", "events")
    ]
    assert rows["x/x"][-1] == "5.5 to 20 s seiz"
    # What is unknown is no seizure that is counted.
    assert (rows["y/y"][-3], rows["y/y"][-1]) == ("0", "5 to 60 s unknown")
    counts = json.loads(shell.type(*arguments, "--list", "--json").stdout)
    assert [row["events"] for row in counts["recordings"]] == [
        [[5.5, 20.0, "seiz"]],
        [[5.0, 60.0, "unknown"]],
    ]
    assert counts["usable_seizures"] == 1
    # In hours, to four places.
    assert counts["usable_seizure_hours"] == round(14.5 / 3600, 4)
    seen = read_index(cache).by_key()
    assert (seen["x/x"].seizure_s, seen["y/y"].seizure_s) == (14.5, 0)


def test_a_pattern_that_is_no_expression_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("corpus:\n  annotation_texts:\n    onset: ['(start']\n")
    with pytest.raises(BrainbrrError, match="is no regular expression") as error:
        load(Overrides(config=f"smoke:cpu:{path}"), environment={})
    assert "corpus.annotation_texts.onset" in str(error.value)
    assert "\n" not in str(error.value)


# --- anything at all -----------------------------------------------------------------------------

times = st.integers(0, 320).map(float) | st.floats(0, 320).map(lambda t: round(t, 4))
odd = st.sampled_from(["-1", "nan", "inf", "1e400", "n/a", "", "soon", "0x10", "١"])
kinds = st.sampled_from([*SEIZURE_LABELS, "bckg", "unknown", "unkn", "artf", "", "SEIZ"])
hed = st.sampled_from(
    ["sz", "sz_foc_ia", "sz_gen", "seizure", "bckg", "unknown", "onset", "offset"]
)
free = hed | st.sampled_from(
    ["seizure ends", "Seizure starts", "eyes open", "a seizure?", "n/a", "@SeizureDetected"]
)


def seizure_rows(draw: st.DrawFn, labels: st.SearchStrategy[str]) -> list[tuple[float, float, str]]:
    """Start, stop and label of some rows, some without a length."""
    rows = draw(st.lists(st.tuples(times, times | st.none(), labels), max_size=8))
    return [
        (start, start if other is None else max(start, other), label)
        for start, other, label in rows
    ]


def check_outcome(outcome: RecordingLabels) -> None:
    """It is used or excluded with a reason, and no event lies outside of the signal."""
    assert outcome.reason is None or outcome.reason in LABEL_REASONS
    assert all(finding.code in ANNOTATION_FINDINGS for finding in outcome.findings)
    if outcome.reason in (None, "all_unknown"):
        assert all(0 <= event.start < event.stop <= SIGNAL_S for event in outcome.events)
        assert {event.label for event in outcome.events} <= {*SEIZURE_LABELS, UNKNOWN}


def is_covered(outcome: RecordingLabels, start: float, stop: float) -> bool:
    """Whether every tenth of a second of what was written is no background."""
    stop = min(stop, SIGNAL_S)
    instants = [start, *np.arange(start, stop, 0.1)]
    return all(any(e.start <= t < e.stop for e in outcome.events) for t in instants)


@st.composite
def tusz_rows(draw: st.DrawFn) -> list[tuple[float, float, str]]:
    return seizure_rows(draw, kinds | st.just("seiz"))


@examples(200)
@given(rows=tusz_rows(), typed=tusz_rows(), with_csv=st.booleans())
@example(rows=[(0, 300, "bckg")], typed=[(100, 140, "fnsz")], with_csv=True)
@example(rows=[(100, 100, "seiz")], typed=[], with_csv=False)
def test_no_row_of_a_seizure_in_tusz_files_becomes_background(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, float, str]],
    typed: list[tuple[float, float, str]],
    with_csv: bool,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-tusz"
    files = {"csv_bi": table([("TERM", *row) for row in rows])}
    if with_csv:
        files["csv"] = table([("FP1-F7", *row) for row in typed])
    outcome = labelled(folder, **files)
    check_outcome(outcome)
    if outcome.reason is not None:
        return
    for start, stop, label in rows:
        if label != "bckg":
            assert is_covered(outcome, start, stop), (start, stop, label)
    if with_csv and "unusable_types" not in codes(outcome):
        for start, stop, label in typed:
            # Edges may differ: some of it, or what is beside it, is no background.
            assert label == "bckg" or any(
                event.start - 1 <= stop and start <= event.stop + 1 for event in outcome.events
            ), (start, stop, label)


@st.composite
def bids_rows(draw: st.DrawFn) -> list[tuple[float, float, str]]:
    return seizure_rows(draw, free)


@examples(200)
@given(rows=bids_rows(), column=st.sampled_from(szcore.KINDS))
@example(rows=[(100, 100, "sz"), (200, 230, "sz")], column="eventType")
@example(rows=[(10, 10, "sz"), (40, 40, "offset"), (80, 80, "offset")], column="trial_type")
def test_no_row_of_a_seizure_in_an_events_tsv_becomes_background(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, str]], column: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-bids"
    text = events_tsv(
        *(
            (start, f"{stop - start:.4f}" if stop > start else "n/a", label)
            for start, stop, label in rows
        ),
        column=column,
    )
    outcome = labelled(folder, tsv=text)
    check_outcome(outcome)
    if outcome.reason is None:
        for start, stop, label in rows:
            check_row(outcome, start, stop, label)


def check_row(outcome: RecordingLabels, start: float, stop: float, label: str) -> None:
    meaning = DEFAULT_TEXTS.meaning(label)[0]
    if meaning in (Meaning.SEIZURE, Meaning.UNKNOWN):
        assert is_covered(outcome, start, round(stop, 4) - 1e-3), (start, stop, label)
    elif meaning is Meaning.ONSET:
        assert is_covered(outcome, start, start), (start, label)
    elif meaning is Meaning.UNCLEAR and start < SIGNAL_S:
        assert any(e.start <= start <= e.stop for e in outcome.events), (start, label)
    elif meaning is Meaning.END:
        # An end may be noted once more within a second.
        end = min(start, SIGNAL_S)
        assert any(e.start < end <= e.stop + 1 for e in outcome.events) or start == 0, start


def tal_bytes(onset: float, length: float, *texts: str) -> bytes:
    duration = f"\x15{length:.4f}" if length else ""
    return f"{onset:+.4f}{duration}\x14{''.join(text + chr(20) for text in texts)}\0".encode()


@examples(200)
@given(rows=bids_rows(), first=st.sampled_from([0.0, 0.753, -0.25, 12.0]), data=st.data())
def test_no_annotation_of_a_seizure_in_an_edf_becomes_background(
    rows: list[tuple[float, float, str]], first: float, data: st.DataObject
) -> None:
    records = [[tal_bytes(first + number, 0, "")] for number in range(4)]
    for start, stop, label in rows:
        number = data.draw(st.integers(0, 3))
        records[number][0] += tal_bytes(first + start, stop - start, label)
    parsed = tal.parse(records, "x.edf:annotations", DEFAULT_TEXTS)
    if parsed is None:
        assert all(DEFAULT_TEXTS.meaning(row[2])[0] not in SPEAKS for row in rows)
        return
    outcome = RecordingLabels.of(on_signal(parsed, SIGNAL_S), "edf_annotations", SIGNAL_S)
    check_outcome(outcome)
    if outcome.reason is None:
        for start, stop, label in rows:
            check_row(outcome, start, stop, label)


SPEAKS = (Meaning.ONSET, Meaning.END, Meaning.SEIZURE)

lines = st.lists(
    st.lists(
        st.one_of(times.map(str), odd, kinds, free, st.just("TERM"), st.text(max_size=5)),
        max_size=8,
    ),
    max_size=8,
)


@examples(200)
@given(cells=lines, noise=st.binary(max_size=60), at=st.integers(0, 400), cut=st.integers(0, 400))
def test_any_bytes_of_an_annotation_file_have_an_outcome(
    tmp_path_factory: pytest.TempPathFactory,
    cells: list[list[str]],
    noise: bytes,
    at: int,
    cut: int,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-bytes"
    good = {
        "x.csv_bi": HEAD.format(duration=SIGNAL_S),
        "x.csv": HEAD.format(duration=SIGNAL_S),
        "x_events.tsv": "onset\tduration\ttrial_type\tconfidence\tchannels\n",
    }
    for chosen in (("x.csv_bi",), ("x.csv_bi", "x.csv"), ("x_events.tsv",), ("x.csv",)):
        labelled(folder)
        for name in chosen:
            separator = "\t" if name.endswith("tsv") else ","
            text = good[name] + "".join(separator.join(row) + "\n" for row in cells)
            content = text.encode("utf-8", "surrogatepass")
            spoilt = content[:at] + noise + content[at:]
            (folder / name).write_bytes(spoilt[: max(0, len(spoilt) - cut)] if cut < 40 else spoilt)
        layout = FolderLayout(folder)
        outcome = layout.read_labels(layout.describe_path(folder / "x.edf"), SIGNAL_S)
        check_outcome(outcome)
        if "x.csv_bi" not in chosen and chosen == ("x.csv",):
            assert outcome.reason == "no_annotation"


@examples(200)
@given(
    records=st.lists(
        st.lists(
            st.binary(max_size=40)
            | st.builds(tal_bytes, times, st.sampled_from([0.0, 3.5]), free, free)
            | st.lists(
                st.sampled_from([b"+1", b"-3", b"\x14", b"\x15", b"\0", b"onset", b"sz"])
            ).map(b"".join),
            max_size=3,
        ),
        max_size=4,
    )
)
def test_any_bytes_of_annotation_signals_have_an_outcome(records: list[list[bytes]]) -> None:
    parsed = tal.parse(records, "x.edf:annotations", DEFAULT_TEXTS)
    if parsed is not None:
        check_outcome(RecordingLabels.of(on_signal(parsed, SIGNAL_S), "edf_annotations", SIGNAL_S))


@pytest.mark.parametrize("seconds", [12, 13])
def test_the_annotation_signals_are_read_whole(tmp_path: Path, seconds: int) -> None:
    """As another reader reads them."""
    path = annotated_edf(
        tmp_path / "x.edf",
        *((n * 0.75, None if n % 2 else 1.5, f"note {n}") for n in range(12)),
        seconds=seconds,
    )
    texts = [
        text
        for record in annotation_records(LocalEdf(path))
        for content in record
        for entry in content.split(b"\0")
        if entry
        for text in entry.split(b"\x14")[1:]
        if text
    ]
    assert [text.decode() for text in texts] == [a.text for a in edfio.read_edf(path).annotations]


def test_a_garbled_annotation_beside_a_seizure_excludes() -> None:
    records = [[b"+0\x14\x14\0+5\x15\x14sz\x14\0", b"+9\x14offset\x14\0seizure st\0"]]
    parsed = tal.parse(records, "x.edf:annotations", DEFAULT_TEXTS)
    assert parsed is not None
    assert parsed.events == (Event(5, 9),)
    assert parsed.findings == (
        Finding("malformed_row", "x.edf:annotations:1", "not an annotation list"),
    )
    assert not parsed.usable
    mine = Texts(AnnotationTexts(onset=("anfall",)))
    assert mine.digest != DEFAULT_TEXTS.digest
    assert tuh.parse("", "a.csv").usable is False
