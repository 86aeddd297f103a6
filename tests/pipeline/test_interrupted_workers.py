"""Builds in workers that may not start processes, or that are killed before they record."""

from __future__ import annotations

import json
import multiprocessing
from datetime import datetime

import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import State, plan_corpus, plan_profile
from brainbrr_core.configuration import Configuration


def _build(settings: Configuration) -> None:
    build(plan_corpus(settings), settings.preprocessing, workers=2)


def test_a_slot_that_may_have_no_children_builds_by_itself(settings: Configuration) -> None:
    slot = multiprocessing.get_context("spawn").Process(target=_build, args=[settings], daemon=True)
    slot.start()
    slot.join()
    assert slot.exitcode == 0
    assert plan_profile(settings).count(State.FRESH) == 12


def test_a_shard_whose_builder_was_killed_too_early_is_recorded_and_not_built_again(
    settings: Configuration,
) -> None:
    plan = plan_corpus(settings)
    build(plan, settings.preprocessing)
    records = plan.store.folder / "records.jsonl"
    lines = records.read_text().splitlines()
    lost = json.loads(lines[5])
    records.write_text("".join(f"{line}\n" for line in lines if line != lines[5]))
    shard = plan.store.shard_path(lost["partition_key"])
    before = shard.stat()

    assert build(plan_profile(settings), settings.preprocessing).results == ()
    assert build(plan_profile(settings), settings.preprocessing).results == ()

    assert shard.stat().st_mtime_ns == before.st_mtime_ns
    again = [json.loads(line) for line in records.read_text().splitlines()]
    assert len(again) == len(lines) == len({record["partition_key"] for record in again})
    found = next(r for r in again if r["partition_key"] == lost["partition_key"])
    assert found | {"seconds": 0, "built_at": ""} == lost | {"seconds": 0, "built_at": ""}
    made = datetime.fromisoformat(found["built_at"]).timestamp()
    assert made == pytest.approx(before.st_mtime, abs=1)
