"""As many shards as TUSZ has, and a pull that is killed again and again. Takes minutes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from blake3 import blake3

from brainbrr_core.cache.store import Store
from brainbrr_core.cache.verify import verify
from brainbrr_core.configuration import Configuration
from tests.support.machines import (
    URL,
    machine,
    pull_from,
    push_to,
    stored_shards,
    with_all_recordings,
    with_recordings,
    write_shards,
)
from tests.support.object_store import FaultyProxy

#: Recordings of TUSZ 2.0.
RECORDINGS = 7364
#: Shards of the pull that is killed: more than arrive between twenty kills.
SHARDS = 400


@pytest.mark.slow
def test_as_many_shards_as_tusz_has(
    settings: Configuration, tmp_path: Path, s3: FaultyProxy
) -> None:
    """Every object once, each verified, and the second time next to nothing."""
    source = machine(with_all_recordings(settings), tmp_path / "source")
    write_shards(source, RECORDINGS)
    assert push_to(source).moved == RECORDINGS
    other = machine(with_all_recordings(settings), tmp_path / "other")
    assert pull_from(with_recordings(other, 50)).moved == 50
    s3.calm()
    assert pull_from(other).moved == RECORDINGS - 50
    assert len(s3.objects("GET")) == RECORDINGS - 50
    s3.calm()
    assert pull_from(other).skipped == RECORDINGS
    assert len(s3.requests) == 1
    assert stored_shards(other) == stored_shards(source)


@pytest.mark.slow
def test_a_pull_killed_twenty_times_completes_and_fetches_nothing_twice(
    settings: Configuration, tmp_path: Path, s3: FaultyProxy
) -> None:
    """SIGKILL at random moments while objects arrive slowly, or in part."""
    source = machine(with_all_recordings(settings), tmp_path / "source")
    write_shards(source, SHARDS)
    push_to(source)
    s3.calm()
    other = machine(with_all_recordings(settings), tmp_path / "other")
    rng = random.Random(1)
    s3.rule = lambda _method, path: rng.choice(["", "slow", "cut"]) if "/objects/" in path else ""
    names = {key: blake3(data).hexdigest() for key, data in stored_shards(source).items()}
    command = [
        *(sys.executable, "-c", "from brainbrr_core.cli.app import main; main()"),
        *("cache", "pull", URL),
        *("--transfers", "3", "--config", "full:cpu", "--cache-root", str(other.cache_root)),
    ]
    kills = 0
    while kills < 20:
        before = len(s3.objects("GET"))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Killed once it has begun to fetch, at any byte of what is on its way then.
        while len(s3.objects("GET")) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.7))
        whole = set(stored_shards(other))
        seen = len(s3.objects("GET"))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        time.sleep(0.3)
        # What was whole at the kill is never asked for again.
        later = s3.objects("GET")[seen:]
        assert {names[key] for key in whole}.isdisjoint(later)
        assert verify(Store.of(other)).damaged == {}
        if len(whole) == len(names):
            pytest.fail("the pull completed before it was killed twenty times")
    whole = set(stored_shards(other))
    s3.calm()
    assert pull_from(other).moved == SHARDS - len(whole)
    assert {names[key] for key in whole}.isdisjoint(s3.objects("GET"))
    assert stored_shards(other) == stored_shards(source)
    assert not list(other.cache_root.rglob(".*.partial"))
