"""The sensor: what it asks for, step by step, and when it asks for nothing."""

from __future__ import annotations

import gc
from pathlib import Path

import dagster as dg
import pytest

from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Overrides, Preprocessing, load
from brainbrr_core.configuration.settings import Orchestration
from brainbrr_core.corpus.index_file import index_path, read_index
from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline import pending_work
from brainbrr_pipeline.pending_work import split_evenly
from brainbrr_pipeline.records.partitions import NAME
from brainbrr_pipeline.resources import Workspace
from tests.support.edf_files import another_copy
from tests.support.pipeline_graph import Graph, change, wide_graph, wide_settings

pytestmark = pytest.mark.usefixtures("one_worker")


def asked(graph: Graph) -> list[tuple[str, list[str]]]:
    """Jobs that a tick asks for, each with the keys it is handed."""
    return [
        (
            str(request.job_name),
            request.run_config.get("ops", {})
            .get("build_recordings", {})
            .get("config", {})
            .get("keys", []),
        )
        for request in graph.tick().run_requests or []
    ]


def run_until_quiet(graph: Graph) -> list[str]:
    """Follow the sensor; the jobs it asked for, in order."""
    jobs: list[str] = []
    for _ in range(8):
        tick = graph.tick()
        if not tick.run_requests:
            assert "up to date" in str(tick.skip_message)
            return jobs
        jobs += [str(request.job_name) for request in tick.run_requests]
        assert all(result.success for result in graph.follow(tick))
    raise AssertionError(f"never quiet: {jobs}")


