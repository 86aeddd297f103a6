"""What ``bench faults`` counts: real kills, and every byte that is lost or wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from brainbrr_core.benchmark import killed_builds
from brainbrr_core.benchmark.killed_builds import (
    Comparison,
    KilledBuilds,
    differing_bytes,
    processes_of,
    start_build,
    stop,
)
from brainbrr_core.cache.store import Store
from brainbrr_core.cli.app import app
from brainbrr_core.configuration import Configuration
from tests.support.machines import stored_shards


def test_a_store_as_built_is_whole(built: Configuration) -> None:
    clean = stored_shards(built)
    comparison = Comparison(clean)
    assert comparison.look(Store.of(built))
    assert comparison.whole == clean.keys()
    assert comparison.shards == len(clean) == 12
    assert comparison.bytes == sum(map(len, clean.values()))
    assert (comparison.lost, comparison.wrong) == (0, 0)


def test_every_byte_that_is_not_the_clean_builds_is_wrong(built: Configuration) -> None:
    store = Store.of(built)
    comparison = Comparison(stored_shards(built))
    assert comparison.look(store)
    tampered, cut, invented = *sorted(comparison.clean)[:2], "train/x/s/m/x"
    path = store.shard_path(tampered)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:-1] + b"more")
    store.shard_path(cut).write_bytes(comparison.clean[cut][:-1000])
    store.shard_path(invented).parent.mkdir(parents=True)
    store.shard_path(invented).write_bytes(b"none of ours")
    ends = differing_bytes(b"more"[:1], comparison.clean[tampered][-1:])
    assert not comparison.look(store)
    assert comparison.wrong == 1 + ends + 3 + 1000 + len(b"none of ours")
    assert comparison.lost == 0
    assert comparison.clean.keys() - comparison.whole == {tampered, cut}


def test_a_shard_that_was_whole_and_is_gone_is_lost(built: Configuration) -> None:
    store = Store.of(built)
    comparison = Comparison(stored_shards(built))
    first, second = sorted(comparison.clean)[:2]
    store.shard_path(first).unlink()
    # It was never there: it is yet to be built.
    assert comparison.look(store)
    assert comparison.lost == 0
    store.shard_path(second).unlink()
    assert not comparison.look(store)
    assert comparison.lost == len(comparison.clean[second])
    # Once is enough.
    assert comparison.look(store)


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        (b"abc", b"abc", 0),
        (b"abc", b"abd", 1),
        (b"abc", b"", 3),
        (b"", b"ab", 2),
        (b"ab", b"xbc", 2),
    ],
)
def test_bytes_that_differ_are_counted(first: bytes, second: bytes, count: int) -> None:
    assert differing_bytes(first, second) == differing_bytes(second, first) == count


WITH_A_CHILD = """\
import subprocess, sys, time
code = "import time; print(flush=True); time.sleep(1)"
child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
child.stdout.readline()
print(flush=True)
time.sleep(600)
"""


def test_a_build_has_stopped_when_its_last_process_has() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_A_CHILD],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        assert len(processes_of(process.pid)) == 2
        seconds = stop(process, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert processes_of(process.pid) == []
    # The child went on for the rest of its second.
    assert seconds > 0.1


def test_a_build_that_ended_before_its_signal_was_not_killed() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait()
    stop(process, signal.SIGKILL)
    assert process.returncode == 0


def test_a_build_heeds_ctrl_c_where_the_benchmark_ignores_it(tmp_path: Path) -> None:
    # A shell has the commands that run behind it ignore Ctrl+C.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start_build(tmp_path, 1)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    finally:
        signal.signal(signal.SIGINT, before)
    stop(process, signal.SIGKILL)
    ignored = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
    assert not int(ignored, 16) & 1 << (signal.SIGINT - 1)


@pytest.mark.slow
def test_builds_are_killed_and_what_they_leave_is_whole() -> None:
    killed = killed_builds.run(3, recordings=6, hours=0.5, workers=2, log=lambda _line: None)
    assert killed.kills == killed.kills_survived == 3
    assert killed.kills_by_signal == {"SIGKILL": 2, "SIGTERM": 1}
    assert (killed.bytes_lost, killed.wrong_bytes) == (0, 0)
    assert killed.whole_at_the_end
    assert 0 < killed.stop_s.median <= killed.stop_s.longest
    # At least the six that the last build left.
    assert killed.shards_compared >= 6


@pytest.mark.parametrize(("wrong", "status"), [(0, 0), (1, 1)])
def test_the_command_prints_the_figures_and_fails_on_any_loss(
    monkeypatch: pytest.MonkeyPatch, wrong: int, status: int
) -> None:
    values = {
        "kills": 7,
        "kills_by_signal": {"SIGKILL": 4, "SIGTERM": 2, "SIGINT": 1},
        "kills_survived": 7 - wrong,
        "ended_before_the_signal": 2,
        "shards_compared": 1234,
        "bytes_compared": 5 * 10**9,
        "bytes_lost": 0,
        "wrong_bytes": wrong,
        "whole_at_the_end": True,
        "stop_s": {"median": 0.25, "longest": 1.5},
    }
    monkeypatch.setattr(
        killed_builds, "run", lambda _kills, **_options: KilledBuilds.model_validate(values)
    )
    done = CliRunner().invoke(app, ["bench", "faults", "--kills", "7"])
    assert done.exit_code == status, done.output
    for text in (
        "kills survived",
        "bytes lost",
        "wrong bytes believed",
        "0.25",
        "1.50",
        "SIGINT 1",
    ):
        assert text in done.output
    done = CliRunner().invoke(app, ["bench", "faults", "--kills", "7", "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (status, values)
