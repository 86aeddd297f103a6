"""What a run writes down of events, read back and scored by the same rules, gives its counts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.annotation import Event, tuh
from brainbrr_core.annotation import szcore as szcore_file
from brainbrr_core.annotation.times import duration_to, seconds_text
from brainbrr_core.configuration import Detection
from brainbrr_core.detection import detect
from brainbrr_core.evaluation.facts import ThresholdChoice
from brainbrr_core.evaluation.score import Scoring, score
from brainbrr_core.evaluation.tables import write_tables
from brainbrr_core.prediction.formats import FORMATS, Origin
from brainbrr_core.prediction.recording import Prediction
from brainbrr_core.scoring import (
    Counts,
    OperatingPoint,
    RecordingEvents,
    ScoredRecording,
    nedc,
    szcore,
    total,
)
from brainbrr_core.signal.statistics import Statistics
from tests.support.examples import examples
from tests.support.tables import rows_of

POINT = OperatingPoint(0.6, 0.5)
ORIGIN = Origin("run", "v1", POINT, "the whole recording's")
RULES = ("ovlp", "taes", "taes_exact", "epoch", "alignment")


def counted(pairs: list[RecordingEvents]) -> dict[str, Counts]:
    """Counts of all rules, by the names that results have."""
    events, others = (
        [szcore.score_recording(p) for p in pairs],
        [nedc.score_recording(p) for p in pairs],
    )
    found = {
        "szcore_event": total(part.event for part in events),
        "szcore_sample": total(part.sample for part in events),
    }
    for rule in RULES:
        by_label = [getattr(part, rule) for part in others]
        found[f"nedc_{rule}"] = total(part.seiz for part in by_label)
        found[f"nedc_{rule}_bckg"] = total(part.bckg for part in by_label)
        found[f"nedc_{rule}_total"] = total(part.total for part in by_label)
    return found


def a_run(seed: int) -> Scoring:
    """Detections that are cut in thirds of a second, at the recording's end, in unknown time."""
    generator = np.random.default_rng(seed)
    settings = Detection(max_duration_s=7.0, min_duration_s=1.0, smooth_s=0.0)
    recordings = []
    for number in range(6):
        duration_s = 611 + generator.integers(0, 256) / 256
        frames = np.repeat(generator.random(math.ceil(duration_s / 5)), 40).astype(np.float32)
        frames = frames[: math.ceil(duration_s * 8)]
        edges = np.sort(generator.uniform(0, duration_s, 8)).tolist()
        recordings.append(
            ScoredRecording(
                str(number % 3),
                duration_s,
                tuple(Event(a, b, "fnsz") for a, b in zip(edges[:3:2], edges[1:4:2], strict=True)),
                frames,
                ((edges[4], edges[5]), (edges[6], edges[7])),
                hypothesis=tuple(detect(frames, duration_s, settings, POINT)),
                partition_key=f"dev/{number % 3}/t{number}",
                montage="01_tcp_ar",
            )
        )
    return score(
        recordings,
        split="dev",
        threshold=ThresholdChoice(POINT, "dev"),
        provenance={},
        bootstrap_samples=100,
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_tables_of_a_report_score_as_the_report_does(tmp_path: Path, seed: int) -> None:
    scoring = a_run(seed)
    write_tables(tmp_path, scoring.results, scoring.statistics)

    def events(name: str, key: str) -> tuple[Event, ...]:
        return tuple(
            Event(float(row["start_s"]), float(row["stop_s"]))
            for row in rows_of(tmp_path / f"{name}.csv")
            if row["partition_key"] == key
        )

    read = [
        RecordingEvents(
            row["patient"],
            float(row["duration_s"]),
            events("seizures", row["partition_key"]),
            events("detections", row["partition_key"]),
            unknown=tuple((e.start, e.stop) for e in events("unknown_time", row["partition_key"])),
        )
        for row in rows_of(tmp_path / "recordings.csv")
    ]
    assert counted(read) == scoring.results.counts
    # Of the detections, what lies in unknown time is marked, and no more.
    detections = rows_of(tmp_path / "detections.csv")
    assert any(row["in_unknown_time"] == "true" for row in detections)
    assert not any(row["in_unknown_time"] == row["false_alarm"] == "true" for row in detections)


def of_csv_bi(content: bytes) -> tuple[list[Event], float]:
    parsed = tuh.parse(content.decode(), "a.csv_bi")
    assert parsed.usable and parsed.duration_s is not None
    return list(parsed.events), parsed.duration_s


def of_tsv(content: bytes) -> tuple[list[Event], float]:
    parsed = szcore_file.parse(content.decode(), "a.tsv")
    assert parsed.duration_s is not None
    return list(parsed.events), parsed.duration_s


def of_json(content: bytes) -> tuple[list[Event], float]:
    values = json.loads(content)
    events = [Event(e["onset_s"], e["onset_s"] + e["duration_s"]) for e in values["events"]]
    return events, values["duration_s"]


def of_edf(content: bytes) -> tuple[list[Event], float]:
    *events, end = edfio.read_edf(content).annotations
    assert end.text == "Recording ends"
    return [Event(e.onset, e.onset + (e.duration or 0.0)) for e in events], end.onset


@pytest.mark.parametrize(
    ("name", "read"), [("csv_bi", of_csv_bi), ("tsv", of_tsv), ("json", of_json), ("edf", of_edf)]
)
def test_predictions_in_files_score_as_they_did(
    name: str, read: Callable[[bytes], tuple[list[Event], float]]
) -> None:
    for seed in range(5):
        scoring = a_run(seed)
        again = []
        for row in scoring.results.recordings:
            prediction = Prediction(
                list(row.hypothesis),
                row.duration_s,
                None,
                (),
                Statistics(np.zeros(19), np.ones(19)),
                np.zeros(math.ceil(row.duration_s * 8), np.float32),
            )
            found, duration_s = read(FORMATS[name].encode(prediction, "name", ORIGIN))
            if name == "edf":
                found = _to_the_picosecond(found, row.hypothesis)
            assert [(e.start, e.stop) for e in found] == [(e.start, e.stop) for e in row.hypothesis]
            again.append(
                RecordingEvents(
                    row.patient, duration_s, row.reference, tuple(found), unknown=row.unknown
                )
            )
        assert counted(again) == scoring.results.counts


def _to_the_picosecond(found: list[Event], written: tuple[Event, ...]) -> list[Event]:
    """The written events, where those of an EDF+ are the same but for the library's rounding."""
    for read, event in zip(found, written, strict=True):
        assert (read.start, read.stop) == pytest.approx((event.start, event.stop), abs=2e-12)
    return list(written)


@examples(300)
@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_written_time_reads_as_itself(one: float, other: float) -> None:
    start, stop = sorted((one, other))
    assert float(seconds_text(start)) == start and "e" not in seconds_text(start)
    read = start + float(seconds_text(duration_to(start, stop)))
    assert abs(read - stop) <= math.ulp(stop)
    # No other duration comes closer.
    around = (math.nextafter(stop - start, end) for end in (0.0, math.inf))
    assert abs(read - stop) == 0 or all(start + other != stop for other in around)


@examples(300)
@given(st.integers(0, 8 * 10**6), st.integers(1, 8 * 10**6), st.integers(1, 9), st.integers(0, 8))
def test_a_piece_of_a_cut_event_ends_where_it_did(
    first: int, frames: int, parts: int, number: int
) -> None:
    length = frames / 8 / parts
    start = first / 8 + min(number, parts - 1) * length
    stop = first / 8 + min(number + 1, parts) * length
    assert abs(start + duration_to(start, stop) - stop) <= math.ulp(stop)
    # Whole frames, and what is cut at a recording's end, are always exact.
    edge = (first * 32 + frames) / 256
    assert first / 8 + duration_to(first / 8, edge) == edge


def test_times_look_as_they_did_where_they_need_no_more_digits() -> None:
    assert [seconds_text(value) for value in (0, 1.5, 600, 1 / 256, 1e-7)] == [
        *("0.0000", "1.5000", "600.0000", "0.00390625", "0.0000001")
    ]
