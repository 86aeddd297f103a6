"""Commands in processes of their own, each ready at once: a server imports all and forks for each.

A command can be given a fault: at its n-th operation on files below a folder it is killed,
terminated or stopped, the disk is full, or one file cannot be opened (too many are open). Or it is
killed when a file grows beyond a number of bytes. The operations are counted by an audit hook, so
the same number is always the same point of the command.

A command that would wait for a lock stops itself first (SIGSTOP), so that a test that runs two of
them decides which one continues.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

#: Seconds that only a command that hangs takes.
HANGS_S = 120.0
KILL, TERMINATE, STOP = "kill", "terminate", "stop"
FULL, REFUSED, TORN = "full", "refused", "torn"
_SIGNALS = {KILL: signal.SIGKILL, TERMINATE: signal.SIGTERM, STOP: signal.SIGSTOP}
_COUNTED = {
    "open",
    "fcntl.flock",
    "os.chmod",
    "os.link",
    "os.listdir",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.scandir",
    "os.symlink",
    "os.truncate",
    "os.utime",
}
_MAKING = {"os.mkdir", "os.link", "os.symlink"}


@dataclass(frozen=True)
class Fault:
    """What happens to a command at its ``at``-th operation, or (TORN) at ``at`` bytes of a file."""

    kind: str
    at: int


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status (negative: the signal that killed it) and its output."""

    status: int
    stdout: str
    stderr: str

    @property
    def was_killed(self) -> bool:
        return self.status < 0


class Command:
    """A command that was started."""

    def __init__(self, pid: int, output: Path) -> None:
        self.pid = pid
        self.ended: Ended | None = None
        self._output = output

    def end(self, status: int) -> None:
        texts = []
        for path in _streams(self._output):
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
            path.unlink()
        self.ended = Ended(status, *texts)


