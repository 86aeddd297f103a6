"""Asset checks and what the UI is given to show."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import dagster as dg
import numpy as np
import pytest
from dagster._core.definitions.data_version import StaleStatus

from brainbrr_core.cache import readiness
from brainbrr_core.cache.plan import State, plan_profile
from brainbrr_core.cache.status import status
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.runs import run as runs
from tests.support.pipeline_graph import CACHE, Graph, latest, wide_graph
from tests.support.run_records import recorded_run
from tests.support.small_run import small_settings

pytestmark = pytest.mark.usefixtures("one_worker")


def failed(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Checks that did not pass, with what they say."""
    return {
        e.check_name: f"{e.severity.value}: {e.description}"
        for e in result.get_asset_check_evaluations()
        if not e.passed
    }


def column(metadata: Mapping[str, object], table: str, name: str) -> list[object]:
    """A column of a table in the metadata of a materialization."""
    value = metadata[table]
    assert isinstance(value, dg.TableMetadataValue)
    return [record.data[name] for record in value.records]


def linked(metadata: Mapping[str, object], name: str) -> list[object]:
    """The partitions of windowed_cache whose pages are linked, which the UI shows at once."""
    value = metadata[name]
    assert isinstance(value, dg.MarkdownMetadataValue)
    assert len(str(value.value)) < 1000
    links = re.findall(
        r"\]\(/assets/windowed_cache\?view=partitions&partition=(\S+)\)", str(value.value)
    )
    return [unquote(link) for link in links]


def steps_run(result: dg.ExecuteInProcessResult) -> set[str]:
    return {str(e.step_key) for e in result.all_events if e.event_type_value == "STEP_SUCCESS"}


def test_an_incomplete_cache_blocks_what_follows(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 6)
    key = read_index(graph.settings.cache_root).recordings[2].partition_key
    Store.of(graph.settings).shard_path(key).unlink()
    checks = graph.check("windowed_cache")
    assert key in failed(checks)["complete_for_the_profile"]
    assert "brainbrr cache build" in failed(checks)["complete_for_the_profile"]
    # Training would refuse it too; the check says so before.
    failures = failed(graph.check("cache_manifest"))
    assert failures.keys() == {"matches_the_cache", "fit_for_training"}


def test_a_damaged_shard_is_detected_quarantined_and_built_again(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 6)
    key = read_index(graph.settings.cache_root).recordings[4].partition_key
    shard = Store.of(graph.settings).shard_path(key)
    shard.unlink()
    assert graph.build([key]).success
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    result = graph.materialize("windowed_cache", "cache_manifest")
    assert key in failed(result)["checksums_on_a_sample"]
    assert not result.success
    assert "cache_manifest" not in steps_run(result)
    assert [i.recording.partition_key for i in plan_profile(graph.settings).to_build] == [key]
    again = graph.materialize("windowed_cache", "cache_manifest")
    assert again.success
    assert failed(again) == {}
    assert graph.recorded(again) == [key]


def test_a_stale_manifest_and_a_missing_model_are_reported(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 4)
    annotation = Path(read_index(graph.settings.cache_root).recordings[1].path).with_suffix(
        ".csv_bi"
    )
    text = annotation.read_text().replace("seiz", "bckg")
    annotation.unlink()
    annotation.write_text(text)
    assert graph.materialize("raw_edf_index").success
    failures = failed(graph.check("cache_manifest"))
    assert failures.keys() == {"matches_the_cache", "fit_for_training"}
    assert "materialize cache_manifest" in failures["matches_the_cache"]
    failures = failed(graph.check("trained_model"))
    assert "brainbrr manifest" in failures["trained_on_the_current_version"]


