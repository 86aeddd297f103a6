"""A number with its noun, as messages and reports have it."""

from __future__ import annotations

from brainbrr_core.display.counts import count
from brainbrr_core.evaluation.results import UnscoredRecording
from brainbrr_core.evaluation.unscored import log_unscored


def test_one_has_no_plural_and_thousands_are_separated() -> None:
    assert [count(number, "patient") for number in (0, 1, 2, 1200)] == [
        "0 patients",
        "1 patient",
        "2 patients",
        "1,200 patients",
    ]


def test_a_remark_about_one_recording_is_in_the_singular() -> None:
    lines: list[str] = []
    log_unscored([UnscoredRecording("a", "too short", 36.0, 0)], "dev", lines.append)
    assert lines == ["not scored: 1 recording (0.01 h) of dev: too short"]
