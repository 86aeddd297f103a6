"""Ctrl+C and SIGTERM: a command ends soon, with one line that says what is done."""

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
#: What a shell expects of a command that a signal ended: this and the signal's number.
_SIGNALLED = 128


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def listening() -> Iterator[None]:
    """Within the block the first signal raises :class:`Stopped`, and the second ends at once.

    A signal that this process was started to ignore stays ignored. What is raised where Python
    lets nothing be raised (when an object is let go of) is asked for again.
    """
    asked = False
    usual = sys.unraisablehook

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            leave(_SIGNALLED + number)
        asked = True
        raise Stopped(number)

    def again(raised: sys.UnraisableHookArgs) -> None:
        nonlocal asked
        if not isinstance(raised.exc_value, Stopped):
            usual(raised)
            return
        asked = False
        threading.Timer(0.01, os.kill, (os.getpid(), raised.exc_value.number)).start()

    heard = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = usual
        for number, handler in before.items():
            signal.signal(number, handler)


def interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """What interrupted the command, if that is where ``error`` comes from."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def end(stopped: KeyboardInterrupt) -> None:
    """Say in one line what was done, and leave without waiting for threads at work."""
    done = "; ".join(getattr(stopped, "__notes__", ()))
    with suppress(OSError):
        print("brainbrr: stopped" + (f": {done}" if done else ""), file=sys.stderr)
    number = stopped.number if isinstance(stopped, Stopped) else signal.SIGINT
    # The semaphores of a pool of processes would be reported as leaked: let go of them.
    traceback.clear_frames(stopped.__traceback__)
    gc.collect()
    leave(_SIGNALLED + number)


def leave(status: int) -> None:
    """End this process now: what waits in its streams is written, its threads end with it."""
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            # A progress bar hides the cursor.
            sys.stderr.write("\x1b[?25h")
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(status)
