"""A command in its own process group, which a test can interrupt as a terminal does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from tests.support.services import HANGS_S
from tests.support.small_run import small_config

BRAINBRR = (sys.executable, "-c", "from brainbrr_core.cli.app import main; main()")


class Command:
    """A command in its own process group, as a terminal starts it; ``brainbrr`` by default."""

    def __init__(self, folder: Path, *words: str, program: Sequence[str] = BRAINBRR) -> None:
        self.errors = folder / "stderr.txt"
        environment = {**os.environ, "BRAINBRR_CONFIG": small_config(folder)}
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*program, *words],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        self.started: set[psutil.Process] = set()

    def when(self, event: Callable[[], bool]) -> None:
        """Wait until something has happened that the command does."""
        limit = time.monotonic() + HANGS_S
        while not event():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < limit, self.said()
            time.sleep(0.01)
        self.look()

    def look(self) -> None:
        """Remember the processes that the command has started."""
        self.started |= set(psutil.Process(self.process.pid).children(recursive=True))

    def ctrl_c(self) -> None:
        """What a terminal does: the signal goes to every process of the group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self) -> tuple[int, str]:
        """The exit status and the error output; the time it took is printed."""
        begun = time.monotonic()
        status = self.process.wait(HANGS_S)
        seconds = [time.monotonic() - begun]
        while any(map(_runs, self.started)) and time.monotonic() < begun + HANGS_S:
            time.sleep(0.01)
        seconds.append(time.monotonic() - begun)
        print(f"{status}: ended after {seconds[0]:.2f} s, its processes after {seconds[1]:.2f} s")
        assert not any(map(_runs, self.started))
        return status, self.said()

    def said(self) -> str:
        return self.errors.read_text(encoding="utf-8")


def _runs(process: psutil.Process) -> bool:
    """Whether a process is running: one that has ended may still wait for its parent."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def last_line(said: str) -> str:
    assert "Traceback" not in said
    return said.splitlines()[-1]
