"""Progress of long work: a bar on a terminal, plain lines elsewhere.

A process that started others can show the progress of all of them: where the variable
:data:`REPORT_VARIABLE` names a file, progress is appended to it as lines of JSON, which
:func:`show_reports` displays.

Only the display of progress belongs here; the caller decides what is counted.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

#: Names the file that processes report their progress to, instead of showing it themselves.
REPORT_VARIABLE = "BRAINBRR_PROGRESS_FILE"
#: Seconds between two reports of the same work, at least.
_REPORT_INTERVAL_S = 0.1
#: Seconds that a rate looks back, and between two amounts that it remembers, at least.
_RATE_WINDOW_S, _RATE_STEP_S = 30.0, 0.5
#: Units that are counted in parts; all others are whole.
_IN_PARTS = ("hours", "MB")


class Progress(Protocol):
    """Interface through which long-running functions report their progress."""

    def advance(self, units: float = 1.0, note: str = "") -> None:
        """Count ``units`` more as done; ``note`` is shown next to the rate."""

    def resume_from(self, units: float) -> None:
        """Count ``units`` as done earlier, excluded from the rate and the estimate of time left."""


class PlainProgress:
    """Prints a line of text at most every ``interval_s`` seconds, by a clock that gives seconds."""

    def __init__(
        self,
        title: str,
        total: float,
        unit: str,
        interval_s: float = 10.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._title, self._total, self._unit, self._interval_s = title, total, unit, interval_s
        self._clock = clock or time.monotonic
        self._done = 0.0
        self._note = ""
        self._printed = self._clock()
        self._rate = _Rate(self._printed)

    def advance(self, units: float = 1.0, note: str = "") -> None:
        self._done += units
        self._note = note or self._note
        now = self._clock()
        self._rate.add(units, now)
        if now - self._printed >= self._interval_s:
            self.line()

    def resume_from(self, units: float) -> None:
        self._done += units

    def summary(self) -> str:
        """A sentence that says how much is done and how much remains."""
        return _summary(self._title, self._done, self._total, self._unit)

    def end(self) -> None:
        """Print the last line, unless there was nothing to do."""
        if self._done:
            self.line()

    def line(self) -> None:
        """Print how much is done, the rate and the time left."""
        self._printed = self._clock()
        rate = self._rate.per_second(self._printed)
        left = max(self._total - self._done, 0)
        parts = [f"{self._title}: {_progressed(self._done, self._total, self._unit)}"]
        parts.append(f"{rate:.0f} {self._unit}/s" if rate >= 100 else f"{rate:.3g} {self._unit}/s")
        if rate > 0 or left == 0:
            parts.append(f"{left / rate if left else 0:.0f} s left")
        if self._note:
            parts.append(self._note)
        print(
            ", ".join(parts),
            file=sys.stderr,
            flush=True,
        )


class _Rate:
    """Units per second in the last half minute: work that is resumed or slows down shows soon."""

    def __init__(self, start: float) -> None:
        self._done = 0.0
        #: Times in seconds, and what was done by then; the first is the last before the window.
        self._amounts = deque([(start, 0.0)])

    def add(self, units: float, now: float) -> None:
        """Count ``units`` more as done."""
        self._done += units
        if now - self._amounts[-1][0] >= _RATE_STEP_S:
            self._amounts.append((now, self._done))
            self._forget(now)

    def per_second(self, now: float) -> float:
        """The rate; 0 where nothing was done."""
        self._forget(now)
        time_s, done = self._amounts[0]
        return (self._done - done) / max(now - time_s, 1e-9)

    def _forget(self, now: float) -> None:
        while len(self._amounts) > 1 and now - self._amounts[1][0] >= _RATE_WINDOW_S:
            self._amounts.popleft()


class _RichProgress:
    def __init__(
        self, title: str, total: float, unit: str, clock: Callable[[], float] | None = None
    ) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(show_speed=True),
            TextColumn("{task.fields[amount]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            get_time=clock,
        )
        self._task = self._bar.add_task(title, total=total, note="", amount="")
        self._title, self._total, self._unit = title, total, unit
        self._done = 0.0
        self._show_amount()

    def _show_amount(self) -> None:
        amount = _progressed(self._done, self._total, self._unit)
        self._bar.update(self._task, amount=amount)

    def __enter__(self) -> _RichProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Where there was nothing to do, a bar at 0 % would look like work that failed.
        self._bar.update(self._task, visible=self._done > 0)
        self._bar.stop()

    def resume_from(self, units: float) -> None:
        self._done += units
        # An advance would be a sample of the speed.
        self._bar.reset(self._task, completed=round(units))
        self._show_amount()

    def advance(self, units: float = 1.0, note: str = "") -> None:
        self._done += units
        self._bar.advance(self._task, units)
        self._show_amount()
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
        self._started, self._reported = time.monotonic(), 0.0

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

    def report(self, *, ended: bool = False) -> None:
        """Append the progress as one short line, which other processes' lines cannot split.

        The times are those of a clock that all processes of a machine share.
        """
        self._reported = time.monotonic()
        report = {
            "title": self._title,
            "total": self._total,
            "unit": self._unit,
            "before": self._before,
            "done": self._done,
            "note": self._note,
            "started": self._started,
            "at": self._reported,
            "ended": ended,
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(report) + "\n")


class _ReportedTime:
    """A clock that stands at the time of the last report."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def show_reports(path: Path, running: Callable[[], bool]) -> None:
    """Show the progress that other processes append to a file, until they have ended.

    Rates are of the time that the work took, whenever its reports are read.

    Parameters
    ----------
    path : Path
        The file that :data:`REPORT_VARIABLE` names in their environment. It need not exist yet.
    running : callable
        Returns whether the processes are still running. It is called before each read of the
        file, and may wait a fraction of a second for them to end.
    """
    path.touch()
    title, shown, clock = "", 0.0, _ReportedTime()
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
                    title, shown, clock.now = report["title"], report["before"], report["started"]
                    bar = stack.enter_context(
                        progress(title, report["total"], report["unit"], clock)
                    )
                    bar.resume_from(shown)
                clock.now = report["at"]
                bar.advance(report["done"] - shown, report["note"])
                shown = report["done"]
                if report["ended"]:
                    stack.close()
                    bar = None


