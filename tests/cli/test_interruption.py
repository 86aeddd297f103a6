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

app.program_for = lambda words: interrupted
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


#: Starts the command; the signal arrives while the module that is named here is being imported.
START = """
import os, signal, sys
from brainbrr_core.cli.start import main

module = sys.argv.pop()

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
main()
"""


def started(*words: str, module: str, prefix: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", prefix + START, *words, module],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("module", ["brainbrr_core.cli.app", "typer", "brainbrr_core.cli.transfer"])
def test_a_command_that_is_still_being_loaded_ends_with_one_line(module: str) -> None:
    done = started("--version", module=module)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "brainbrr: stopped\n")


def test_a_command_in_the_background_of_a_script_is_not_interrupted() -> None:
    ignored = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    done = started("--version", module="typer", prefix=ignored)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("brainbrr ")


def test_a_command_that_is_loaded_is_interrupted_as_ever() -> None:
    # Each command imports what it needs when it runs.
    done = started("config", module="brainbrr_core.configuration.load")
    assert (done.returncode, done.stderr) == (130, "brainbrr: stopped\n")