class CommandServer:
    """A process that has imported everything, and forks to start commands."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("BRAINBRR_")
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"OMP_NUM_THREADS": "1"},
        )

    def __enter__(self) -> CommandServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def within(self, words: Sequence[object], environment: Mapping[str, str]) -> int:
        """Run a command in the server itself: later commands share what it compiles and loads."""
        request = {"do": "within", "words": list(map(str, words)), "environment": {**environment}}
        return int(self._ask(request)["status"])

    def start(
        self,
        words: Sequence[object],
        environment: Mapping[str, str],
        folder: Path,
        fault: Fault | None = None,
    ) -> Command:
        """Start a command, or (``hold``) a process that holds a lease and then stops itself.

        Its fault counts operations below ``folder``.
        """
        self._count += 1
        output = self._folder / f"output{self._count}"
        answer = self._ask(
            {
                "do": "start",
                "words": list(map(str, words)),
                "environment": {**environment},
                "folder": str(folder),
                "fault": None if fault is None else asdict(fault),
                "output": str(output),
            }
        )
        return Command(int(answer["pid"]), output)

    def wait(self, *commands: Command) -> Command:
        """The first of these that ended (it has ``ended`` then) or stopped."""
        answer = self._ask({"do": "wait", "pids": [command.pid for command in commands]})
        (command,) = [command for command in commands if command.pid == answer["pid"]]
        if answer["status"] is not None:
            command.end(int(answer["status"]))
        assert not answer["hung"], f"hung: {command.ended}"
        return command

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _streams(output: Path) -> tuple[Path, Path]:
    return output.with_suffix(".stdout"), output.with_suffix(".stderr")


# What follows runs in the server.


def _serve() -> NoReturn:
    from typer.main import get_command

    from brainbrr_core.cli import app as program

    answers = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)
    requests = os.fdopen(os.dup(0), "r")
    os.dup2(null, 0)
    # With one core there is one thread, and no worker process.
    os.sched_getaffinity = lambda _pid: {0}
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    # This takes two thirds of a short command's time, and is the same for all.
    whole = get_command(program.app)
    vars(program)["program_for"] = lambda _words: whole
    for line in requests:
        request = json.loads(line)
        match request["do"]:
            case "within":
                answer = {"status": _status(request["words"], request["environment"])}
            case "start":
                answer = {"pid": _start(request)}
            case _:
                answer = _wait(request["pids"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    # Freeing what it has loaded would take seconds.
    os._exit(0)


def _status(words: list[str], environment: dict[str, str]) -> int:
    """Run a command in this process; its exit status."""
    from brainbrr_core.cli.app import main

    os.environ.update(environment)
    sys.argv = ["brainbrr", *words]
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


def _start(request: dict[str, Any]) -> int:
    pid = os.fork()
    if not pid:
        with _Leaving() as leaving:
            leaving.status = _become(request)
    return pid


class _Leaving:
    """Ends the process with the block, as Python ends a program: a traceback gives status 1."""

    status = 0

    def __enter__(self) -> _Leaving:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> NoReturn:
        if error is not None:
            traceback.print_exception(error)
            self.status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self.status)


def _become(request: dict[str, Any]) -> int:
    os.setsid()
    for number, path in enumerate(_streams(Path(request["output"])), 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    fault = Fault(**request["fault"]) if request["fault"] is not None else None
    if request["words"][0] == "hold":
        os.environ.update(request["environment"])
        _hold()
    sys.addaudithook(_Hook(request["folder"], fault))
    if fault is not None and fault.kind in (FULL, TORN):
        _limit_files(fault)
    return _status(request["words"], request["environment"])


def _limit_files(fault: Fault) -> None:
    """A file that grows beyond the limit ends the process, or (FULL) cannot be written."""
    if fault.kind == TORN:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = fault.at if fault.kind == TORN else 20_000 + 1000 * fault.at
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _hold() -> NoReturn:
    """Hold a lease on the version of a configuration until killed."""
    from brainbrr_core.cache.lease import hold
    from brainbrr_core.cache.store import Store
    from brainbrr_core.configuration import load

    with hold(Store.of(load()), "a long training"):
        while True:
            os.kill(os.getpid(), signal.SIGSTOP)


class _Hook:
    """Counts operations on files and does what the fault says at one of them."""

    def __init__(self, folder: str, fault: Fault | None) -> None:
        self._folder, self._fault, self._count = folder, fault, 0
        self._trying = threading.local()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _COUNTED or getattr(self._trying, "now", False):
            return
        is_lock = event == "fcntl.flock"
        if not is_lock and not any(self._is_below(argument) for argument in arguments[:2]):
            return
        self._count += 1
        if self._fault is not None and self._fault.kind in (FULL, REFUSED):
            if self._count >= self._fault.at:
                self._refuse(self._fault.kind, event, arguments)
        elif self._fault is not None and self._count == self._fault.at:
            number = _SIGNALS.get(self._fault.kind)
            if number is not None:
                os.kill(os.getpid(), number)
        if is_lock:
            self._stop_before_waiting(*arguments)

    def _refuse(self, kind: str, event: str, arguments: tuple[Any, ...]) -> None:
        if kind == FULL and _makes(event, arguments):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))
        if kind == REFUSED and event == "open":
            self._fault = None
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(arguments[0]))

    def _is_below(self, argument: object) -> bool:
        if isinstance(argument, os.PathLike):
            argument = os.fspath(argument)
        if isinstance(argument, bytes):
            argument = os.fsdecode(argument)
        return isinstance(argument, str) and argument.startswith(self._folder)

    def _stop_before_waiting(self, descriptor: int, operation: int) -> None:
        if operation != fcntl.LOCK_EX:
            return
        self._trying.now = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.kill(os.getpid(), signal.SIGSTOP)
        finally:
            self._trying.now = False


def _makes(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether this makes a file, a folder or a link."""
    if event in _MAKING:
        return True
    if event != "open" or not isinstance(arguments[2], int) or not arguments[2] & os.O_CREAT:
        return False
    return not isinstance(arguments[0], int) and not os.path.lexists(arguments[0])


def _wait(pids: list[int]) -> dict[str, Any]:
    limit = time.monotonic() + HANGS_S
    while True:
        for pid in pids:
            waited, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if waited and os.WIFSTOPPED(status):
                return {"pid": pid, "status": None, "hung": False}
            if waited:
                return {"pid": pid, "status": os.waitstatus_to_exitcode(status), "hung": False}
        if time.monotonic() > limit:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            return {"pid": pids[0], "status": -signal.SIGKILL, "hung": True}
        signal.sigtimedwait([signal.SIGCHLD], 1.0)


if __name__ == "__main__":
    _serve()
