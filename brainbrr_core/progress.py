"""Progress of long work: a bar on a terminal, plain lines elsewhere.

A process that started others can show the progress of all of them: where the variable
:data:`REPORT_VARIABLE` names a file, progress is appended to it as lines of JSON, which
:func:`show_reports` displays.

Only the display of progress belongs here; the caller decides what is counted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

#: Names the file that processes report their progress to, instead of showing it themselves.
REPORT_VARIABLE = "BRAINBRR_PROGRESS_FILE"
#: Seconds between two reports of the same work, at least.
_REPORT_INTERVAL_S = 0.1


class Progress(Protocol):
    """Interface through which long-running functions report their progress."""

    def advance(self, units: float = 1.0, note: str = "") -> None:
        """Count ``units`` more as done; ``note`` is shown next to the rate."""

    def resume_from(self, units: float) -> None:
        """Count ``units`` as done earlier, excluded from the rate and the estimate of time left."""


class PlainProgress:
    """Prints a line of text at most every ``interval_s`` seconds."""

    def __init__(self, title: str, total: float, unit: str, interval_s: float = 10.0) -> None:
        self._title, self._total, self._unit, self._interval_s = title, total, unit, interval_s
        self._done = self._before = 0.0
        self._note = ""
        self._start = self._printed = time.monotonic()

    def advance(self, units: float = 1.0, note: str = "") -> None:
        self._done += units
        self._note = note or self._note
        if time.monotonic() - self._printed >= self._interval_s:
            self.line()

    def resume_from(self, units: float) -> None:
        self._done += units
        self._before += units

    def summary(self) -> str:
        """A sentence that says how much is done and how much remains."""
        return _summary(self._title, self._done, self._total, self._unit)

    def line(self) -> None:
        """Print how much is done, the rate and the time left."""
        self._printed = time.monotonic()
        rate = (self._done - self._before) / max(self._printed - self._start, 1e-9)
        left = max(self._total - self._done, 0) / rate if rate > 0 else float("inf")
        note = f", {self._note}" if self._note else ""
        print(
            f"{self._title}: {self._done:.4g} of {self._total:.4g} {self._unit}, "
            f"{rate:.3g} {self._unit}/s, {left:.0f} s left{note}",
            file=sys.stderr,
            flush=True,
        )


class _RichProgress:
    def __init__(self, title: str, total: float, unit: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(show_speed=True),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(title, total=total, note="")
        self._title, self._total, self._unit = title, total, unit
        self._done = 0.0

    def __enter__(self) -> _RichProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def resume_from(self, units: float) -> None:
        self._done += units
        # An advance would be a sample of the speed.
        self._bar.reset(self._task, completed=round(units))

    def advance(self, units: float = 1.0, note: str = "") -> None:
        self._done += units
        self._bar.advance(self._task, units)
        if note:
            self._bar.update(self._task, note=note)

    def summary(self) -> str:
        """A sentence that says how much is done and how much remains."""
        return _summary(self._title, self._done, self._total, self._unit)


class _ReportedProgress:
    """Appends the progress to a file, for another process to show."""

    def __init__(self, path: Path, title: str, total: float, unit: str) -> None:
        self._path, self._title, self._total, self._unit = path, title, total, unit
        self._done = self._before = 0.0
        self._note = ""
        self._reported = 0.0

    def advance(self, units: float = 1.0, note: str = "") -> None:
        self._done += units
        self._note = note or self._note
        if time.monotonic() - self._reported >= _REPORT_INTERVAL_S:
            self.report()

    def resume_from(self, units: float) -> None:
        self._done += units
        self._before += units

    def summary(self) -> str:
        """A sentence that says how much is done and how much remains."""
        return _summary(self._title, self._done, self._total, self._unit)

    def report(self) -> None:
        """Append the progress as one short line, which other processes' lines cannot split."""
        self._reported = time.monotonic()
        report = {
            "title": self._title,
            "total": self._total,
            "unit": self._unit,
            "before": self._before,
            "done": self._done,
            "note": self._note,
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(report) + "\n")


def show_reports(path: Path, running: Callable[[], bool]) -> None:
    """Show the progress that other processes append to a file, until they have ended.

    Parameters
    ----------
    path : Path
        The file that :data:`REPORT_VARIABLE` names in their environment. It need not exist yet.
    running : callable
        Returns whether the processes are still running. It is called before each read of the
        file, and may wait a fraction of a second for them to end.
    """
    path.touch()
    title, shown = "", 0.0
    with path.open(encoding="utf-8") as file, ExitStack() as stack:
        bar: Progress | None = None
        go_on = True
        while go_on:
            # After the last process has ended there is one more look at what it reported.
            go_on = running()
            for line in file:
                report = json.loads(line)
                if bar is None or report["title"] != title or report["done"] < shown:
                    stack.close()
                    title, shown = report["title"], report["before"]
                    bar = stack.enter_context(progress(title, report["total"], report["unit"]))
                    bar.resume_from(shown)
                bar.advance(report["done"] - shown, report["note"])
                shown = report["done"]


@contextmanager
def progress(title: str, total: float, unit: str) -> Iterator[Progress]:
    """Show progress of ``total`` units named ``unit`` until the block ends."""
    bar: PlainProgress | _RichProgress | _ReportedProgress
    if path := os.environ.get(REPORT_VARIABLE):
        bar = _ReportedProgress(Path(path), title, total, unit)
        with summarize_when_stopped(bar.summary):
            yield bar
        bar.report()
        return
    if sys.stderr.isatty():
        with _RichProgress(title, total, unit) as bar, summarize_when_stopped(bar.summary):
            yield bar
        return
    bar = PlainProgress(title, total, unit)
    with summarize_when_stopped(bar.summary):
        yield bar
    bar.line()


@contextmanager
def summarize_when_stopped(summary: Callable[[], str]) -> Iterator[None]:
    """Add a summary of the progress as a note to what interrupts the block (such as Ctrl+C).

    An interruption that already has a note, from a nested block, gets no other.
    """
    try:
        yield
    except (Exception, GeneratorExit, SystemExit):
        raise
    except BaseException as interruption:
        if not getattr(interruption, "__notes__", ()):
            interruption.add_note(summary())
        raise


def _summary(title: str, done: float, total: float, unit: str) -> str:
    return f"{title}: {done:.4g} of {total:.4g} {unit} are done, {total - done:.4g} remain"
