"""Folders with events of a reference and of a detector: which files match, and what is scored."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from brainbrr_core.annotation import Event, szcore, tuh
from brainbrr_core.annotation.edf_plus import format_edf_plus
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.event_files import Unmatched, match_events
from brainbrr_core.evaluation.event_scores import EventScores, score_events
from brainbrr_core.evaluation.facts import ThresholdChoice
from brainbrr_core.evaluation.score import score
from brainbrr_core.scoring import OperatingPoint, RecordingEvents, ScoredRecording
from tests.support.edf_files import restamp, write_edf
from tests.support.shell import Shell
from tests.support.tables import rows_of

START = datetime.datetime(2012, 3, 4, 5, 6, 7)
#: Seizures and detections of three recordings of 600 s, of two patients.
TRUE = {
    "aaaaaaaa_s001_t000": [(100, 160)],
    "aaaaaaaa_s001_t001": [],
    "aaaaaaab_s001_t000": [(9, 80)],
}
DETECTED = {
    "aaaaaaaa_s001_t000": [(110, 150)],
    "aaaaaaaa_s001_t001": [(300, 330)],
    "aaaaaaab_s001_t000": [],
}


def events(spans: Sequence[tuple[float, float]]) -> list[Event]:
    return [Event(start, stop, "seiz") for start, stop in spans]


def write(folder: Path, name: str, spans: Sequence[tuple[float, float]], form: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if form == "edf":
        (folder / f"{name}.edf").write_bytes(format_edf_plus(events(spans), 600.0, START))
    elif form == "tsv":
        (folder / f"{name}_events.tsv").write_text(szcore.format_tsv(events(spans), 600.0, START))
    elif form == "tse_bi":
        edges = [0.0, *(edge for span in spans for edge in span), 600.0]
        labels = ["bckg", "seiz"] * len(edges)
        rows = [
            f"{start:.4f} {stop:.4f} {label} 1.0000"
            for (start, stop), label in zip(pairwise(edges), labels, strict=False)
        ]
        (folder / f"{name}.tse_bi").write_text("version = tse_v1.0.0\n\n" + "\n".join(rows) + "\n")
    else:
        (folder / f"{name}.csv_bi").write_text(tuh.format_csv_bi(events(spans), 600.0, name))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A tree of TUSZ's form."""
    for name, spans in TRUE.items():
        write(tmp_path / "ref" / name.split("_")[0] / "s001_2012", name, spans, "csv_bi")
    return tmp_path / "ref"


def direct(patients: dict[str, str] | None = None) -> EventScores:
    """The scores of the same events without files."""
    return score_events(
        [
            RecordingEvents(
                (patients or {}).get(name, name.split("_")[0]),
                600.0,
                tuple(events(TRUE[name])),
                tuple(events(DETECTED[name])),
                name,
            )
            for name in TRUE
        ]
    )


@pytest.mark.parametrize("form", ["csv_bi", "tsv", "tse_bi", "edf"])
def test_detections_in_any_format_and_arrangement_give_the_same_scores(
    reference: Path, tmp_path: Path, form: str
) -> None:
    for name, spans in DETECTED.items():
        write(tmp_path / "hyp", name, spans, form)
    matched = match_events(reference, tmp_path / "hyp")
    scores = score_events(matched.recordings)
    assert matched.without_hypothesis == matched.without_reference == ()
    assert [row.partition_key.rpartition("/")[2] for row in scores.recordings] == sorted(TRUE)
    assert scores.counts == direct().counts
    # NaN is equal to nothing, but is written the same.
    assert {n: str(e) for n, e in scores.estimates.items()} == {
        n: str(e) for n, e in direct().estimates.items()
    }
    # Worked by hand: one of two seizures detected, one false alarm in half an hour.
    assert asdict(scores.counts["nedc_ovlp"]) == {
        "reference": 2.0,
        "detected": 1.0,
        "false": 1.0,
        "seconds": 1800.0,
        "false_unit": 1.0,
    }
    assert scores.estimates["nedc_ovlp.false_per_day"].value == 48
    assert scores.estimates["latency.median_s"].value == 10
    assert (scores.patients, scores.hours, len(scores.outcomes)) == (2, 0.5, 2)


