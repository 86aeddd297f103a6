"""Two builds of one cache at once: each says what it built, and the totals agree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import Plan, State, limited, plan_corpus
from brainbrr_core.cache.shard_build import Built
from brainbrr_core.configuration import Configuration
from tests.support.services import HANGS_S
from tests.support.shell import BIN, Shell, clean_environment
from tests.support.small_run import small_config

#: Recordings of the small corpus.
ALL = 12


def test_what_another_builder_made_meanwhile_is_not_counted_as_built(
    settings: Configuration,
) -> None:
    plan = plan_corpus(settings)
    assert plan.count(State.MISSING) == ALL
    first = build(limited(plan, 5), settings.preprocessing, workers=1)
    assert (len(first.built), len(first.built_by_others)) == (5, 0)
    # The second builder has planned before the first one began.
    seen: list[Built] = []
    second = build(plan, settings.preprocessing, workers=1, on_result=seen.append)
    assert (len(second.built), len(second.built_by_others), second.failed) == (ALL - 5, 5, [])
    theirs = {result.partition_key: result.bytes for result in second.built_by_others}
    assert theirs == {result.partition_key: result.bytes for result in first.built}
    assert {result.partition_key for result in first.built + second.built} == {
        item.recording.partition_key for item in plan.items
    }
    # Whoever follows the build hears of each recording once.
    assert len({result.partition_key for result in seen}) == len(seen) == ALL


def test_a_shard_that_is_damaged_meanwhile_is_built(settings: Configuration) -> None:
    plan = plan_corpus(settings)
    first = build(limited(plan, 1), settings.preprocessing, workers=1)
    shard = plan.store.shard_path(first.built[0].partition_key)
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert len(build(limited(plan, 1), settings.preprocessing, workers=1).built) == 1


def test_the_command_says_what_another_one_built(
    settings: Configuration, tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = plan_corpus(settings)
    build(limited(stale, 5), settings.preprocessing, workers=1)

    def planned_before(*_given: object) -> Plan:
        return stale

    monkeypatch.setattr("brainbrr_core.cache.plan.plan_corpus", planned_before)
    typed = ("cache", "build", "--workers", "1", "--config", small_config(tmp_path))
    done = shell.type(*typed)
    assert done.returncode == 0, done.stderr
    assert "built 7 recordings (" in done.stdout
    assert "; 5 built by another process meanwhile, 0 already fresh, 0 excluded, 0 failed" in (
        done.stdout
    )
    again = json.loads(shell.type(*typed, "--json").stdout)
    assert (again["built"], again["built_by_others"], again["fresh_before"]) == (0, ALL, 0)


@pytest.mark.slow
def test_the_totals_of_two_commands_at_once_agree(settings: Configuration, tmp_path: Path) -> None:
    plan_corpus(settings)
    command = [str(BIN / "brainbrr"), "cache", "build", "--workers", "1", "--json"]
    command += ["--config", small_config(tmp_path)]
    environment = clean_environment()
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=sys.stderr)
        for _ in range(2)
    ]
    said = [json.loads(process.communicate(timeout=HANGS_S)[0]) for process in processes]
    assert sum(one["built"] for one in said) == ALL
    for one in said:
        assert one["built"] + one["built_by_others"] + one["fresh_before"] == ALL
