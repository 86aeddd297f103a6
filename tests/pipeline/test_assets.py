"""Materializing the assets: what is built, what is recorded, and what is stale afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import StaleStatus

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import MontageName
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.edf.channels import Aliases
from brainbrr_core.edf.reader import EdfRecording, open_edf
from brainbrr_pipeline.records.partitions import NAME
from brainbrr_pipeline.resources import GpuResource
from tests.support.edf_files import another_copy
from tests.support.pipeline_graph import CACHE, Graph, change, failure_of
from tests.support.small_run import small_settings

CHECK_STEPS = ("index_checks", "cache_checks", "manifest_checks", "model_checks", "report_checks")


pytestmark = pytest.mark.usefixtures("one_worker")


@pytest.fixture
def graph(corpus: Path, tmp_path: Path, instance: dg.DagsterInstance) -> Graph:
    return Graph(small_settings(tmp_path, corpus), instance)


def make_unreadable(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the build fail to read one recording."""

    def open_or_fail(
        path: Path,
        missing: Iterable[str],
        rules: ChannelRules | None,
        montage: MontageName,
        aliases: Aliases,
    ) -> EdfRecording:
        if key in path.as_posix():
            raise OSError("the disk is on fire")
        return open_edf(path, missing, rules, montage, aliases)

    monkeypatch.setattr("brainbrr_core.cache.shard_build.open_edf", open_or_fail)


def test_the_whole_graph_runs_and_a_second_run_rebuilds_nothing(graph: Graph) -> None:
    names = ("raw_edf_index", "windowed_cache", "cache_manifest", "trained_model", "eval_report")
    result = graph.materialize(*names)
    assert result.success
    ran = {
        event.step_key for event in result.all_events if event.event_type_value == "STEP_SUCCESS"
    }
    assert ran == {*names, *CHECK_STEPS}
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == 10
    assert [e.check_name for e in evaluations if not e.passed] == []
    keys = [r.partition_key for r in read_index(graph.settings.cache_root)]
    assert graph.recorded(result) == keys
    assert graph.instance.get_dynamic_partitions(NAME) == keys
    assert graph.staleness() == {StaleStatus.FRESH: 12}
    reports = list(graph.settings.runs_dir.glob("*/report-eval/report.html"))
    models = list(graph.settings.runs_dir.glob("*/model.safetensors"))
    assert (len(reports), len(models)) == (1, 1)
    before = [path.stat().st_mtime_ns for path in (*reports, *models)]
    again = graph.materialize(*names)
    assert again.success
    assert graph.recorded(again) == []
    assert [path.stat().st_mtime_ns for path in (*reports, *models)] == before


def test_one_changed_edf_makes_one_partition_stale(graph: Graph) -> None:
    graph.materialize("raw_edf_index", "windowed_cache")
    victim = read_index(graph.settings.cache_root).recordings[7]
    change(Path(victim.path))
    graph.materialize("raw_edf_index")
    stale = [k for k, status in graph.statuses().items() if status is StaleStatus.STALE]
    assert stale == [victim.partition_key]
    result = graph.materialize("windowed_cache")
    assert graph.recorded(result) == [victim.partition_key]
    assert graph.staleness() == {StaleStatus.FRESH: 12}


def test_an_added_edf_is_missing_and_makes_no_other_stale(graph: Graph) -> None:
    graph.materialize("raw_edf_index", "windowed_cache")
    model = Path(read_index(graph.settings.cache_root).recordings[0].path)
    new = model.with_name("newpatie_s001_t000.edf")
    another_copy(model, new)
    new.with_suffix(".csv_bi").write_bytes(model.with_suffix(".csv_bi").read_bytes())
    graph.materialize("raw_edf_index")
    assert graph.staleness() == {StaleStatus.FRESH: 12, StaleStatus.MISSING: 1}
    result = graph.materialize("windowed_cache")
    assert len(graph.recorded(result)) == 1
    assert graph.staleness() == {StaleStatus.FRESH: 13}


def test_a_new_preprocessing_version_makes_every_partition_stale(graph: Graph) -> None:
    graph.materialize("raw_edf_index", "windowed_cache")
    bumped = graph.settings.model_copy(update={"preprocessing": Preprocessing(notch_hz=50)})
    assert graph.staleness(bumped) == {StaleStatus.STALE: 12}
    assert graph.staleness() == {StaleStatus.FRESH: 12}