def test_szcore_tolerates_what_overlap_misses(tmp_path: Path) -> None:
    write(tmp_path / "ref", "a", [(100, 130)], "csv_bi")
    write(tmp_path / "hyp", "a", [(75, 85)], "tsv")
    scores = score_events(match_events(tmp_path / "ref", tmp_path / "hyp").recordings)
    assert scores.counts["szcore_event"].detected == 1
    assert scores.counts["szcore_event"].false == 0
    assert scores.counts["nedc_ovlp"].detected == 0
    assert scores.counts["nedc_ovlp"].false == 1


def test_the_figures_are_those_of_an_evaluation_of_the_same_events() -> None:
    rng = np.random.default_rng(0)
    pairs, scored = [], []
    for number in range(6):
        edges = np.sort(rng.choice(900, 8, replace=False)).astype(float)
        true, detected = (
            events([tuple(edges[:2]), tuple(edges[4:6])]),
            events([tuple(edges[1:5:3])]),
        )
        name, patient = f"r{number}", f"p{number % 3}"
        pairs.append(RecordingEvents(patient, 900.0, tuple(true), tuple(detected), name))
        scored.append(
            ScoredRecording(
                patient,
                900.0,
                tuple(true),
                rng.normal(size=7200).astype(np.float32),
                hypothesis=tuple(detected),
                partition_key=name,
            )
        )
    choice = ThresholdChoice(OperatingPoint(0.0, -1.0), None)
    evaluated = score(scored, split="dev", threshold=choice, provenance={}).results
    alone = score_events(reversed(pairs))
    # As text, since NaN, the latency of a seizure that was missed, equals nothing.
    assert str(alone.outcomes) == str(evaluated.outcomes)
    assert alone.counts == evaluated.counts
    assert set(alone.counts) > {
        "szcore_event",
        "szcore_sample",
        "nedc_taes",
        "nedc_alignment_total",
    }
    for name, estimate in alone.estimates.items():
        assert str(estimate) == str(evaluated.estimates[name]), name
    assert "szcore_event_subject_mean.f1" in alone.estimates
    assert not [name for name in alone.estimates if name.startswith(("seconds", "reliability"))]
    of_one = score_events(pairs, rules=["szcore"])
    assert {name.partition("_")[0] for name in of_one.counts} == {"szcore"}


@pytest.mark.parametrize(
    ("names", "pattern", "patients"),
    [
        (["x/a", "x/b", "y/a"], None, ["x", "x", "y"]),
        (["sub-01_ses-01_task-x_run-00", "sub-02_run-1"], None, ["sub-01", "sub-02"]),
        (["one", "two"], None, ["one", "two"]),
        (["p7_night1", "p7_night2"], r"^(p\d+)_", ["p7", "p7"]),
    ],
)
def test_patients_follow_from_the_names(
    tmp_path: Path, names: list[str], pattern: str | None, patients: list[str]
) -> None:
    for side in ("ref", "hyp"):
        for name in names:
            folder, _, stem = name.rpartition("/")
            write(tmp_path / side / folder, stem, [(1, 20)], "tsv")
    matched = match_events(tmp_path / "ref", tmp_path / "hyp", patient_pattern=pattern)
    assert [recording.subject for recording in matched.recordings] == patients


def test_a_recording_of_one_folder_is_refused_skipped_or_without_detections(
    reference: Path, tmp_path: Path
) -> None:
    lost, hypothesis = "aaaaaaab_s001_t000", tmp_path / "hyp"
    for name in ("aaaaaaaa_s001_t000", "aaaaaaaa_s001_t001", "other"):
        write(hypothesis, name, DETECTED.get(name, []), "csv_bi")
    with pytest.raises(BrainbrrError, match=rf"{lost}: no event file in .*hyp.*--unmatched"):
        match_events(reference, hypothesis)
    skipped = match_events(reference, hypothesis, unmatched=Unmatched.SKIP)
    assert [name.rpartition("/")[2] for name in skipped.without_hypothesis] == [lost]
    assert skipped.without_reference == ("other",)
    assert score_events(skipped.recordings).counts["nedc_ovlp"].reference == 1
    empty = score_events(match_events(reference, hypothesis, unmatched=Unmatched.EMPTY).recordings)
    assert empty.counts == direct().counts