def test_from_nothing_to_a_current_manifest(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = Graph(wide_settings(one_built, tmp_path, 6), instance)
    index = index_path(graph.settings.cache_root)
    for recording in read_index(index.parent):
        # What the index calls different is so in the files, which are to be read now.
        path = Path(recording.path)
        another_copy(path, path.with_suffix(".new"), int(recording.content_hash, 16))
        path.with_suffix(".new").replace(path)
    index.unlink()
    assert run_until_quiet(graph) == ["update_index", "build_cache", "update_manifest"]
    assert len(instance.get_dynamic_partitions(NAME)) == 6


def test_a_changed_an_added_and_a_removed_edf(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    # So many that one that goes is not taken for an unmounted drive.
    graph = wide_graph(one_built, tmp_path, instance, 24)
    assert run_until_quiet(graph) == []
    recordings = read_index(graph.settings.cache_root).recordings
    change(Path(recordings[3].path))
    added = Path(recordings[0].path).with_name("added.edf")
    another_copy(Path(recordings[0].path), added)
    assert asked(graph) == [("update_index", [])]
    graph.follow(graph.tick())
    new = recordings[0].partition_key.rsplit("/", 1)[0] + "/added"
    assert asked(graph) == [("build_cache", sorted([new, recordings[3].partition_key]))]
    assert run_until_quiet(graph) == ["build_cache", "update_manifest"]
    added.unlink()
    # The recording had no annotation, so no window: but what is selected did change.
    assert run_until_quiet(graph) == ["update_index", "update_manifest"]
    assert instance.get_dynamic_partitions(NAME) == [r.partition_key for r in recordings]


def test_a_corrected_annotation_asks_for_index_and_manifest_only(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 4)
    annotation = Path(read_index(graph.settings.cache_root).recordings[2].path).with_suffix(
        ".csv_bi"
    )
    text = annotation.read_text().replace("seiz", "bckg")
    annotation.unlink()
    annotation.write_text(text)
    assert run_until_quiet(graph) == ["update_index", "update_manifest"]


def test_scattered_partitions_come_in_few_runs_each_with_its_list(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 9)
    keys = [r.partition_key for r in read_index(graph.settings.cache_root)]
    for key in keys[::2]:
        Store.of(graph.settings).shard_path(key).unlink()
    assert asked(graph) == [("build_cache", keys[::2])]
    split = graph.settings.model_copy(update={"orchestration": Orchestration(recordings_per_run=2)})
    graph.resources["workspace"] = Workspace.of(split)
    runs = asked(graph)
    assert [job for job, _ in runs] == ["build_cache"] * 3
    assert sorted(key for _, run in runs for key in run) == keys[::2]


def test_requested_runs_and_runs_without_a_job_are_tagged(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 3)
    expected = {
        "brainbrr/profile": graph.settings.profile,
        "brainbrr/version": Store.of(graph.settings).version,
    }

    def tags(run: dg.DagsterRun) -> dict[str, str]:
        return {name: value for name, value in run.tags.items() if name in expected}

    [run] = instance.get_runs()
    assert tags(run) == expected
    # The definitions are those of another profile than the run's configuration.
    graph.resources["workspace"] = Workspace.of(
        graph.settings.model_copy(update={"profile": "mine: 50 % / ü"})
    )
    result = graph.materialize("raw_edf_index")
    run = instance.get_run_by_id(result.run_id) or run
    assert tags(run) == expected | {"brainbrr/profile": "mine: 50 % / ü"}
    key = read_index(graph.settings.cache_root).recordings[1].partition_key
    Store.of(graph.settings).shard_path(key).unlink()
    [request] = graph.tick().run_requests or []
    assert expected.keys() | {"brainbrr/asked_by"} <= request.tags.keys()
    assert request.tags["brainbrr/profile"] == "mine: 50 % / ü"


def test_an_even_split_keeps_every_key_once() -> None:
    keys = [str(number) for number in range(10)]
    assert [len(part) for part in split_evenly(keys, 4)] == [4, 3, 3]
    assert sorted(key for part in split_evenly(keys, 4) for key in part) == keys
    assert split_evenly(keys, None) == [keys]


def test_the_same_failing_work_is_not_asked_for_again_but_new_damage_is(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 4)
    key = read_index(graph.settings.cache_root).recordings[1].partition_key
    shard = Store.of(graph.settings).shard_path(key)

    def run_key() -> str:
        (request,) = graph.tick().run_requests or []
        return str(request.run_key)

    shard.unlink()
    first = run_key()
    assert run_key() == first
    graph.follow(graph.tick())
    assert shard.is_file()
    shard.unlink()
    assert run_key() != first


def test_it_waits_for_what_it_asked_for(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 3)
    key = read_index(graph.settings.cache_root).recordings[1].partition_key
    Store.of(graph.settings).shard_path(key).unlink()
    instance.create_run_for_job(
        graph.defs(partitioned=True).resolve_job_def("build_cache"),
        tags={"brainbrr/asked_by": "keep_up"},
    )
    tick = graph.tick()
    assert tick.run_requests == []
    assert "not finished" in str(tick.skip_message)


def test_another_version_than_the_loaded_one_says_reload(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 3)
    bumped = graph.settings.model_copy(update={"preprocessing": Preprocessing(notch_hz=50)})
    graph.resources["workspace"] = Workspace.of(bumped)
    tick = graph.tick()
    assert tick.run_requests == []
    assert "reload the definitions" in str(tick.skip_message)


def test_a_vanished_corpus_fails_the_tick_with_one_line(
    one_built: Configuration, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 3)
    Path(str(graph.settings.data_dir)).rename(tmp_path / "elsewhere")
    assert "no data directory" in tick_failure(graph)
    assert len(instance.get_dynamic_partitions(NAME)) == 3


def test_a_broken_configuration_fails_the_tick_with_one_line(
    one_built: Configuration, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph(one_built, instance)
    # As in a code server, the resource loads the configuration from the environment.
    graph.resources["workspace"] = Workspace()
    monkeypatch.setenv("BRAINBRR_CONFIG", "no-such-configuration")
    assert "no-such-configuration" in tick_failure(graph)


def tick_failure(graph: Graph) -> str:
    """The line with which a tick of the sensor fails."""
    with pytest.raises(dg.Failure) as failure:
        graph.tick()
    message = str(failure.value.description)
    assert "\n" not in message
    # Dagster would show the cause, with its traceback, below the line.
    assert failure.value.__cause__ is None and failure.value.__suppress_context__
    return message


def test_all_automation_is_off_until_turned_on(
    one_built: Configuration, instance: dg.DagsterInstance
) -> None:
    repository = Graph(one_built, instance).defs(partitioned=True).get_repository_def()
    statuses = [
        *(sensor.default_status.value for sensor in repository.sensor_defs),
        *(schedule.default_status.value for schedule in repository.schedule_defs),
    ]
    assert statuses == ["STOPPED"] * 3
    # And nothing else would materialize anything.
    nodes = list(repository.asset_graph.asset_nodes)
    assert [node.automation_condition for node in nodes] == [None] * len(nodes)


def test_a_tick_collects_no_garbage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collects: list[bool] = []

    def note(*_: object) -> None:
        collects.append(gc.isenabled())
        raise BrainbrrError("enough")

    monkeypatch.setattr(pending_work, "changes_of_corpora", note)
    settings = load(
        Overrides(config="smoke:cpu", data_dir=str(tmp_path), cache_root=str(tmp_path)), {}
    )
    assert gc.isenabled()
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(BrainbrrError, match="enough"):
        pending_work.work_to_do(instance, settings)
    assert collects == [False]
    assert gc.isenabled()
