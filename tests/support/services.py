"""Servers that a test starts on loopback and that are gone when it ends, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import psutil
import pytest

from tests.support.project import ROOT

#: Set in every process of a test; by it the stragglers are found.
_MARK = "SERVICES_OF_A_TEST"


#: Seconds that only something that hangs takes, on however busy a machine.
HANGS_S = 300.0


def free_port() -> int:
    """A port of loopback that no process uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(
    what: str, happened: Callable[[], object], *, seconds: float, every: float = 0.2
) -> None:
    """Wait for something; fails the test, naming it, when it does not come."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(every)


def answers(port: int) -> bool:
    """Whether something listens on a port of loopback."""
    with socket.socket() as caller:
        caller.settimeout(1)
        return caller.connect_ex(("127.0.0.1", port)) == 0


def needed(name: str, package: str, *folders: str) -> str:
    """The path of a program; fails the test, naming Debian's package, where it is not there."""
    path = shutil.which(name, path=os.pathsep.join([*folders, os.environ["PATH"]]))
    if path is None:
        pytest.fail(f"{name} is not installed: apt-get install {package}")
    return path


class Services:
    """Processes with their logs in one folder; leaving the context kills each of them."""

    def __init__(self, logs: Path, environment: Mapping[str, str], folder: Path = ROOT) -> None:
        self.logs, self.folder = logs, folder
        logs.mkdir(parents=True, exist_ok=True)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BRAINBRR_", "DAGSTER_"))
        }
        self.environment = {**inherited, **environment, _MARK: str(logs)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str | Path, user: str | None = None) -> None:
        """Start a server in a session of its own; ``user`` matters to root only."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [str(part) for part in command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=_honored(user),
                group=_honored(user),
                extra_groups=None if _honored(user) is None else [],
            )

    def run(self, *command: str | Path, user: str | None = None) -> str:
        """What a command prints; fails the test with its last lines when it fails."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            user=_honored(user),
            group=_honored(user),
            extra_groups=None if _honored(user) is None else [],
        )
        if done.returncode != 0:
            pytest.fail(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def wait_for_port(self, name: str, port: int, *, seconds: float = 60) -> None:
        """Wait until a server listens; fails at once when it has ended."""

        def listening() -> bool:
            if self._processes[name].poll() is not None:
                pytest.fail(f"{name} ended: {self.log(name)[-2000:]}")
            return answers(port)

        wait_until(f"{name} on port {port}", listening, seconds=seconds)

    def log(self, name: str) -> str:
        """What a server has printed."""
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def terminate(self, name: str) -> None:
        """Ask a server to end, as ``kill`` does, and wait until it has."""
        process = self._processes[name]
        process.terminate()
        process.wait(timeout=120)

    def kill(self, name: str) -> None:
        """``kill -9`` a server and all that it has started, as when a machine is lost."""
        server = psutil.Process(self._processes[name].pid)
        for process in [server, *server.children(recursive=True)]:
            process.kill()
        self._processes.pop(name).wait()

    def __enter__(self) -> Services:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        psutil.wait_procs(self.running(), timeout=5)
        for straggler in self.running():
            straggler.kill()
        psutil.wait_procs(self.running(), timeout=5)
        for process in self._processes.values():
            process.wait(timeout=HANGS_S)

    def running(self) -> list[psutil.Process]:
        """Processes that were started here and by them, and that live."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            is_marked = process.environ().get(_MARK) == str(self.logs)
            return is_marked and bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


def _honored(user: str | None) -> str | None:
    """The user as whom a command runs; only root can choose one (PostgreSQL refuses root)."""
    return user if os.geteuid() == 0 else None