@contextmanager
def progress(
    title: str, total: float, unit: str, clock: Callable[[], float] | None = None
) -> Iterator[Progress]:
    """Show progress of ``total`` units named ``unit`` until the block ends, if any is done.

    ``clock`` gives the time in seconds, by default the present one.
    """
    bar: PlainProgress | _RichProgress | _ReportedProgress
    if path := os.environ.get(REPORT_VARIABLE):
        bar = _ReportedProgress(Path(path), title, total, unit)
        with summarize_when_stopped(bar.summary):
            yield bar
        bar.report(ended=True)
        return
    if sys.stderr.isatty():
        with _RichProgress(title, total, unit, clock) as bar, summarize_when_stopped(bar.summary):
            yield bar
        return
    bar = PlainProgress(title, total, unit, clock=clock)
    with summarize_when_stopped(bar.summary):
        yield bar
    bar.end()


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
    verb = "is" if _amount(total, unit) == "1" else "are"
    left = _amount(total - math.floor(done + _ROUNDING), unit)
    if unit in _IN_PARTS:
        left = _amount(max(total - done, 0), unit)
    return f"{title}: {_progressed(done, total, unit)} {verb} done, {left} remain"


#: A sum of parts of a whole unit may be less than the unit by this much.
_ROUNDING = 1e-6


def _amount(number: float, unit: str) -> str:
    """A number of units as text: whole, or with decimals where the unit is counted in parts."""
    if unit not in _IN_PARTS:
        return f"{math.floor(number + _ROUNDING)}"
    text = f"{number:.1f}" if number >= 100 else f"{number:.3g}"
    return text.removesuffix(".0")


def _progressed(done: float, total: float, unit: str) -> str:
    """How much is done of how much, such as ``3 of 8 recordings`` or ``0.4 of 1 hour``."""
    of_total = _amount(total, unit)
    noun = unit.removesuffix("s") if of_total == "1" else unit
    return f"{_amount(done, unit)} of {of_total} {noun}"
