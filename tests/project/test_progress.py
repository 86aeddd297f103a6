"""Progress of processes that a command started is shown by that command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brainbrr_core import progress as module
from brainbrr_core.progress import REPORT_VARIABLE, PlainProgress, progress, show_reports

WORK = """\
from brainbrr_core.progress import progress
with progress("build", 4, "hours") as bar:
    for _ in range(4):
        bar.advance(1, "one more")
with progress("train", 10, "steps") as bar:
    bar.resume_from(6)
    bar.advance(2)
    bar.advance(2)
"""


def test_what_a_process_reports_is_shown_by_the_one_that_started_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = tmp_path / "progress.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", WORK],
        env=os.environ | {REPORT_VARIABLE: str(reports)},
        stderr=subprocess.PIPE,
    )

    def running() -> bool:
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            return True
        return False

    show_reports(reports, running)
    _, own = process.communicate()
    assert process.returncode == 0
    assert own == b"", "the process shows nothing itself"
    built, trained = capsys.readouterr().err.splitlines()
    assert built.startswith("build: 4 of 4 hours, ")
    assert built.endswith(", 0 s left, one more")
    assert trained.startswith("train: 10 of 10 steps, ")


def test_the_same_work_done_once_more_has_a_bar_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = tmp_path / "progress.jsonl"
    monkeypatch.setenv(REPORT_VARIABLE, str(reports))
    for total in (3, 2):
        with progress("index", total, "recordings") as bar:
            for _ in range(total):
                bar.advance()
    monkeypatch.delenv(REPORT_VARIABLE)
    assert capsys.readouterr().err == ""
    show_reports(reports, lambda: False)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("index: 3 of 3 recordings")
    assert second.startswith("index: 2 of 2 recordings")


def test_a_reported_rate_is_of_the_time_that_the_work_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reports, clock = tmp_path / "progress.jsonl", Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setenv(REPORT_VARIABLE, str(reports))
    with progress("index", 48, "recordings") as bar:
        for _ in range(2):
            clock.now += 0.2
            bar.advance(24)
    # Whoever shows it reads the reports much later, and other work follows after a pause.
    clock.now += 8
    with progress("build", 5, "hours") as bar:
        clock.now += 4
        bar.advance(5)
    clock.now += 100
    monkeypatch.delenv(REPORT_VARIABLE)
    show_reports(reports, lambda: False)
    assert capsys.readouterr().err.splitlines() == [
        "index: 48 of 48 recordings, 120 recordings/s, 0 s left",
        "build: 5 of 5 hours, 1.25 hours/s, 0 s left",
    ]


def test_work_that_has_ended_is_shown_as_ended_while_the_process_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = tmp_path / "progress.jsonl"
    monkeypatch.setenv(REPORT_VARIABLE, str(reports))
    with progress("index", 1, "recordings") as bar:
        bar.advance()
    monkeypatch.delenv(REPORT_VARIABLE)
    shown = []

    def running() -> bool:
        shown.append(capsys.readouterr().err)
        return len(shown) < 2

    show_reports(reports, running)
    assert shown[0] == ""
    assert shown[1].startswith("index: 1 of 1 recording, ")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def lines_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rates: list[int]
) -> list[str]:
    """Lines of work that does so many units in each of as many seconds."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    bar = PlainProgress("index", 10_000, "recordings", interval_s=1.0)
    for units in rates:
        clock.now += 1
        bar.advance(units)
    return capsys.readouterr().err.splitlines()


def test_the_rate_and_the_time_left_are_those_of_the_last_half_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_at(monkeypatch, capsys, [200] * 40 + [10] * 30 + [0] * 31)
    assert lines[0] == "index: 200 of 10000 recordings, 200 recordings/s, 49 s left"
    # 15 of the last 30 seconds at 200, 15 at 10: 105; 1850 remain.
    assert lines[54] == "index: 8150 of 10000 recordings, 105 recordings/s, 18 s left"
    assert lines[69] == "index: 8300 of 10000 recordings, 10 recordings/s, 170 s left"
    assert lines[-1] == "index: 8300 of 10000 recordings, 0 recordings/s"


def test_whole_units_are_whole_and_one_is_singular(capsys: pytest.CaptureFixture[str]) -> None:
    for total, unit, parts in ((8, "recordings", [0.4]), (1, "recordings", [0.1] * 10)):
        bar = PlainProgress("predict", total, unit)
        for part in parts:
            bar.advance(part)
        bar.line()
        print(bar.summary())
    hours = PlainProgress("build", 1234.5, "hours")
    hours.resume_from(0.25)
    print(hours.summary())
    shown = capsys.readouterr()
    first, second = shown.err.splitlines()
    assert first.startswith("predict: 0 of 8 recordings, ")
    assert second.startswith("predict: 1 of 1 recording, ")
    assert shown.out.splitlines() == [
        "predict: 0 of 8 recordings are done, 8 remain",
        "predict: 1 of 1 recording is done, 0 remain",
        "build: 0.25 of 1234.5 hours are done, 1234.2 remain",
    ]


def test_nothing_done_has_no_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("train", 4, "steps") as bar:
        bar.resume_from(2)
    assert capsys.readouterr().err == "train: 2 of 4 steps, 0 steps/s\n"


def test_where_there_is_nothing_to_do_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("train", 40, "steps"):
        pass
    assert capsys.readouterr().err == ""