def test_a_corpus_without_seizures_blocks(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 3)
    for recording in read_index(graph.settings.cache_root):
        annotation = Path(recording.path).with_suffix(".csv_bi")
        text = annotation.read_text().replace("seiz", "bckg")
        annotation.unlink()
        annotation.write_text(text)
    result = graph.materialize("raw_edf_index", "windowed_cache")
    assert failed(result).keys() == {"seizures_present"}
    assert "windowed_cache" not in steps_run(result)


def test_an_orphan_is_shown(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 24)
    gone = read_index(graph.settings.cache_root).recordings[5]
    Path(gone.path).unlink()
    assert graph.materialize("raw_edf_index").success
    failures = failed(graph.check("windowed_cache"))
    assert failures.keys() == {"no_orphans"}
    assert failures["no_orphans"].startswith(
        f"WARN: 1 shard of recordings that are excluded or not in the index: {gone.partition_key}"
    )
    metadata = latest(instance, "raw_edf_index").metadata
    assert metadata["orphans"].value == [gone.partition_key]


def test_what_needs_building_and_what_is_excluded_is_named_and_counted_alike_everywhere(
    corpus: Path, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    built = small_settings(tmp_path, corpus)
    graph = Graph(built, instance)
    assert graph.materialize("raw_edf_index", "windowed_cache").success
    index = read_index(built.cache_root)
    usable = [r for r in index if r.reason is None]
    no_edf, no_labels = Path(usable[0].path), Path(usable[1].path).with_suffix(".csv_bi")
    content = no_edf.read_bytes()
    no_edf.unlink()
    no_edf.write_bytes(content[:100])
    no_labels.unlink()
    missing = [r.partition_key for r in usable[2:]]
    for key in missing:
        Store.of(built).shard_path(key).unlink()
    assert graph.materialize("raw_edf_index").success
    shown = latest(instance, "raw_edf_index").metadata
    check = next(
        e
        for e in graph.check("windowed_cache").get_asset_check_evaluations()
        if e.check_name == "complete_for_the_profile"
    )
    counted = status(plan_profile(built), built.manifest_settings)
    by_name = {r.partition_key: r for r in read_index(built.cache_root)}
    for metadata in (shown, check.metadata):
        assert metadata["to build"].value == len(missing)
        assert column(metadata, "not fresh (first 20)", "recording") == missing[:20]
        excluded = column(metadata, "excluded recordings (first 100)", "recording")
        assert usable[0].partition_key in excluded
        assert metadata["excluded"].value == len(excluded) == counted.states[State.EXCLUDED]
        unlabeled = column(metadata, "unlabeled (first 100)", "recording")
        assert usable[1].partition_key in unlabeled
        for name, keys in (("open one to build", missing), ("open an excluded one", excluded)):
            assert linked(metadata, name) == keys[: len(linked(metadata, name))] != []
        reasons = column(metadata, "excluded recordings (first 100)", "reason")
        assert reasons == [by_name[str(key)].reason for key in excluded]
        # The table of the index counts in the same way.
        for title, keys in (("excluded", excluded), ("unlabeled", unlabeled)):
            assert sum(int(str(n)) for n in column(shown, "splits", title)) == len(keys)
    # Build, record and update the manifest, each at the request of the sensor.
    for _ in range(3):
        graph.follow(graph.tick())
    left_out = counted.states[State.EXCLUDED]
    up_to_date = f"up to date: {len(index) - left_out} fresh, {left_out} excl"
    assert up_to_date in str(graph.tick().skip_message)


def test_an_excluded_recording_is_recorded_with_its_reason_and_follows_its_edf(
    corpus: Path, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = Graph(small_settings(tmp_path, corpus), instance)
    assert graph.materialize("raw_edf_index", "windowed_cache").success
    victim = next(r for r in read_index(graph.settings.cache_root) if r.reason is None)
    key, edf = victim.partition_key, Path(victim.path)
    content = edf.read_bytes()

    def shown() -> dict[str, object]:
        records = instance.fetch_materializations(CACHE, limit=100).records
        record = next(record for record in records if record.partition_key == key)
        assert record.asset_materialization is not None
        return {name: v.value for name, v in record.asset_materialization.metadata.items()}

    assert "excluded" not in shown()
    # Unreadable now: the sensor asks for an index, then for a record of the reason, once.
    edf.unlink()
    edf.write_bytes(content[:100])
    assert [request.job_name for request in graph.tick().run_requests or []] == ["update_index"]
    graph.follow(graph.tick())
    assert graph.statuses()[key] is StaleStatus.STALE
    [request] = graph.tick().run_requests or []
    assert request.run_config["ops"]["build_recordings"]["config"]["keys"] == [key]
    assert all(result.success for result in graph.follow(graph.tick()))
    assert (shown()["excluded"], shown()["which means"]) == (
        "unreadable", "the file is not a readable EDF, or not of the format of its suffix",
    )  # fmt: skip
    assert set(graph.statuses().values()) == {StaleStatus.FRESH}
    assert instance.get_materialized_partitions(CACHE) == set(graph.statuses())
    graph.follow(graph.tick())
    assert "1 excluded" in str(graph.tick().skip_message)
    # Another version of the chain makes it stale as it does every other partition.
    bumped = graph.settings.model_copy(update={"preprocessing": Preprocessing(notch_hz=50)})
    assert graph.statuses(bumped)[key] is StaleStatus.STALE
    # A backfill of it succeeds, and records it again.
    tags = {
        "dagster/asset_partition_range_start": key,
        "dagster/asset_partition_range_end": key,
        "dagster/backfill": "abcdefgh",
    }
    again = graph.materialize("windowed_cache", tags=tags)
    assert again.success and graph.recorded(again) == [key]
    # The EDF is repaired: a shard, and no word of an exclusion.
    edf.write_bytes(content)
    assert graph.materialize("raw_edf_index").success
    assert graph.statuses()[key] is StaleStatus.STALE
    assert graph.materialize("windowed_cache").success
    assert "excluded" not in shown() and shown()["bytes"]
    assert graph.statuses()[key] is StaleStatus.FRESH


def test_what_the_ui_shows_of_a_partition_and_of_the_tables(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 5)
    item = plan_profile(graph.settings).items[0]
    record = next(
        r
        for r in instance.fetch_materializations(CACHE, limit=100).records
        if r.partition_key == item.recording.partition_key
    )
    assert record.asset_materialization is not None
    shown = {name: v.value for name, v in record.asset_materialization.metadata.items()}
    assert shown["bytes"] == item.bytes
    assert shown["hours"] == round(item.recording.duration_s / 3600, 4)
    assert shown["windows"] == int((item.recording.duration_s - 60) // 10) + 1
    assert shown["seizures"] == len(item.recording.events)
    assert {"build seconds", "channels interpolated", "findings"} <= shown.keys()
    assert latest(instance, "raw_edf_index").metadata["dagster/row_count"].value == 5
    of_manifest = latest(instance, "cache_manifest").metadata
    assert of_manifest["dagster/row_count"].value == 5 * shown["windows"]
    # Two tables, as one of all columns would be wider than the page.
    tables = {name: rows.records for name, rows in of_manifest.items() if hasattr(rows, "records")}
    assert len(tables["splits"]) == len(tables["windows"]) > 0
    assert not any("window" in name for row in tables["splits"] for name in row.data)
    counted = [
        sum(int(str(n)) for n in column(of_manifest, "windows", f"{share} seizure"))
        for share in ("without", "partly", "fully")
    ]
    assert sum(counted) == 5 * shown["windows"]
    by_type = np.array(column(of_manifest, "seizures by type", "seizures"))
    assert by_type.sum() == 5 * shown["seizures"]
    balance = np.array(column(of_manifest, "class balance", "windows"))
    assert balance.sum() == 5 * shown["windows"]
    raw = 5 * shown["windows"] * 19 * 15360 * 4
    assert of_manifest["bytes of the same windows as overlapping float32"].value == raw


def test_a_run_of_one_partition_leaves_no_check_skipped(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 4)
    first, second = [r.partition_key for r in read_index(graph.settings.cache_root)][:2]
    Store.of(graph.settings).shard_path(second).unlink()
    assert graph.materialize("windowed_cache", partition=first).success
    assert check_statuses(graph) == {"complete_for_the_profile": "FAILED"} | dict.fromkeys(
        ("checksums_on_a_sample", "no_orphans"), "SUCCEEDED"
    )
    assert graph.materialize("windowed_cache", partition=second).success
    assert set(check_statuses(graph).values()) == {"SUCCEEDED"}


def check_statuses(graph: Graph) -> dict[str, str]:
    """What Dagster stores as the newest execution of each check of windowed_cache."""
    keys = graph.defs(partitioned=True).resolve_asset_graph().get_check_keys_for_assets({CACHE})
    storage = graph.instance.event_log_storage
    records = storage.get_latest_asset_check_execution_by_key(list(keys))
    return {key.name: record.status.value for key, record in records.items()}


def test_each_check_can_be_executed_by_itself(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 3)
    checks = dg.AssetSelection.all_asset_checks()
    assets = graph.defs(partitioned=True).resolve_asset_graph()
    executed = set()
    for key in checks.resolve_checks(assets):
        if key.asset_key == dg.AssetKey("eval_report"):
            # The only check of its asset.
            continue
        selection = dg.AssetSelection.checks(key)
        job = dg.define_asset_job("one_check", selection)
        defs = dg.Definitions.merge(graph.defs(partitioned=True), dg.Definitions(jobs=[job]))
        result = defs.resolve_job_def("one_check").execute_in_process(
            instance=instance, raise_on_error=False
        )
        (evaluation,) = result.get_asset_check_evaluations()
        assert evaluation.check_name == key.name
        executed.add(key.name)
    assert len(executed) == 9


def test_the_check_of_the_loss_shows_it_rounded(
    one_built: Configuration,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 3)
    recorded = recorded_run(tmp_path)
    monkeypatch.setattr(readiness, "check", lambda _cache: SimpleNamespace(manifest=None))
    key = dg.AssetCheckKey(dg.AssetKey("trained_model"), "loss_is_finite")
    job = dg.define_asset_job("one_check", dg.AssetSelection.checks(key))
    defs = dg.Definitions.merge(graph.defs(partitioned=True), dg.Definitions(jobs=[job]))
    for loss, passed, shown in ((0.123456789, True, 0.12346), (math.inf, False, math.inf)):
        fit = recorded.record.fit.model_copy(update={"last_loss": loss})
        record = recorded.record.model_copy(update={"fit": fit})
        run = replace(recorded, record=record)
        monkeypatch.setattr(runs, "current_run", lambda *_, run=run: run)
        result = defs.resolve_job_def("one_check").execute_in_process(
            instance=instance, raise_on_error=False
        )
        (evaluation,) = result.get_asset_check_evaluations()
        assert (evaluation.passed, evaluation.metadata["loss"].value) == (passed, shown)


def test_curves_are_a_picture_in_markdown(tmp_path: Path) -> None:
    from brainbrr_pipeline.records.metadata import curves
    from tests.support.run_records import recorded_run

    run = recorded_run(tmp_path)
    assert "no `steps.jsonl`" in curves(run)
    (tmp_path / "steps.jsonl").write_text(
        "".join(
            f'{{"step": {step}, "loss": 0.5, "gradient_norm": 1.0, "learning_rate": 0.1}}\n'
            for step in (1, 2, 2, 3)
        )
    )
    shown = curves(run)
    assert shown.startswith("![")
    encoded = shown.split("base64,")[1].rstrip(")")
    assert base64.b64decode(encoded).startswith(b"\x89PNG")