def test_time_that_a_reference_calls_neither_is_not_counted(tmp_path: Path) -> None:
    table = szcore.format_tsv(events([(50, 90)]), 600.0, START)
    (tmp_path / "ref_events.tsv").write_text(table)
    # An onset without an end: what follows is unknown until the end of the recording.
    (tmp_path / "ref.tsv").write_text(
        "onset\tduration\ttrial_type\trecordingDuration\n300\t0\tseizure onset\t600\n"
    )
    write(tmp_path, "hyp", [(310, 320)], "csv_bi")
    [recording] = match_events(tmp_path / "ref.tsv", tmp_path / "hyp.csv_bi").recordings
    assert recording.unknown == ((300.0, 600.0),)
    assert score_events([recording]).unknown_s == 300
    assert score_events([recording]).counts["nedc_ovlp"].false == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "# duration = 600 secs\nchannel,start_time\n",
            "cannot be scored: the row with the column names is missing or different .*correct",
        ),
        (
            "# duration = 600 secs\nchannel,start_time,stop_time,label,confidence\n",
            "cannot be scored: the file has no rows.*row of background, or no file .*--unmatched",
        ),
        (tuh.format_csv_bi(events([(590, 700)]), 600.0, "a"), "cannot be scored: .*event_outside"),
        (tuh.format_csv_bi(events([(1, 9)]), 500.0, "a"), "cannot be scored: .*duration_contra"),
        (tuh.format_csv_bi(events([(1, 9)]), 600.4, "a"), "the hypothesis is 600.4 s long, the"),
    ],
)
def test_a_file_that_cannot_be_scored_is_named(tmp_path: Path, content: str, message: str) -> None:
    write(tmp_path / "ref", "a", [(1, 9)], "csv_bi")
    (tmp_path / "hyp").mkdir()
    (tmp_path / "hyp" / "a.csv_bi").write_text(content)
    with pytest.raises(BrainbrrError, match=f"a.*{message}"):
        score_events(match_events(tmp_path / "ref", tmp_path / "hyp").recordings)


def annotated_edf(path: Path, *texts: str) -> None:
    import edfio

    rows = [edfio.EdfAnnotation(10.0 * n, 5.0, text) for n, text in enumerate(texts, start=1)]
    path.parent.mkdir(exist_ok=True)
    edfio.Edf([], annotations=rows).write(path)


def test_texts_of_a_detector_are_understood_or_refused_but_never_ignored(tmp_path: Path) -> None:
    write(tmp_path / "ref", "a", [(10, 15)], "csv_bi")
    hypothesis = tmp_path / "hyp" / "a.edf"

    def detected(*texts: str) -> list[tuple[float, float]]:
        reference = tmp_path / "ref" / "a.csv_bi"
        [recording] = match_events(reference, hypothesis, seizure_texts=texts).recordings
        return [(event.start, event.stop) for event in recording.hypothesis]

    annotated_edf(hypothesis, "Seizure", "fnsz", "movement of Jane")
    assert detected() == [(10, 15), (20, 25)]
    annotated_edf(hypothesis, "paroxysm 0.9", "movement of Jane")
    with pytest.raises(BrainbrrError, match=r"2 annotations, and none .*--seizure-text") as refused:
        detected()
    assert "Jane" not in str(refused.value)
    assert detected(r"paroxysm [\d.]+") == [(10, 15)]
    annotated_edf(hypothesis, "seizure", "seizure-like burst!")
    with pytest.raises(BrainbrrError, match="may or may not be a detection"):
        detected()
    with pytest.raises(BrainbrrError, match="not a regular expression"):
        detected("(")


def test_the_length_may_come_from_the_edf_next_to_the_reference(tmp_path: Path) -> None:
    import edfio

    reference = tmp_path / "sub-1_events.tsv"
    reference.write_text("onset\tduration\ttrial_type\n10\t5\tseizure\n")
    write(tmp_path / "hyp", "sub-1", [(11, 12)], "edf")
    with pytest.raises(BrainbrrError, match=r"neither the reference nor the hypothesis says how"):
        match_events(reference, tmp_path / "hyp" / "sub-1.edf")
    edfio.Edf([edfio.EdfSignal(np.zeros(256 * 42), 256)]).write(tmp_path / "sub-1_eeg.edf")
    [recording] = match_events(reference, tmp_path / "hyp" / "sub-1.edf").recordings
    assert recording.duration_s == 42


