"""Progress of processes that a command started is shown by that command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brainbrr_core.progress import REPORT_VARIABLE, progress, show_reports

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
