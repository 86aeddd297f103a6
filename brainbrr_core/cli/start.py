"""Where the ``brainbrr`` command begins: before its imports, which take some tenths of a second."""

from __future__ import annotations

import os
import signal

from brainbrr_core.machine.memory import collect_rarely


def main() -> None:
    """Run the command line. While it is still being loaded, Ctrl+C ends it with one line, too."""
    # Where it is ignored, as of a command in the background of a script, it stays so.
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if handled:
        signal.signal(signal.SIGINT, _end)
    collect_rarely()
    from brainbrr_core.cli.app import main as run

    if handled:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _end(number: int, _frame: object) -> None:
    # Nothing has been done or printed yet, and an import could turn an exception into another.
    os.write(2, b"brainbrr: stopped\n")
    os._exit(128 + number)
