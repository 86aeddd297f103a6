"""Builds that another builder, a full disk or the rights of a folder come in the way of."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from brainbrr_core.cache import build as build_module
from brainbrr_core.cache import shard as shard_module
from brainbrr_core.cache.build import build, link_latest
from brainbrr_core.cache.plan import make_plan, plan_profile
from brainbrr_core.cache.shard_build import build_one
from brainbrr_core.cache.status import status
from brainbrr_core.cache.store import LATEST, RECORDS, Store
from brainbrr_core.cache.unfinished import exclusive_partial
from brainbrr_core.cache.version import imported_version
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import update_index
from brainbrr_core.errors import BrainbrrError
from tests.support.machines import stored_shards
from tests.support.privileges import modes_apply


def test_an_imported_version_is_not_built(built: Configuration) -> None:
    plan = replace(plan_profile(built), store=Store(built.cache_root, imported_version()))
    with pytest.raises(BrainbrrError) as error:
        build(plan, built.preprocessing, workers=1)
    assert str(error.value) == f"{imported_version()} was imported and cannot be built"
    assert not plan.store.folder.exists()


def test_recordings_here_and_behind_a_url_are_built_alike(
    built: Configuration, tmp_path: Path
) -> None:
    before = stored_shards(built)
    store, here = Store.of(built), plan_profile(built).index
    shutil.rmtree(store.folder)
    remote = update_index(f"file://{built.data_dir}", tmp_path / "far")
    mixed = Index(
        tuple(pair[number % 2] for number, pair in enumerate(zip(here, remote, strict=True))),
        "tusz",
    )
    plan = make_plan(store, built.preprocessing, mixed, mixed.recordings[:2])
    keys = [item.recording.partition_key for item in plan.to_build]
    assert [item.recording.is_remote for item in plan.to_build] == [False, True]
    summary = build(plan, built.preprocessing, workers=1)
    assert summary.failed == []
    assert stored_shards(built) == {key: before[key] for key in keys}


def test_a_link_to_the_newest_version_that_cannot_be_set_is_one_line(
    built: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    link = built.cache_root / LATEST
    link.unlink()
    built.cache_root.chmod(0o555)
    with modes_apply():
        link_latest(plan_profile(built), built.preprocessing)
    assert capsys.readouterr().err == f"{link} was not set: Permission denied\n"
    assert not link.is_symlink()
    built.cache_root.chmod(0o755)
    link_latest(plan_profile(built), built.preprocessing)
    assert link.readlink() == Path(Store.of(built).version)


def test_a_shard_that_another_builder_records_meanwhile_is_recorded_once(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.of(built)
    records = store.records()
    first, second = sorted(records)[:2]
    path = store.folder / RECORDS
    lines = path.read_text().splitlines(keepends=True)
    of_two = [line for line in lines if json.loads(line)["partition_key"] in (first, second)]
    path.write_text("".join(line for line in lines if line not in of_two))
    plan = plan_profile(built)

    @contextmanager
    def recorded_meanwhile(target: Path) -> Iterator[IO[bytes]]:
        with exclusive_partial(target) as file:
            if target == store.shard_path(first):
                store.append_record(records[first])
            yield file

    monkeypatch.setattr(build_module, "exclusive_partial", recorded_meanwhile)
    assert build(plan, built.preprocessing, workers=1).results == ()
    keys = [json.loads(line)["partition_key"] for line in path.read_text().splitlines()]
    assert (keys.count(first), keys.count(second)) == (1, 1)
    assert sorted(store.records()) == sorted(records)
    assert store.records()[first] == records[first]


def test_a_shard_that_does_not_say_what_was_clipped_is_recorded_as_not_known(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of version 1; so nothing is counted as unclipped that is not known to be."""
    store = Store.of(built)
    plan = plan_profile(built)
    item = plan.items[0]
    key = item.recording.partition_key
    assert status(plan, built.manifest_settings).clipping.not_known == 0
    store.shard_path(key).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(shard_module, "_CLIPPED_COUNTS", b"something else")
        assert build_one(store, built.preprocessing, item.recording, item.fingerprint).error == ""
    (store.folder / RECORDS).unlink()
    build(plan_profile(built), built.preprocessing, workers=1)
    assert [one for one, record in store.records().items() if record.clipped is None] == [key]
    assert status(plan_profile(built), built.manifest_settings).clipping.not_known == 1


def test_a_full_disk_is_one_line_and_leaves_nothing(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.of(built)
    item = plan_profile(built).items[0]
    target = store.shard_path(item.recording.partition_key)
    target.unlink()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        outcome = build_one(store, built.preprocessing, item.recording, item.fingerprint)
    assert outcome.error == "the disk is full: make room and build again"
    assert list(target.parent.glob(f"*{target.name}*")) == []
    assert build(plan_profile(built), built.preprocessing, workers=1).failed == []
    assert target.is_file()
