"""What Dagster shows of an evaluation: numbers that it plots, and curves."""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import dagster as dg
import numpy as np
import pytest

from brainbrr_core.annotation.events import Event
from brainbrr_core.evaluation.evaluate import Evaluation
from brainbrr_core.evaluation.facts import ThresholdChoice
from brainbrr_core.evaluation.results import EvaluationResults
from brainbrr_core.evaluation.score import score
from brainbrr_core.scoring import OperatingPoint, ScoredRecording
from brainbrr_core.scoring.sweep import SweepRow
from brainbrr_pipeline.records.inline_curve import LONGEST
from brainbrr_pipeline.records.metadata import Metadata, of_evaluation
from tests.support.run_records import recorded_run

F1 = "SzCORE event F1, pooled"
SENSITIVITY = "SzCORE event sensitivity, pooled"
FALSE_ALARMS = "SzCORE false alarms per 24 h, pooled"


def results(reference: list[Event], hypothesis: list[Event]) -> EvaluationResults:
    """Half an hour of one patient."""
    frames = np.zeros(1800 * 8, dtype=np.float32)
    scored = ScoredRecording(
        "a",
        1800.0,
        tuple(reference),
        frames,
        hypothesis=tuple(hypothesis),
        partition_key="dev/a/t0",
        montage="01_tcp_ar",
    )
    choice = ThresholdChoice(OperatingPoint(0.7, 0.63), "dev", 0.5)
    return score([scored], split="dev", threshold=choice, provenance={}).results


def metadata(scored: EvaluationResults, link: str | None = None) -> Metadata:
    return of_evaluation(
        Evaluation(Path("/report.html"), scored, recorded_run(Path("run")), "", False),
        link,
    )


def test_the_report_is_a_link_where_it_is_served_and_a_path_always() -> None:
    scored = results([Event(100, 130)], [Event(110, 140, "seiz", 0.9)])
    link = "http://127.0.0.1:3001/run/report-dev/report.html"
    assert metadata(scored, link)["open the report"] == dg.MetadataValue.url(link)
    alone = metadata(scored)
    assert alone["report"] == dg.MetadataValue.path("/report.html")
    # A browser does not open a link to a file from a page of http.
    assert not any(isinstance(value, dg.UrlMetadataValue) for value in alone.values())


def test_scores_are_numbers_that_dagster_plots_szcore_first() -> None:
    shown = metadata(
        results(
            [Event(100, 130), Event(800, 850)],
            [Event(110, 140, "seiz", 0.9), Event(1200, 1220, "seiz", 0.8)],
        )
    )
    # One of two seizures, and one false alarm in 1800 s.
    expected = {SENSITIVITY: 1 / 2, F1: 1 / 2, FALSE_ALARMS: 86400 / 1800}
    assert {name: shown[name] for name in expected} == pytest.approx(expected)
    materialized = dg.MaterializeResult[None](metadata=shown).metadata
    assert materialized is not None
    assert next(iter(shown)) == F1
    as_shown = dg.AssetMaterialization("eval_report", metadata=shown).metadata
    for name in expected:
        assert isinstance(as_shown[name], dg.FloatMetadataValue)
    table = shown["scores"]
    assert isinstance(table, dg.TableMetadataValue)
    assert table.records[0].data["rule"] == "szcore event"


def test_scores_have_the_decimals_that_the_report_shows() -> None:
    seizures = [Event(100, 130), Event(600, 650), Event(1100, 1150)]
    shown = metadata(results(seizures, [Event(110, 140, "seiz", 0.9)]))
    # One of three seizures, and no false alarm.
    assert (shown[SENSITIVITY], shown[F1], shown[FALSE_ALARMS]) == (0.333, 0.5, 0)


def test_an_undefined_score_is_a_gap_not_a_number() -> None:
    shown = metadata(results([], []))
    assert SENSITIVITY not in shown
    assert shown[FALSE_ALARMS] == 0
    numbers = [value for value in shown.values() if isinstance(value, float)]
    assert not any(map(math.isnan, numbers))


def test_the_curves_are_a_small_picture_in_markdown() -> None:
    for scored in (results([Event(100, 130)], [Event(110, 140, "seiz", 0.9)]), results([], [])):
        curves = metadata(scored)["operating curve and ROC"]
        assert isinstance(curves, dg.MarkdownMetadataValue)
        picture = str(curves.value).split("base64,")[1].rstrip(")")
        assert base64.b64decode(picture).startswith(b"\x89PNG")
        assert len(picture) < 60_000


def drawn(scored: EvaluationResults) -> tuple[str, list[tuple[int, int]]]:
    """The SVG of the curve that Dagster shows at once, and the points of its line."""
    shown = metadata(scored)["operating curve"]
    assert isinstance(shown, dg.MarkdownMetadataValue)
    # Dagster hides a longer text behind a button.
    assert len(str(shown.value)) < LONGEST
    svg = base64.b64decode(str(shown.value).split("base64,")[1].rstrip(")")).decode()
    [line] = [e for e in ElementTree.fromstring(svg) if e.tag.endswith("polyline")]
    numbers = list(map(int, line.get("points", "").split()))
    return svg, list(zip(numbers[::2], numbers[1::2], strict=True))


def test_the_operating_curve_is_shown_without_a_click() -> None:
    scored = results([Event(100, 130)], [Event(110, 140, "seiz", 0.9)])
    row = SweepRow(0.7, 0.63, math.nan, math.nan, math.nan, math.nan, math.nan)
    # Rates of 1 and 10 per 24 h are a quarter of the axis apart, and no seizure is at the bottom.
    places = ((0.0, 0.0), (0.0, 0.5), (0.0, 0.75), (1.0, 0.75), (10.0, 0.75), (10.0, 1.0))
    curve = tuple(
        replace(row, false_per_day=rate, sensitivity=share)
        for rate, share in [*reversed(places), (math.nan, 0.5)]
    )
    svg, points = drawn(replace(scored, operating_curve=curve))
    assert points == [(20, 100), (20, 32), (140, 32), (140, 10)]
    # All seizures are detected and there is no false alarm.
    assert '<circle cx="20" cy="10"' in svg
    many = tuple(
        replace(row, false_per_day=rate, sensitivity=(rate / 1000) ** 0.5)
        for rate in np.geomspace(0.01, 1000, 500).tolist()
    )
    _, points = drawn(replace(scored, operating_curve=many))
    assert points[0] == (20, 100) and points[-1] == (260, 10)
    assert len(points) > 10


def test_a_curve_of_no_seizures_has_no_line() -> None:
    svg, points = drawn(results([], []))
    assert points == [] and "circle" not in svg
