"""A number with its noun, as messages and reports have it."""

from __future__ import annotations

from brainbrr_core.display.counts import count
from brainbrr_core.evaluation.key_figures import LIMIT_FIGURES
from brainbrr_core.evaluation.results import UnscoredRecording
from brainbrr_core.evaluation.unscored import log_unscored
from brainbrr_core.scoring.sweep import FALSE_ALARM_LIMITS


def test_one_has_no_plural_and_thousands_are_separated() -> None:
    assert [count(number, "patient") for number in (0, 1, 2, 1200)] == [
        "0 patients",
        "1 patient",
        "2 patients",
        "1,200 patients",
    ]


def test_a_limit_may_be_a_fraction() -> None:
    limits = [count(limit, "false alarm") for limit in sorted(FALSE_ALARM_LIMITS)]
    assert limits == ["1 false alarm", "2.5 false alarms", "5 false alarms", "10 false alarms"]


def test_figures_at_a_limit_of_one_have_no_plural() -> None:
    """Their titles are headings of reports."""
    at_one = {figure.title for figure in LIMIT_FIGURES if "tuned_at_1." in figure.name}
    assert at_one == {
        f"{rule} {words}"
        for rule in ("SzCORE event", "NEDC OVLP")
        for words in (
            "sensitivity at the threshold tuned for 1 false alarm per 24 h",
            "false alarms per 24 h at that threshold",
        )
    }


def test_a_remark_about_one_recording_is_in_the_singular() -> None:
    lines: list[str] = []
    log_unscored([UnscoredRecording("a", "too short", 36.0, 0)], "dev", lines.append)
    assert lines == ["not scored: 1 recording (0.01 h) of dev: too short"]
