"""The graph on one corpus, run in part or whole, and Dagster's own view of staleness."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.loader import LoadingContextForTest

from brainbrr_core.benchmark.many_recordings import with_many_recordings
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_pipeline.graph import build_defs
from brainbrr_pipeline.records.partitions import NAME
from brainbrr_pipeline.resources import Workspace

CACHE = dg.AssetKey("windowed_cache")
CHAIN = ("raw_edf_index", "windowed_cache", "cache_manifest")


class Graph:
    """The graph of one configuration: run parts of it as the command line and as the UI would."""

    def __init__(self, settings: Configuration, instance: dg.DagsterInstance) -> None:
        self.instance, self.settings = instance, settings
        self.resources: dict[str, object] = {}

    def defs(self, *, partitioned: bool) -> dg.Definitions:
        return build_defs(self.settings, partitioned=partitioned, resources=self.resources)

    def materialize(
        self, *names: str, partition: str | None = None, tags: dict[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run assets, of one partition, of the range that the tags give, or unpartitioned."""
        partitioned = partition is not None or tags is not None
        job = self.defs(partitioned=partitioned).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in names],
            partition_key=partition,
            tags=tags,
            raise_on_error=False,
        )

    def check(self, name: str) -> dg.ExecuteInProcessResult:
        """Run an asset's checks without the asset."""
        job = dg.define_asset_job("checks", dg.AssetSelection.checks_for_assets(name))
        defs = dg.Definitions.merge(self.defs(partitioned=False), dg.Definitions(jobs=[job]))
        return defs.resolve_job_def("checks").execute_in_process(
            instance=self.instance, raise_on_error=False
        )

    def build(self, keys: Sequence[str]) -> dg.ExecuteInProcessResult:
        """Run the job build_cache with a list of partition keys."""
        job = self.defs(partitioned=True).resolve_job_def("build_cache")
        return job.execute_in_process(
            instance=self.instance,
            run_config={"ops": {"build_recordings": {"config": {"keys": list(keys)}}}},
            raise_on_error=False,
        )

    def tick(self) -> SensorExecutionData:
        """What a tick of the sensor returns now."""
        repository = self.defs(partitioned=True).get_repository_def()
        resources = {"workspace": Workspace.of(self.settings)} | self.resources
        with dg.build_sensor_context(
            instance=self.instance, repository_def=repository, resources=resources
        ) as context:
            return repository.get_sensor_def("keep_up").evaluate_tick(context)

    def follow(self, tick: SensorExecutionData) -> list[dg.ExecuteInProcessResult]:
        """Run what the sensor requested."""
        defs = self.defs(partitioned=True)
        return [
            defs.resolve_job_def(str(request.job_name)).execute_in_process(
                instance=self.instance,
                run_config=request.run_config,
                tags=dict(request.tags),
                raise_on_error=False,
            )
            for request in tick.run_requests or []
        ]

    def recorded(self, result: dg.ExecuteInProcessResult) -> list[str]:
        """Partitions of windowed_cache that a run recorded."""
        records = self.instance.fetch_materializations(CACHE, limit=10_000).records
        return sorted(
            record.partition_key
            for record in records
            if record.partition_key and record.run_id == result.run_id
        )

    def staleness(self, settings: Configuration | None = None) -> dict[StaleStatus, int]:
        """How many partitions of windowed_cache Dagster's own resolver gives each status."""
        return dict(Counter(self.statuses(settings).values()))

    def statuses(self, settings: Configuration | None = None) -> dict[str, StaleStatus]:
        """The status of each partition of windowed_cache, by its key."""
        resolver = self._resolver(settings)
        return {
            key: resolver.get_status(CACHE, key)
            for key in self.instance.get_dynamic_partitions(NAME)
        }

    def status(
        self, name: str, settings: Configuration | None = None, partition: str | None = None
    ) -> StaleStatus:
        """The status that Dagster's own resolver gives an asset, or a partition of it."""
        return self._resolver(settings).get_status(dg.AssetKey(name), partition)

    def _resolver(self, settings: Configuration | None) -> CachingStaleStatusResolver:
        defs = build_defs(settings or self.settings, resources=self.resources)
        return CachingStaleStatusResolver(
            instance=self.instance,
            asset_graph=defs.resolve_asset_graph(),
            loading_context=LoadingContextForTest(self.instance),
        )


def wide_graph(
    one_built: Configuration, folder: Path, instance: dg.DagsterInstance, recordings: int
) -> Graph:
    """A corpus of one recording many times, built and recorded, with its manifest."""
    graph = Graph(wide_settings(one_built, folder, recordings), instance)
    result = graph.materialize(*CHAIN)
    assert result.success
    assert len(graph.recorded(result)) == recordings
    return graph


def wide_settings(one_built: Configuration, folder: Path, recordings: int) -> Configuration:
    """A corpus of one recording many times, indexed and built, without records in Dagster."""
    usable = [r for r in read_index(one_built.cache_root) if r.reason is None and r.events]
    model = min(usable, key=lambda r: r.duration_s if r.duration_s >= 60 else 1e9)
    return with_many_recordings(one_built, model, folder / "wide", recordings)


def latest(instance: dg.DagsterInstance, name: str) -> dg.AssetMaterialization:
    """The newest materialization of an asset."""
    event = instance.get_latest_materialization_event(dg.AssetKey(name))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The description of the first step's failure."""
    failure = next(e for e in result.all_events if e.event_type_value == "STEP_FAILURE")
    user_failure = failure.step_failure_data.user_failure_data
    assert user_failure is not None
    return str(user_failure.description)


def change(path: Path) -> None:
    """Change some samples of an EDF. The file is replaced, since others may be hard links to it.

    Files with different names get different bytes.
    """
    content = bytearray(path.read_bytes())
    content[-3000] ^= 0x2A
    # The low bytes of four samples.
    for number, byte in enumerate(zlib.crc32(path.name.encode()).to_bytes(4, "little")):
        content[-3002 - 2 * number] ^= byte
    path.unlink()
    path.write_bytes(bytes(content))