def test_the_command_prints_writes_and_refuses(
    shell: Shell, reference: Path, tmp_path: Path
) -> None:
    for name, spans in DETECTED.items():
        write(tmp_path / "hyp", name, spans, "edf")
    words = ("score", reference, tmp_path / "hyp")
    done = shell.type(*words, "--json", "--out", tmp_path / "out")
    printed, expected = json.loads(done.stdout), direct()
    assert printed["seizures"] == 2
    f1 = printed["figures"]["szcore_event.f1"]
    assert f1["value"] == expected.estimates["szcore_event.f1"].value
    rows = rows_of(tmp_path / "out" / "recordings.csv")
    assert [(row["patient"], row["nedc_ovlp_detected"]) for row in rows] == [
        ("aaaaaaaa", "1"),
        ("aaaaaaaa", "0"),
        ("aaaaaaab", "0"),
    ]
    text = shell.type(*words, "--rules", "nedc").stdout
    assert "szcore" not in text
    assert re.search(r"nedc ovlp +│ +0\.500 │ +0\.500 │ 0\.500 │ +48\.0", text)
    assert "3 recordings, 2 patients, 0.50 h, 2 seizures" in text
    assert "none does not exist" in shell.refused("score", reference, tmp_path / "none")


def test_recordings_in_linked_folders_are_scored(reference: Path, tmp_path: Path) -> None:
    detections = tmp_path / "detections"
    for name, spans in DETECTED.items():
        write(detections / name.split("_")[0] / "s001_2012", name, spans, "tsv")
    for folder in (reference, detections):
        elsewhere = tmp_path / f"moved-{folder.name}"
        (folder / "aaaaaaab").rename(elsewhere)
        (folder / "aaaaaaab").symlink_to(elsewhere)
    matched = match_events(reference, detections)
    assert [one.name.rpartition("/")[2] for one in matched.recordings] == sorted(TRUE)


def test_two_files_of_one_recording_in_one_form_are_refused(
    reference: Path, tmp_path: Path
) -> None:
    detections = tmp_path / "detections"
    for name, spans in DETECTED.items():
        write(detections, name, spans, "tsv")
    # As another program, or an earlier call, leaves it.
    other = detections / f"{min(TRUE)}.tsv"
    other.write_text(szcore.format_tsv(events([(500, 560)]), 600.0, START))
    with pytest.raises(BrainbrrError, match=r"are both the events of .*_t000: keep one of them"):
        match_events(reference, detections)


def test_annotations_are_read_and_not_the_edf_that_they_are_about(
    reference: Path, tmp_path: Path
) -> None:
    detections = tmp_path / "detections"
    for name, spans in DETECTED.items():
        write(detections, f"{name}.annotations", spans, "edf")
        # The recorder's own events; which of the two a folder lists first must not matter.
        write(detections, name, [(1, 599)], "edf")
    matched = match_events(reference, detections)
    assert [[(e.start, e.stop) for e in one.hypothesis] for one in matched.recordings] == [
        DETECTED[name] for name in TRUE
    ]


@pytest.mark.parametrize("unmatched", list(Unmatched))
def test_a_table_that_is_not_understood_is_not_a_recording_without_detections(
    reference: Path, tmp_path: Path, unmatched: Unmatched
) -> None:
    lost, detections = "aaaaaaab_s001_t000", tmp_path / "hyp"
    for name in TRUE.keys() - {lost}:
        write(detections, name, DETECTED[name], "tsv")
    table = detections / "night" / f"{lost}_events.tsv"
    table.parent.mkdir()
    table.write_text("Onset\tDuration\tEvent\n100\t10\tseizure\n")
    # Tables of other content do not belong to a recording.
    (detections / "participants.tsv").write_text("participant_id\tage\nsub-01\t4\n")
    with pytest.raises(BrainbrrError, match=rf"{lost}_events.tsv is not read: .* onset, duration"):
        match_events(reference, detections, unmatched=unmatched)
    for path in detections.glob("aaaa*"):
        path.unlink()
    with pytest.raises(BrainbrrError, match=r"has no event file: .*\.tsv is not read: .* onset"):
        match_events(reference, detections, unmatched=unmatched)
    write(detections, lost, DETECTED[lost], "tsv")
    table.unlink()
    if unmatched is not Unmatched.REFUSE:
        match_events(reference, detections, unmatched=unmatched)


