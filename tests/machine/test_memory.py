"""Short commands do not spend their time on a search for garbage."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.project import ROOT
from tests.support.shell import clean_environment

#: Registered first, hence called last: before Python would look for garbage one last time.
PROGRAM = """\
import atexit, gc, sys
atexit.register(
    lambda: print("end", gc.get_freeze_count() > 1_000, gc.get_threshold()[0], file=sys.stderr)
)
"""


def end_of(program: str, *words: str) -> tuple[int, list[str]]:
    """A program's status, and whether its objects are exempt at the end, and the threshold."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + program, *words],
        env=clean_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    [line] = [line for line in done.stderr.splitlines() if line.startswith("end ")]
    return done.returncode, line.split()[1:]


@pytest.mark.parametrize(("words", "status"), [(("--help",), 0), (("cache", "statuss"), 2)])
def test_a_command_collects_rarely_and_not_at_the_end(words: tuple[str, ...], status: int) -> None:
    program = "from brainbrr_core.cli.start import main\nmain()"
    assert end_of(program, *words) == (status, ["True", "10000"])


def test_definitions_for_dagsters_command_line_collect_rarely() -> None:
    status, said = end_of("import brainbrr_pipeline.command_line")
    assert (status, said) == (0, ["True", "10000"])


def test_dagsters_commands_collect_rarely_before_they_load_dagster() -> None:
    """``make setup`` puts this line into the ``dagster`` of the environment."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [line] = [line for line in makefile.splitlines() if line.startswith("FIND_PROJECT := ")]
    first, found, _ = line.removeprefix("FIND_PROJECT := ").partition("from brainbrr_pipeline")
    assert found
    assert end_of(first) == (0, ["True", "10000"])
