"""Annotations inside an EDF+ file as labels of its recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brainbrr_core.annotation import UNKNOWN, Event, on_signal, tal
from brainbrr_core.annotation.policy import ANNOTATION_FINDINGS
from brainbrr_core.annotation.texts import DEFAULT_TEXTS
from brainbrr_core.configuration import Overrides, Preprocessing, load
from brainbrr_core.configuration.settings import AnnotationTexts
from brainbrr_core.corpus.changes import changes
from brainbrr_core.corpus.index import scan
from brainbrr_core.corpus.index_file import index_path, read_index, update_index
from brainbrr_core.corpus.layouts.base import RecordingLabels
from brainbrr_core.corpus.summary import summarize
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.inspection.colors import event_colors
from brainbrr_core.inspection.inspection import inspect_recording
from tests.support.annotation_files import (
    FOLDER,
    SIGNAL_S,
    annotated_edf,
    codes,
    events_tsv,
    one,
    table,
    tal_bytes,
)
from tests.support.shell import Shell


def test_an_edf_without_an_annotation_file_is_labeled_by_its_own_annotations(
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
    # With an annotation file, those inside the EDF are ignored.
    (tmp_path / "x.csv_bi").write_text(table([("TERM", 0, 60, "bckg")], 60))
    beside = one(tmp_path)
    assert (beside.label_source, beside.events) == ("csv_bi", ())


def test_annotations_that_do_not_mention_seizures_are_not_labels(tmp_path: Path) -> None:
    annotated_edf(tmp_path / "x.edf", (3, None, "eyes open"), (5, 10, "unknown"), (6, 0, "bckg"))
    annotated_edf(tmp_path / "y.edf", (3, None, "maybe a seizure"))
    annotated_edf(tmp_path / "z.edf")
    for recording in scan(tmp_path, corpus=FOLDER):
        assert (recording.reason, recording.events) == ("no_annotation", ()), recording


def test_times_of_annotations_are_relative_to_the_first_sample(tmp_path: Path) -> None:
    path = annotated_edf(
        tmp_path / "x.edf", (5, None, "onset"), (20, None, "offset"), subsecond=753_000
    )
    # The times in the file are relative to the stamps, of which the first is 0.753 s.
    assert b"+5.753\x14onset" in path.read_bytes()
    assert one(tmp_path).events == (Event(5, 20),)


def test_a_seizure_before_the_first_sample_excludes() -> None:
    """An onset slightly before the first sample is rounding."""
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


def test_unknown_intervals_do_not_have_the_color_of_a_seizure() -> None:
    events = [Event(1, 2, "fnsz"), Event(3, 4, "zzsz")]
    before = event_colors(events)
    colors = event_colors([Event(0, 1, UNKNOWN), *events])
    assert colors.pop(UNKNOWN) not in before.values()
    assert colors == before


def test_an_end_without_an_onset_is_not_background(tmp_path: Path) -> None:
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


def test_changed_patterns_are_applied_without_hashing(
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
    # A recording whose annotation file has a fixed vocabulary is not read again.
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


def test_index_list_and_inspect_show_the_same_events(tmp_path: Path, shell: Shell) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    path = annotated_edf(data / "x" / "x.edf", (5.5, None, "onset"), (20, None, "offset"))
    # Without an index, the file itself is read.
    assert inspect_recording(path, Preprocessing()).events == (Event(5.5, 20),)
    annotated_edf(data / "y" / "y.edf", (5, None, "onset"), seed=1)
    arguments = ("index", "--data-dir", data, "--layout", "folder", "--cache-root", cache)
    lines = [line.split("\t") for line in shell.type(*arguments, "--list").stdout.splitlines()]
    rows = {line[0]: line[1:] for line in lines if len(line) > 1}
    assert rows["recording"] == [
        *("split", "status", "reason", "seconds", "seizures", "findings", "events")
    ]
    assert rows["x/x"][-1] == "5.5 to 20 s seiz"
    # Unknown intervals are not counted as seizures.
    assert (rows["y/y"][-3], rows["y/y"][-1]) == ("0", "5 to 60 s unknown")
    counts = json.loads(shell.type(*arguments, "--list", "--json").stdout)
    assert [row["events"] for row in counts["recordings"]] == [
        [[5.5, 20.0, "seiz"]],
        [[5.0, 60.0, "unknown"]],
    ]
    assert counts["usable_seizures"] == 1
    # In hours, to four decimals.
    assert counts["usable_seizure_hours"] == round(14.5 / 3600, 4)
    seen = read_index(cache).by_key()
    assert (seen["x/x"].seizure_s, seen["y/y"].seizure_s) == (14.5, 0)


def test_an_invalid_regular_expression_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("corpus:\n  annotation_texts:\n    onset: ['(start']\n")
    with pytest.raises(BrainbrrError, match="is no regular expression") as error:
        load(Overrides(config=f"smoke:cpu:{path}"), environment={})
    assert "corpus.annotation_texts.onset" in str(error.value)
    assert "\n" not in str(error.value)
