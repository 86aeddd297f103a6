"""Ctrl+C and SIGTERM: a command ends soon, with one line that reports what was done."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: The exit status of a command that a signal ended is this plus the number of the signal.
_SIGNALLED = 128


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Signals:
    """Which signal asked the command to end, if one did.

    Libraries may turn what is raised in them into an error of their own, without a trace of it.
    """

    stopped: Stopped | None = None


@contextmanager
def handle_signals() -> Iterator[Signals]:
    """In the block, the first signal raises :class:`Stopped` and the second ends the process.

    A signal that this process was started to ignore stays ignored. Where Python ignores what is
    raised (while an object is deleted), the signal is sent again.
    """
    signals = Signals()
    default_hook = sys.unraisablehook

    def stop(number: int, _frame: FrameType | None) -> None:
        if signals.stopped is not None:
            leave(_SIGNALLED + number)
        signals.stopped = Stopped(number)
        raise signals.stopped

    def send_again(raised: sys.UnraisableHookArgs) -> None:
        if not isinstance(raised.exc_value, Stopped):
            default_hook(raised)
            return
        signals.stopped = None
        threading.Timer(0.01, os.kill, (os.getpid(), raised.exc_value.number)).start()

    handled = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in handled}
    sys.unraisablehook = send_again
    try:
        yield signals
    finally:
        sys.unraisablehook = default_hook
        for number, handler in before.items():
            signal.signal(number, handler)


def interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """The interruption that led to ``error``; None where it has another cause."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def end(stopped: KeyboardInterrupt) -> None:
    """Report in one line what was done, and exit without waiting for running threads."""
    done = "; ".join(getattr(stopped, "__notes__", ()))
    with suppress(OSError):
        print("brainbrr: stopped" + (f": {done}" if done else ""), file=sys.stderr)
    number = stopped.number if isinstance(stopped, Stopped) else signal.SIGINT
    # Deletes a pool of processes, whose semaphores would otherwise be reported as leaked.
    traceback.clear_frames(stopped.__traceback__)
    gc.collect()
    leave(_SIGNALLED + number)


def leave(status: int) -> None:
    """End this process and its threads now, after flushing its output."""
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            # A progress bar hides the cursor.
            sys.stderr.write("\x1b[?25h")
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(status)
