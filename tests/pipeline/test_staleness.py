"""Staleness as Dagster's own resolver sees it, also with more partitions than it looks at."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.automation_tick_evaluation_context import (
    build_run_requests_with_backfill_policies,
)
from dagster._core.definitions.data_version import CODE_VERSION_TAG, DATA_VERSION_TAG, StaleStatus
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.partitions.context import partition_loading_context

from brainbrr_core.benchmark.many_recordings import TUSZ_RECORDINGS
from brainbrr_core.cache.plan import plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Labels, Preprocessing
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.signal.chain import ALGORITHM_VERSION
from brainbrr_pipeline.records.partitions import NAME
from tests.support.edf_files import another_copy
from tests.support.pipeline_graph import CACHE, CHAIN, Graph, change, failure_of, latest, wide_graph

FRESH, STALE, MISSING = StaleStatus.FRESH, StaleStatus.STALE, StaleStatus.MISSING

pytestmark = pytest.mark.usefixtures("one_worker")


def others(graph: Graph) -> dict[str, StaleStatus]:
    return {name: graph.status(name) for name in ("raw_edf_index", "cache_manifest")}


def edfs(graph: Graph) -> list[Path]:
    return [Path(r.path) for r in read_index(graph.settings.cache_root)]


@pytest.mark.parametrize(
    "recordings", [99, 100, pytest.param(TUSZ_RECORDINGS, marks=pytest.mark.slow)]
)
def test_dagster_sees_what_changed_and_nothing_else(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance, recordings: int
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, recordings)
    everything = {FRESH: recordings}
    assert graph.staleness() == everything
    assert others(graph) == {"raw_edf_index": FRESH, "cache_manifest": FRESH}

    # One EDF changes: one partition, and what is made of all of them.
    victim = edfs(graph)[recordings // 2]
    key = read_index(graph.settings.cache_root).recordings[recordings // 2].partition_key
    change(victim)
    assert graph.materialize("raw_edf_index").success
    assert [k for k, status in graph.statuses().items() if status is STALE] == [key]
    assert others(graph) == {"raw_edf_index": FRESH, "cache_manifest": STALE}
    built = graph.build([key])
    assert built.success
    assert graph.recorded(built) == [key]
    assert graph.staleness() == everything
    assert graph.status("cache_manifest") is STALE
    assert graph.materialize("cache_manifest").success
    assert graph.status("cache_manifest") is FRESH

    # One is added: missing, the rest stays fresh with the new index.
    added = victim.with_name("added.edf")
    another_copy(victim, added)
    another_copy(victim.with_suffix(".csv_bi"), added.with_suffix(".csv_bi"))
    assert graph.materialize("raw_edf_index").success
    assert graph.staleness() == {FRESH: recordings, MISSING: 1}
    assert graph.materialize(*CHAIN[1:]).success
    assert graph.staleness() == {FRESH: recordings + 1}
    assert others(graph) == {"raw_edf_index": FRESH, "cache_manifest": FRESH}

    # It is removed again: its shard is an orphan, nothing is rebuilt for it.
    added.unlink()
    assert graph.materialize("raw_edf_index").success
    assert graph.staleness() == everything
    assert plan_profile(graph.settings).orphans == (key.rsplit("/", 1)[0] + "/added",)
    assert graph.status("cache_manifest") is STALE
    result = graph.materialize(*CHAIN[1:])
    assert graph.recorded(result) == []
    assert graph.status("cache_manifest") is FRESH

    # An annotation is corrected: the manifest, no partition.
    annotation = victim.with_suffix(".csv_bi")
    text = annotation.read_text().replace("seiz", "bckg")
    annotation.unlink()
    annotation.write_text(text)
    assert graph.materialize("raw_edf_index").success
    assert graph.staleness() == everything
    assert graph.status("cache_manifest") is STALE
    assert graph.materialize("cache_manifest").success
    assert graph.status("cache_manifest") is FRESH

    # A recording becomes excluded: the manifest, no partition.
    annotation.unlink()
    assert graph.materialize("raw_edf_index").success
    assert graph.staleness() == everything
    assert graph.status("cache_manifest") is STALE
    assert graph.materialize("cache_manifest").success
    assert graph.status("cache_manifest") is FRESH

    # A new version of the chain: every partition, and not the index.
    bumped = graph.settings.model_copy(update={"preprocessing": Preprocessing(notch_hz=50)})
    assert graph.staleness(bumped) == {STALE: recordings}
    assert graph.status("raw_edf_index", bumped) is FRESH
    # Another label map: the manifest and no partition.
    labels = graph.settings.model_copy(update={"labels": Labels(seizure=("fnsz", "seiz"))})
    assert graph.staleness(labels) == everything
    assert graph.status("raw_edf_index", labels) is FRESH
    assert graph.status("cache_manifest", labels) is STALE


def test_a_bump_of_the_algorithm_makes_every_partition_stale(
    one_built: Configuration,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from brainbrr_core.cache.version import chain_fingerprint

    graph = wide_graph(one_built, tmp_path, instance, 5)
    bumped = ALGORITHM_VERSION + 1
    monkeypatch.setattr("brainbrr_core.cache.version.ALGORITHM_VERSION", bumped)
    chain_fingerprint.cache_clear()
    try:
        assert graph.staleness() == {STALE: 5}
        assert graph.status("raw_edf_index") is FRESH
    finally:
        chain_fingerprint.cache_clear()


def test_every_materialization_carries_its_code_version_and_data_version(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 4)
    items = {i.recording.partition_key: i for i in plan_profile(graph.settings).items}
    records = instance.fetch_materializations(CACHE, limit=100).records
    by_partition = {r.partition_key: r for r in records if r.partition_key}
    assert by_partition.keys() == items.keys()
    for key, record in by_partition.items():
        assert record.asset_materialization is not None
        tags = record.asset_materialization.tags or {}
        assert tags[DATA_VERSION_TAG] == items[key].fingerprint
        assert tags[CODE_VERSION_TAG] == Store.of(graph.settings).version
        assert tags["dagster/input_data_version/raw_edf"].startswith(
            items[key].recording.content_hash
        )
    for name in ("raw_edf_index", "cache_manifest", "windowed_cache"):
        tags = latest(instance, name).tags or {}
        assert tags[DATA_VERSION_TAG]
        assert tags[CODE_VERSION_TAG]


def test_a_lost_dagster_home_is_filled_again_without_building(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 6)
    shards = list(graph.settings.cache_root.rglob("*.arrow"))
    before = {path: path.stat().st_mtime_ns for path in shards}
    with dg.DagsterInstance.ephemeral() as fresh:
        graph.instance = fresh
        assert graph.statuses() == {}
        keys = [r.partition_key for r in read_index(graph.settings.cache_root)]
        assert graph.recorded(graph.build(keys[:2])) == keys[:2]
        assert graph.materialize(*CHAIN).success
        assert graph.staleness() == {FRESH: 6}
        assert others(graph) == {"raw_edf_index": FRESH, "cache_manifest": FRESH}
    assert {path: path.stat().st_mtime_ns for path in shards} == before


@pytest.mark.parametrize("damage", ["deleted", "truncated"])
def test_a_shard_that_goes_behind_dagsters_back_is_rebuilt(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance, damage: str
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 4)
    victim = plan_profile(graph.settings).items[1].recording.partition_key
    shard = Store.of(graph.settings).shard_path(victim)
    whole = shard.read_bytes()
    shard.unlink()
    if damage == "truncated":
        shard.write_bytes(whole[: len(whole) // 2])
    assert [i.recording.partition_key for i in plan_profile(graph.settings).to_build] == [victim]
    assert graph.materialize("raw_edf_index").success
    assert graph.status("cache_manifest") is STALE
    assert graph.recorded(graph.materialize("windowed_cache")) == [victim]
    assert plan_profile(graph.settings).to_build == []
    # The very same bytes: the manifest that was made of them is current again.
    assert graph.status("cache_manifest") is FRESH


def test_a_run_with_its_own_list_builds_that_and_nothing_else(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 8)
    keys = [i.recording.partition_key for i in plan_profile(graph.settings).items]
    store = Store.of(graph.settings)
    for key in keys:
        store.shard_path(key).unlink()
    result = graph.build([keys[6], keys[1]])
    assert result.success
    assert graph.recorded(result) == [keys[1], keys[6]]
    assert store.shard_keys() == {keys[1], keys[6]}
    assert graph.instance.get_dynamic_partitions(NAME) == keys
    unknown = graph.build(["train/nobody/x"])
    assert "train/nobody/x" in failure_of(unknown)


def test_a_run_of_another_version_than_the_one_loaded_stops(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    from brainbrr_pipeline.resources import Workspace

    graph = wide_graph(one_built, tmp_path, instance, 3)
    bumped = graph.settings.model_copy(update={"preprocessing": Preprocessing(notch_hz=50)})
    graph.resources["workspace"] = Workspace(settings=json.dumps(bumped.model_dump(mode="json")))
    result = graph.materialize("windowed_cache")
    assert not result.success
    assert "reload the definitions" in failure_of(result)
    assert graph.recorded(result) == []


def test_scattered_stale_partitions_are_one_run_of_a_backfill(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 60)
    before = instance.get_dynamic_partitions(NAME)
    for path in edfs(graph)[::2]:
        change(path)
    assert graph.materialize("raw_edf_index").success
    after = instance.get_dynamic_partitions(NAME)
    assert sorted(after) == sorted(before) and after != before
    # Only those whose EDF changed, as before, and all of them in one range.
    assert graph.staleness() == {STALE: 30, FRESH: 30}
    asset_graph = graph.defs(partitioned=True).resolve_asset_graph()
    wanted = [AssetKeyPartitionKey(CACHE, key) for key in sorted(before)[::2]]
    with partition_loading_context(dynamic_partitions_store=instance):
        requests = build_run_requests_with_backfill_policies(wanted, asset_graph, instance)
    assert len(requests) == 1
    result = graph.materialize("windowed_cache", tags=dict(requests[0].tags))
    assert result.success
    assert graph.staleness() == {FRESH: 60}