def test_a_reference_without_its_table_of_events_names_it(reference: Path, tmp_path: Path) -> None:
    for name, spans in DETECTED.items():
        write(tmp_path / "hyp", name, spans, "csv_bi")
    [annotated] = reference.rglob("aaaaaaab_*")
    annotated.with_suffix(".tsv").write_text("onset\tduration\n9\t71\n")
    annotated.unlink()
    with pytest.raises(BrainbrrError, match=r"ref/.*aaaaaaab_s001_t000.tsv is not read"):
        match_events(reference, tmp_path / "hyp", unmatched=Unmatched.SKIP)


@pytest.mark.parametrize("unmatched", [Unmatched.SKIP, Unmatched.EMPTY])
def test_files_that_are_called_otherwise_are_not_scored_as_without_detections(
    reference: Path, tmp_path: Path, unmatched: Unmatched
) -> None:
    for name, spans in DETECTED.items():
        write(tmp_path / "hyp", f"detector_{name}", spans, "csv_bi")
    with pytest.raises(BrainbrrError, match="have no recording in common: name the files of both"):
        match_events(reference, tmp_path / "hyp", unmatched=unmatched)


def test_the_length_comes_from_the_signals_and_not_from_annotations_next_to_them(
    tmp_path: Path,
) -> None:
    write(tmp_path / "ref", "a.annotations", [(1, 9)], "edf")
    hypothesis = tmp_path / "a.tsv"
    hypothesis.write_text("onset\tduration\teventType\n2\t3\tsz\n")
    write_edf(tmp_path / "ref" / "a.edf", seconds=42)
    reference = tmp_path / "ref" / "a.annotations.edf"
    [recording] = match_events(reference, hypothesis).recordings
    assert recording.duration_s == 42


@pytest.mark.parametrize("kind", [b"EDF+D", b"EDF+C", b""])
def test_times_of_an_edf_with_gaps_are_not_scored(tmp_path: Path, kind: bytes) -> None:
    """With the gap, the event is in the second minute; without it, in the first."""
    reference = tmp_path / "sub-1_events.tsv"
    reference.write_text("onset\tduration\ttrial_type\n30\t5\tseizure\n")
    write(tmp_path / "hyp", "sub-1", [(30, 35)], "edf")
    edf = write_edf(tmp_path / "sub-1_eeg.edf", seconds=60, stamped=True)
    hypothesis = tmp_path / "hyp" / "sub-1.edf"
    assert match_events(reference, hypothesis).recordings[0].duration_s == 60
    restamp(edf, kind, [f"+{number if number < 20 else number + 30}" for number in range(60)])
    with pytest.raises(BrainbrrError, match=r"_eeg.edf has events whose times are ambig.*30 s"):
        match_events(reference, hypothesis)


def test_rows_that_state_two_lengths_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "ref", "a", [(1, 9)], "csv_bi")
    write(tmp_path / "hyp", "a", [(1, 9), (300, 330)], "tsv")
    table = tmp_path / "hyp" / "a_events.tsv"
    first, second, third = table.read_text().splitlines()
    table.write_text("\n".join([first, second, third.replace("\t600.0000", "\t900.0000")]))
    with pytest.raises(BrainbrrError, match=r"a_events.tsv:3: .*900.00 s, line 2 600.00 s"):
        match_events(tmp_path / "ref", tmp_path / "hyp")


def test_a_tse_of_seizures_alone_does_not_say_how_long_the_recording_is(tmp_path: Path) -> None:
    (tmp_path / "a.tse").write_text("version = tse_v1.0.0\n\n100.0 130.0 seiz 1.0\n")
    (tmp_path / "a.tsv").write_text("onset\tduration\teventType\n100\t30\tsz\n")
    with pytest.raises(BrainbrrError, match="neither the reference nor the hypothesis says"):
        match_events(tmp_path / "a.tse", tmp_path / "a.tsv")
