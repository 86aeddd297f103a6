"""Types from the ``csv`` next to a ``csv_bi``: contradictions exclude the recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from brainbrr_core.annotation import Event
from tests.support.annotation_files import (
    SIGNAL_S,
    Row,
    codes,
    labels_from,
    table,
    whole,
)


def test_a_seizure_that_only_the_csv_has_excludes_the_recording(tmp_path: Path) -> None:
    typed = table([("FP1-F7", 100, 140, "fnsz"), ("F7-T3", 105, 140, "fnsz")])
    only = labels_from(tmp_path, csv_bi=whole(), csv=typed)
    assert (only.reason, codes(only)) == ("bad_annotation", ["types_contradict"] * 2)
    assert str(only.findings[0]) == (
        "x.csv:3: types_contradict (100.0000 to 140.0000 s is background in x.csv_bi)"
    )
    # A seizure in both files does not compensate for another.
    more = table([("FP1-F7", 20, 40, "fnsz"), ("FP1-F7", 100, 104, "gnsz")])
    assert labels_from(tmp_path, csv_bi=whole((20, 40)), csv=more).reason == "bad_annotation"
    # It starts where a seizure of both files ends, so merging would hide it.
    touching = table([("FP1-F7", 20, 40, "fnsz"), ("F7-T3", 40, 46, "fnsz")])
    assert labels_from(tmp_path, csv_bi=whole((20, 40)), csv=touching).reason == "bad_annotation"


def test_a_seizure_that_the_csv_calls_background_excludes_the_recording(tmp_path: Path) -> None:
    rows: list[Row] = [("FP1-F7", 0, SIGNAL_S, "bckg"), ("F7-T3", 0, SIGNAL_S, "bckg")]
    denied = labels_from(tmp_path, csv_bi=whole((100, 140)), csv=table(rows))
    assert (denied.reason, codes(denied)) == (
        "bad_annotation",
        ["types_contradict", "untyped_event"],
    )
    # The csv says nothing about intervals without rows.
    silent = labels_from(
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
        # The other channel of the csv is background throughout.
        (103.0, 140.0, ["types_differ"]),
        (111.0, 140.0, ["types_contradict"]),
    ],
)
def test_edges_of_csv_and_csv_bi_may_differ_slightly(
    tmp_path: Path, start: float, stop: float, expected: list[str]
) -> None:
    rows: list[Row] = [("FP1-F7", start, stop, "fnsz"), ("F7-T3", 0, SIGNAL_S, "bckg")]
    outcome = labels_from(tmp_path, csv_bi=whole((100, 140)), csv=table(rows))
    assert codes(outcome) == expected
    assert (outcome.reason == "bad_annotation") == ("types_contradict" in expected)
    if outcome.reason is None:
        assert outcome.events == (Event(100, 140, "fnsz", 1, ("FP1-F7",)),)


def test_a_csv_of_another_recording_is_a_contradiction(tmp_path: Path) -> None:
    rows: list[Row] = [("FP1-F7", 100, 140, "fnsz")]
    for duration, expected in ((305.0, "duration_mismatch"), (600.0, "duration_contradicts")):
        outcome = labels_from(tmp_path, csv_bi=whole((100, 140)), csv=table(rows, duration))
        assert [str(finding) for finding in outcome.findings] == [
            f"x.csv:1: {expected} (annotated {duration:.2f} s, signal 300.00 s)"
        ]
        assert outcome.reason == ("bad_annotation" if duration > 310 else None)
    late: list[Row] = [*rows, ("FP1-F7", 400, 420, "fnsz")]
    outside = labels_from(tmp_path, csv_bi=whole((100, 140)), csv=table(late))
    assert (outside.reason, codes(outside)) == ("bad_annotation", ["event_outside"])
