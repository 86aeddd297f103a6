"""Building shards and recording them in Dagster, in one run.

The recordings to build are the run's partitions, a list in its configuration, or those of the
profile. Dagster passes a run a range of partitions, never a list, so thousands of scattered
partitions would become thousands of runs. A list in the run configuration avoids that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import dagster as dg

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest import window_count
from brainbrr_core.cache.plan import Item, Plan, State, make_plan
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.selection import select
from brainbrr_core.cache.shard_build import Built
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Preprocessing, Windows
from brainbrr_core.corpus.index_file import index_path, read_index
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.records.data_versions import (
    RAW_EDF_INDEX,
    ShardRecorder,
    observe,
    observe_selection,
    recorded_as,
)
from brainbrr_pipeline.records.event_writer import Context
from brainbrr_pipeline.records.metadata import Metadata, of_excluded
from brainbrr_pipeline.records.partitions import synchronize_folds, synchronize_partitions


def plan_keys(store: Store, preprocessing: Preprocessing, keys: Collection[str]) -> Plan:
    """The plan for some recordings of the index, whether or not the profile selects them.

    Raises :class:`BrainbrrError` for a partition key that is not in the index.
    """
    index = read_index(store.root)
    wanted = set(keys)
    unknown = sorted(wanted - {recording.partition_key for recording in index})
    if unknown:
        raise BrainbrrError(
            f"the index lacks {count(len(unknown), 'partition')}, such as {unknown[0]}: "
            "materialize raw_edf_index, which drops the partitions of removed recordings"
        )
    selected = [recording for recording in index if recording.partition_key in wanted]
    return make_plan(store, preprocessing, index, selected)


def plan_partitions(
    context: Context,
    cache: ProfileCache,
    keys: Collection[str] | None,
    index_and_plan: Callable[[], Plan],
) -> Plan:
    """The plan for some partitions, by default for the profile, with an up-to-date index.

    ``index_and_plan`` updates the index and plans the profile. It is called unless this run also
    materializes ``raw_edf_index``.
    """
    if RAW_EDF_INDEX in (context.run.asset_selection or ()):
        plan = cache.plan()
    else:
        plan = index_and_plan()
    if keys is None:
        return plan
    return plan_keys(cache.store, cache.preprocessing, keys)


def plan_list(cache: ProfileCache, keys: Collection[str], update: Callable[[], object]) -> Plan:
    """The plan for a list of partition keys, without a scan of the corpus where possible.

    ``update`` scans the corpus. It is called only if there is no index or if one of these EDFs has
    changed since, because there may be many such runs, each with its own list.
    """
    if index_path(cache.store.root).is_file():
        plan = plan_keys(cache.store, cache.preprocessing, keys)
        if not any(item.reason == "source changed" for item in plan.to_build):
            return plan
    update()
    return plan_keys(cache.store, cache.preprocessing, keys)


def build_and_record(
    context: Context,
    plan: Plan,
    cache: ProfileCache,
    code_version: str,
    *,
    record_all: bool = False,
) -> tuple[Plan, str]:
    """Build what a plan lists, and record it in Dagster.

    Returns the profile's plan afterwards, and the data version of its recordings. ``cache`` is that
    of the profile; the plan may cover only some of its recordings. ``code_version`` is that of
    ``windowed_cache``.

    Fresh shards and excluded recordings without a current record in Dagster are recorded too, the
    latter with their reason; with ``record_all``, all of them are. A recording that fails leaves
    its own partition without a record. :class:`dagster.Failure` is raised after all others are
    built.
    """
    synchronize_partitions(context.instance, plan.index)
    observe(context, [item.recording for item in plan.items])
    failed = _build(context, plan, cache, code_version, record_all=record_all)
    selected = {r.partition_key for r in select(plan.montage_index, cache.settings.selection)}
    is_profile = selected == {item.recording.partition_key for item in plan.items}
    after = plan if is_profile and not plan.to_build else cache.plan()
    synchronize_folds(context.instance, cache, after)
    version = observe_selection(context, after, cache.settings)
    if failed:
        raise dg.Failure(
            f"{len(failed)} of {count(len(plan.items), 'recording')} failed: "
            + "; ".join(f"{key}: {error}" for key, error in list(failed.items())[:10]),
            allow_retries=False,
        )
    return after, version


def _build(
    context: Context, plan: Plan, cache: ProfileCache, code_version: str, *, record_all: bool
) -> dict[str, str]:
    """Build and record; return the errors of failed recordings by partition key."""
    items = {item.recording.partition_key: item for item in plan.items}
    settings = cache.settings

    def describe(item: Item) -> Metadata:
        return shard_metadata(item, settings.windows, settings.seizure_labels)

    with ShardRecorder(context, code_version) as recorder:

        def on_result(result: Built) -> None:
            if result.error:
                context.log.error(f"{result.partition_key}: {result.error}")
                return
            item = items[result.partition_key]
            recorder.record(
                item.recording,
                result.fingerprint,
                describe(item)
                | {
                    "bytes": result.bytes,
                    "build seconds": round(result.seconds, 3),
                    "clipped samples": result.clipped,
                },
            )

        with _interruption_logged(context):
            summary = build(plan, cache.preprocessing, on_result=on_result)
        unrecorded = [
            (item, version)
            for item in plan.items
            if (
                version := recorded_as(item, code_version)
                if record_all
                else recorder.unrecorded(item)
            )
            is not None
        ]
        build_records = plan.store.records() if unrecorded else {}
        for item, version in unrecorded:
            if item.state is State.EXCLUDED:
                recorder.record(item.recording, version, of_excluded(item))
                continue
            metadata = describe(item) | {"bytes": item.bytes}
            built = build_records.get(item.recording.partition_key)
            if built is not None:
                metadata |= {"build seconds": built.seconds, "built at": built.built_at}
            recorder.record(item.recording, version, metadata)
    context.log.info(
        f"version {plan.store.version}: built {len(summary.built)}, built by others meanwhile "
        f"{len(summary.built_by_others)}, failed {len(summary.failed)}, already fresh "
        f"{plan.count(State.FRESH)}, excluded {plan.count(State.EXCLUDED)}; "
        f"{count(len(unrecorded), 'partition')} recorded that other commands built or excluded"
    )
    return {result.partition_key: result.error for result in summary.failed} | {
        item.recording.partition_key: item.reason for item in plan.unreadable
    }


@contextmanager
def _interruption_logged(context: Context) -> Iterator[None]:
    """Log the notes of an interruption, which say what has been built."""
    try:
        yield
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as interruption:
        for note in getattr(interruption, "__notes__", ()):
            context.log.warning(note)
        raise


def shard_metadata(item: Item, windows: Windows, seizure_labels: tuple[str, ...]) -> Metadata:
    """Metadata of a partition of ``windowed_cache`` that follow from the index."""
    recording = item.recording
    return {
        "hours": round(recording.duration_s / 3600, 4),
        "windows": window_count(recording, windows, seizure_labels),
        "seizures": len(recording.seizures(seizure_labels)),
        "channels interpolated": ", ".join(recording.missing) or "none",
        "findings": ", ".join(sorted({f.code for f in recording.findings})) or "none",
    }