def test_one_partition_is_built_alone(graph: Graph) -> None:
    graph.materialize("raw_edf_index")
    key = graph.instance.get_dynamic_partitions(NAME)[2]
    result = graph.materialize("windowed_cache", partition=key)
    assert result.success
    assert graph.recorded(result) == [key]
    assert graph.staleness() == {StaleStatus.FRESH: 1, StaleStatus.MISSING: 11}


def test_a_shard_that_dagster_never_saw_is_recorded_not_rebuilt(graph: Graph) -> None:
    build(plan_corpus(graph.settings), graph.settings.preprocessing, workers=1)
    root = graph.settings.cache_root
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.arrow")}
    result = graph.materialize("raw_edf_index", "windowed_cache")
    assert len(graph.recorded(result)) == 12
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.arrow")} == before
    assert graph.staleness() == {StaleStatus.FRESH: 12}


def test_a_failing_recording_fails_its_own_partition_and_the_run(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.materialize("raw_edf_index")
    keys = graph.instance.get_dynamic_partitions(NAME)
    make_unreadable(keys[4], monkeypatch)
    result = graph.materialize("windowed_cache", "cache_manifest")
    assert not result.success
    others = set(keys) - {keys[4]}
    assert graph.instance.get_materialized_partitions(CACHE) == others
    assert graph.statuses()[keys[4]] is StaleStatus.MISSING
    assert "the disk is on fire" in failure_of(result)


def test_a_training_bound_to_another_gpu_is_refused(graph: Graph) -> None:
    graph.resources["gpu"] = GpuResource.of_profile("a100")
    result = graph.materialize("trained_model")
    assert "bound to a100" in failure_of(result)


def test_an_error_that_a_user_can_fix_is_one_line(graph: Graph) -> None:
    result = graph.materialize("cache_manifest")
    description = failure_of(result)
    assert "brainbrr index" in description
    assert "\n" not in description


def test_a_range_with_one_bad_file_builds_the_others_in_one_run(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.materialize("raw_edf_index")
    keys = graph.instance.get_dynamic_partitions(NAME)
    make_unreadable(keys[4], monkeypatch)
    graph.materialize("windowed_cache", partition=keys[3])
    tags = {
        "dagster/asset_partition_range_start": keys[2],
        "dagster/asset_partition_range_end": keys[6],
    }
    result = graph.materialize("windowed_cache", tags=tags)
    assert not result.success
    # Of the range: the planned ones, without the one that was there and the one that failed.
    assert graph.recorded(result) == [keys[2], keys[5], keys[6]]
    assert graph.staleness() == {StaleStatus.FRESH: 4, StaleStatus.MISSING: 8}
    # A backfill counts a partition that its run did not record for failed: there, all are.
    again = graph.materialize("windowed_cache", tags=tags | {"dagster/backfill": "abcdefgh"})
    assert graph.recorded(again) == [keys[2], keys[3], keys[5], keys[6]]
    assert keys[4] in failure_of(again)


def test_a_backfill_of_a_range_is_one_run_and_scattered_ones_are_one_run_with_a_list(
    graph: Graph,
) -> None:
    from dagster._core.definitions.automation_tick_evaluation_context import (
        build_run_requests_with_backfill_policies,
    )
    from dagster._core.definitions.events import AssetKeyPartitionKey
    from dagster._core.definitions.partitions.context import partition_loading_context

    graph.materialize("raw_edf_index")
    keys = graph.instance.get_dynamic_partitions(NAME)
    assets = graph.defs(partitioned=True).resolve_asset_graph()

    def runs(chosen: Sequence[str]) -> int:
        with partition_loading_context(dynamic_partitions_store=graph.instance):
            return len(
                build_run_requests_with_backfill_policies(
                    {AssetKeyPartitionKey(CACHE, key) for key in chosen},
                    asset_graph=assets,
                    dynamic_partitions_store=graph.instance,
                )
            )

    assert runs(keys) == 1
    assert runs(keys[3:9]) == 1
    result = graph.build(keys[::5])
    assert graph.recorded(result) == sorted(keys[::5])
    assert graph.staleness() == {StaleStatus.FRESH: 3, StaleStatus.MISSING: 9}
