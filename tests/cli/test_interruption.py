"""Ctrl+C where a library makes an error of its own of it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

#: Replaces all commands by one that a signal interrupts in a library.
PROGRAM = """
import os, sys
from brainbrr_core.cli import app

def interrupted():
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
        while True:
            pass
    except BaseException:
        pass
    # Without a trace of the cause, as an extension module does.
    ENDING

app.app = interrupted
app.main()
"""


def ended(ending: str, number: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("ENDING", ending), str(int(number))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_error_that_a_signal_became_is_one_line(number: int) -> None:
    done = ended('raise RuntimeError("Error building a validator")', number)
    assert (done.returncode, done.stderr) == (128 + number, "brainbrr: stopped\n")


def test_a_command_that_deals_with_a_signal_itself_keeps_its_status() -> None:
    assert ended("sys.exit(1)", signal.SIGINT).returncode == 1
