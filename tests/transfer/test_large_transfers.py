"""As many shards as TUSZ has, and a pull that is killed again and again. Takes minutes."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
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
from tests.support.object_store import Fault, FaultRule, FaultyProxy, no_fault

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


def killed_at(
    number: int, pulls: Sequence[subprocess.Popen[bytes]], rng: random.Random
) -> FaultRule:
    """Objects arrive whole, slowly or in part; the request with this number kills the pull."""
    requests = itertools.count(1)

    def rule(_method: str, path: str) -> Fault:
        if "/objects/" not in path:
            return ""
        if next(requests) == number:
            pulls[0].kill()
        return rng.choice(["", "slow", "cut"])

    return rule


@pytest.mark.slow
def test_a_pull_killed_twenty_times_completes_and_fetches_nothing_twice(
    settings: Configuration, tmp_path: Path, s3: FaultyProxy
) -> None:
    """SIGKILL at a random request, while other objects arrive slowly or in part."""
    source = machine(with_all_recordings(settings), tmp_path / "source")
    write_shards(source, SHARDS)
    push_to(source)
    s3.calm()
    other = machine(with_all_recordings(settings), tmp_path / "other")
    rng = random.Random(1)
    names = {key: blake3(data).hexdigest() for key, data in stored_shards(source).items()}
    command = [
        *(sys.executable, "-c", "from brainbrr_core.cli.app import main; main()"),
        *("cache", "pull", URL),
        *("--transfers", "3", "--config", "full:cpu", "--cache-root", str(other.cache_root)),
    ]
    #: After each kill: how many objects had been asked for, and which of them were whole.
    states: list[tuple[int, set[str]]] = []
    while len(states) < 20:
        pulls: list[subprocess.Popen[bytes]] = []
        s3.rule = killed_at(rng.randrange(1, 16), pulls, rng)
        pulls.append(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        killed = pulls[0].wait() == -signal.SIGKILL
        whole = set(stored_shards(other))
        if killed:
            states.append((len(s3.objects("GET")), {names[key] for key in whole}))
        assert verify(Store.of(other)).damaged == {}
        if len(whole) == len(names):
            pytest.fail("the pull completed before it was killed twenty times")
    s3.rule = no_fault
    assert pull_from(other).moved == SHARDS - len(whole)
    asked_for = s3.objects("GET")
    for before, fetched in states:
        # What was whole at a kill is never asked for again.
        assert fetched.isdisjoint(asked_for[before:])
    assert stored_shards(other) == stored_shards(source)
    assert not list(other.cache_root.rglob(".*.partial"))
