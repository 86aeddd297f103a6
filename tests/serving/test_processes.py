"""What `brainbrr ui` starts, ends with it; a second one, a daemon or a taken port is refused."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.serving.announcement import (
    Announcement,
    announced,
    announcement_of,
    refuse_another,
)
from brainbrr_core.serving.processes import (
    check_port,
    daemon_on,
    running,
    wait_until_it_answers,
)
from tests.support.services import HANGS_S, wait_until

#: Starts a process that ignores Ctrl+C, and says which; then waits.
PARENT = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", CHILD])
print(child.pid, flush=True)
open(sys.argv[1], "w").write(str(child.pid))
while True:
    time.sleep(1)
"""
STUBBORN = {
    "ends at Ctrl+C": "import time; time.sleep(1000)",
    "ignores Ctrl+C": "import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(1000)",
}
#: Starts the parent as `brainbrr ui` starts Dagster, and ends at a signal.
UI = """
import sys
from pathlib import Path
from brainbrr_core.cli.interruption import end, handle_signals
from brainbrr_core.serving.processes import running
with handle_signals():
    try:
        with running([sys.executable, "-c", sys.argv[1], sys.argv[2]], {}, Path("/")) as process:
            process.wait()
    except KeyboardInterrupt as stopped:
        end(stopped)
"""


@pytest.mark.parametrize("child", STUBBORN)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_that_was_started(
    child: str, number: signal.Signals, tmp_path: Path
) -> None:
    parent = PARENT.replace("CHILD", repr(STUBBORN[child]))
    file = tmp_path / "pid"
    with subprocess.Popen(
        [sys.executable, "-c", UI, parent, str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as ui:
        wait_until("the grandchild runs", lambda: file.is_file() and file.read_text(), seconds=60)
        processes = psutil.Process(ui.pid).children(recursive=True)
        assert len(processes) == 2
        ui.send_signal(number)
        _, said = ui.communicate(timeout=HANGS_S)
    assert ui.returncode == 128 + number
    assert said.decode().splitlines()[-1] == "brainbrr: stopped"
    assert psutil.wait_procs(processes, timeout=60)[1] == []


def test_what_a_shell_started_in_the_background_still_ends_its_program_gently(
    tmp_path: Path,
) -> None:
    code = (
        "import signal, sys, time; print('ready', flush=True)\ntry: time.sleep(1000)\n"
        "except KeyboardInterrupt: open(sys.argv[1], 'w').write('gently')"
    )
    ignoring = UI.replace("import sys\n", "import signal, sys\nsignal.signal(2, signal.SIG_IGN)\n")
    with subprocess.Popen(
        [sys.executable, "-c", ignoring, code, str(tmp_path / "said")], stdout=subprocess.PIPE
    ) as ui:
        assert ui.stdout is not None
        assert ui.stdout.readline() == b"ready\n"
        ui.terminate()
        assert ui.wait(HANGS_S) == 128 + signal.SIGTERM
    assert (tmp_path / "said").read_text() == "gently"


def test_a_program_that_ends_by_itself_leaves_nothing_behind(tmp_path: Path) -> None:
    child = "import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(1000)"
    parent = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {child!r}]))"
    with running([sys.executable, "-c", parent], dict(os.environ), tmp_path) as process:
        assert process.wait(HANGS_S) == 0
        left = [p for p in psutil.process_iter() if _group(p) == process.pid]
        assert left
    assert psutil.wait_procs(left, timeout=60)[1] == []


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def test_a_taken_port_is_named_with_the_option_that_chooses_another() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(BrainbrrError) as error:
            check_port("127.0.0.1", port, "--port")
    assert str(error.value) == (
        f"port {port} of 127.0.0.1 cannot be listened on (Address already in use): choose another "
        "one with --port"
    )
    assert check_port("127.0.0.1", port, "--port") == port
    assert check_port("127.0.0.1", 0, "--port") > 0


HERE = Announcement(42, "http://127.0.0.1:3000", "http://127.0.0.1:3001", "/data/runs")


def test_a_second_ui_on_the_same_home_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    assert announcement_of(tmp_path) is None
    with announced(tmp_path, HERE):
        assert announcement_of(tmp_path) == HERE
        for again in (lambda: refuse_another(tmp_path), lambda: enter(tmp_path)):
            with pytest.raises(BrainbrrError) as error:
                again()
            assert str(error.value) == (
                f"brainbrr ui runs on DAGSTER_HOME {tmp_path} already, at http://127.0.0.1:3000 "
                "(process 42): use that one, end it with `kill 42`, or set DAGSTER_HOME to another "
                "folder"
            )
    assert announcement_of(tmp_path) is None
    refuse_another(tmp_path)


def enter(home: Path) -> None:
    with announced(home, HERE):
        pass


def test_one_that_was_killed_does_not_count(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from brainbrr_core.serving.announcement import "
        "*\nwith announced(Path(sys.argv[1]), Announcement(1, 'u', 'r', 'd')):"
        " os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "brainbrr-ui.json").read_text()
    assert announcement_of(tmp_path) is None
    refuse_another(tmp_path)


def test_a_link_is_that_of_a_file_below_the_folder_that_is_served() -> None:
    link = "http://127.0.0.1:3001/smoke-1%20%23/report-dev/report.html"
    assert HERE.link(Path("/data/runs/smoke-1 #/report-dev/report.html")) == link
    assert HERE.link(Path("/data/other/report.html")) is None


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like Dagster's daemon on a home."""
    code = "import time; print('ready', flush=True); time.sleep(1000)"
    with subprocess.Popen(
        [sys.executable, "-c", code, "-m", "dagster._daemon", "run"],
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_daemon_is_seen_on_its_own_home_alone(
    daemon: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert daemon_on(tmp_path) == daemon.pid
    (tmp_path / "link").symlink_to(tmp_path)
    assert daemon_on(tmp_path / "link") == daemon.pid
    (tmp_path / "other").mkdir()
    assert daemon_on(tmp_path / "other") is None


#: Listens when it is told to.
LATE = """
import socket, sys
sys.stdin.readline()
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    sys.stdin.read()
"""


def test_a_program_answers_when_it_listens_and_not_before() -> None:
    port = check_port("127.0.0.1", 0, "--port")
    command = [sys.executable, "-c", LATE, str(port)]
    answered: list[bool] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE) as program:
        assert program.stdin is not None

        def wait() -> None:
            answered.append(wait_until_it_answers(program, "127.0.0.1", port))

        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        program.stdin.write(b"listen\n")
        program.stdin.flush()
        waiting.join(HANGS_S)
        assert answered == [True]
        program.stdin.close()
        program.wait()
        # One that has ended is not waited for.
        assert not wait_until_it_answers(program, "127.0.0.1", port)
