"""Threads that wait for each other leave the processors to other work."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from brainbrr_core.machine import threads
from brainbrr_core.machine.threads import share_processors


def test_threads_sleep_while_they_wait_unless_a_user_said_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 64)
    environment = {"PATH": "/bin"}
    share_processors(environment)
    assert environment == {"PATH": "/bin", "OMP_WAIT_POLICY": "PASSIVE"}
    for name, value in (
        ("OMP_WAIT_POLICY", "ACTIVE"),
        ("GOMP_SPINCOUNT", "1000"),
        ("KMP_BLOCKTIME", "200"),
    ):
        environment = {name: value}
        share_processors(environment)
        assert environment == {name: value}


def test_a_limit_of_processors_limits_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)), raising=False)
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    environment: dict[str, str] = {}
    share_processors(environment)
    assert environment["OMP_NUM_THREADS"] == "2"
    environment = {"OMP_NUM_THREADS": "7"}
    share_processors(environment)
    assert environment["OMP_NUM_THREADS"] == "7"


def test_a_command_says_so_before_anything_with_threads_is_loaded() -> None:
    code = (
        "import os, sys\n"
        "from brainbrr_core.machine import threads\n"
        "from brainbrr_core.cli import app\n"
        "def share(environment):\n"
        "    threads.share_processors(environment)\n"
        "    loaded = {'torch', 'numpy', 'numba'} & set(sys.modules)\n"
        "    print(os.environ['OMP_WAIT_POLICY'], sorted(loaded))\n"
        "app.share_processors = share\n"
        "sys.argv = ['brainbrr', 'doctor', '--help']\n"
        "app.main()\n"
    )
    environment = {name: os.environ[name] for name in os.environ if name not in threads.WAITING}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == "PASSIVE []"
