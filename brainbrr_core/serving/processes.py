"""Starting a program and ending it, with everything that it started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from brainbrr_core.errors import BrainbrrError

#: Seconds that a program has to end after Ctrl+C, and what it started after SIGTERM.
_GENTLY_S, _TERMINATED_S = 75.0, 10.0
#: Seconds between two looks at whether a process has ended.
_PAUSE_S = 0.05
#: Seconds between two looks at whether a program listens, and that one may take.
_LOOK_S, _ANSWER_S = 0.25, 2.0


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the block runs; then end it and every process of its group.

    It is asked to end as by Ctrl+C, what is left of its group by SIGTERM, and the rest is killed.
    Another signal to this process in the meantime kills at once.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        # A shell has what it starts in the background ignore Ctrl+C, and the program would, too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True)
    finally:
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield process
    finally:
        before = {
            number: signal.signal(number, lambda *_: _signal_group(process, signal.SIGKILL))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            _end(process)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GENTLY_S)
    limit = time.monotonic() + _TERMINATED_S
    if _signal_group(process, signal.SIGTERM):
        while time.monotonic() < limit and _signal_group(process, 0):
            process.poll()
            time.sleep(_PAUSE_S)
        _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the process's group; False where the group has no process any more."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def check_port(host: str, port: int, option: str) -> int:
    """A port that can be listened on: this one, or any free one for 0.

    Raises :class:`BrainbrrError`, naming the ``option``, where this one cannot.
    """
    try:
        [(family, kind, *_, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            # Bound to the port by another socket too, it cannot be listened on.
            listener.listen(1)
            return int(listener.getsockname()[1])
    except OSError as error:
        raise BrainbrrError(
            f"port {port} of {host} cannot be listened on ({error.strerror}): choose another one "
            f"with {option}"
        ) from None


def wait_until_it_answers(process: subprocess.Popen[bytes], host: str, port: int) -> bool:
    """Wait until a program listens on a port; False where it has ended before."""
    while process.poll() is None:
        with suppress(OSError), socket.create_connection((host, port), timeout=_ANSWER_S):
            return True
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_S)
    return False


def daemon_on(home: Path) -> int | None:
    """The ID of a process that is Dagster's daemon on a DAGSTER_HOME; None where none is seen.

    Processes of other users are not seen, nor any where there is no ``/proc``.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if not _is_daemon(words):
                continue
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            # It has ended, or is of another user.
            continue
        values = [os.fsdecode(v[13:]) for v in variables if v.startswith(b"DAGSTER_HOME=")]
        if any(_same(home, Path(value)) for value in values):
            return int(folder.name)
    return None


def _is_daemon(words: Sequence[bytes]) -> bool:
    is_module = b"dagster._daemon" in words
    return (is_module or any(word.endswith(b"/dagster-daemon") for word in words)) and (
        b"run" in words
    )


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
