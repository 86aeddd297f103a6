"""Building and recording shards in one run: what its partitions, its list or the profile need.

Dagster gives a run a range of partitions, never a scattered list; with its ranges, thousands of
scattered partitions would be thousands of runs. A list in the configuration of a run has no such
limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from brainbrr_core.cache.build import Built, build
from brainbrr_core.cache.manifest import window_count
from brainbrr_core.cache.plan import Item, Plan, State, make_plan, plan_corpus, plan_profile
from brainbrr_core.cache.selection import select
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import preprocessing_version
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import index_path, read_index, update_index
from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.records.data_versions import (
    RAW_EDF_INDEX,
    ShardRecorder,
    observe,
    observe_selection,
)
from brainbrr_pipeline.records.event_writer import Context
from brainbrr_pipeline.records.partitions import keep_in_step


def plan_of(configuration: Configuration, keys: Collection[str]) -> Plan:
    """The plan for some partitions of the index, whether or not the profile selects them.

    Raises :class:`BrainbrrError` for a key that is not in the index.
    """
    store = Store.of(configuration)
    index = read_index(store.root)
    wanted = set(keys)
    unknown = sorted(wanted - {recording.partition_key for recording in index})
    if unknown:
        raise BrainbrrError(
            f"{len(unknown)} partitions are not in the index, such as {unknown[0]}: materialize "
            "raw_edf_index, which drops the partitions of removed recordings"
        )
    selected = [recording for recording in index if recording.partition_key in wanted]
    return make_plan(store, configuration.preprocessing, index, selected)


def look_and_plan(
    context: Context, configuration: Configuration, partitions: Collection[str] | None = None
) -> Plan:
    """Look at the corpus, unless this run just did, then plan for partitions, or the profile."""
    if RAW_EDF_INDEX in (context.run.asset_selection or ()):
        plan = plan_profile(configuration)
    else:
        plan = plan_corpus(configuration, context.log.info)
    return plan if partitions is None else plan_of(configuration, partitions)


def plan_list(configuration: Configuration, keys: Collection[str]) -> Plan:
    """The plan for a given list, by the index as it is.

    The corpus is looked at only if there is no index or if one of the EDFs is not as indexed:
    many runs may each have a list.
    """
    if index_path(configuration.cache_root).is_file():
        plan = plan_of(configuration, keys)
        if not any(item.reason == "source changed" for item in plan.to_build):
            return plan
    update_index(configuration.data_dir, configuration.cache_root, configuration.corpus)
    return plan_of(configuration, keys)


def build_and_record(
    context: Context, plan: Plan, configuration: Configuration, *, record_all: bool = False
) -> Plan:
    """Build what a plan says, record it in Dagster, and give the profile's plan as it is then.

    Fresh shards that Dagster has no current record of are recorded, all of them with
    ``record_all``. A recording that fails fails its own partition, and the step when the others
    are done.
    """
    keep_in_step(context.instance, plan.index)
    observe(context, [item.recording for item in plan.items])
    failed = _build(context, plan, configuration, record_all=record_all)
    selected = {r.partition_key for r in select(plan.index, configuration.selection)}
    of_profile = selected == {item.recording.partition_key for item in plan.items}
    after = plan if of_profile and not plan.to_build else plan_profile(configuration)
    observe_selection(context, after, configuration)
    if failed:
        raise dg.Failure(
            f"{len(failed)} of {len(plan.items)} recordings failed: "
            + "; ".join(f"{key}: {error}" for key, error in list(failed.items())[:10]),
            allow_retries=False,
        )
    return after


def _build(
    context: Context, plan: Plan, configuration: Configuration, *, record_all: bool
) -> dict[str, str]:
    """Build and record; what failed, with the reason, by partition key."""
    items = {item.recording.partition_key: item for item in plan.items}
    with ShardRecorder(context, preprocessing_version(configuration.preprocessing)) as recorder:

        def on_result(result: Built) -> None:
            if result.error:
                context.log.error(f"{result.partition_key}: {result.error}")
                return
            recorder.record(
                items[result.partition_key].recording,
                result.fingerprint,
                facts(items[result.partition_key], configuration)
                | {
                    "bytes": result.bytes,
                    "seconds": round(result.seconds, 3),
                    "clipped samples": result.clipped,
                },
            )

        with _interruption_logged(context):
            summary = build(plan, configuration.preprocessing, on_result=on_result)
        fresh = [item for item in plan.items if item.state is State.FRESH]
        unrecorded = [
            item
            for item in fresh
            if record_all
            or not recorder.is_recorded(item.recording.partition_key, item.fingerprint)
        ]
        records = plan.store.records() if unrecorded else {}
        for item in unrecorded:
            key = item.recording.partition_key
            built: dict[str, Any] = {}
            if key in records:
                built = {"seconds": records[key].seconds, "built": records[key].built_at}
            recorder.record(
                item.recording,
                item.fingerprint,
                facts(item, configuration) | {"bytes": item.bytes} | built,
            )
    context.log.info(
        f"version {plan.store.version}: built {len(summary.built)}, failed "
        f"{len(summary.failed)}, fresh already {len(fresh)} ({len(unrecorded)} of them "
        f"recorded), excluded {plan.count(State.EXCLUDED)}"
    )
    return {result.partition_key: result.error for result in summary.failed} | {
        item.recording.partition_key: item.reason for item in plan.unreadable
    }


@contextmanager
def _interruption_logged(context: Context) -> Iterator[None]:
    """Log what was done when the run is terminated within the block."""
    try:
        yield
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as interruption:
        for note in getattr(interruption, "__notes__", ()):
            context.log.warning(note)
        raise


def facts(item: Item, configuration: Configuration) -> dict[str, Any]:
    """What a partition shows of its recording."""
    recording = item.recording
    return {
        "hours": round(recording.duration_s / 3600, 4),
        "windows": window_count(recording, configuration.windows, configuration.labels.seizure),
        "seizures": len(recording.seizures(configuration.labels.seizure)),
        "channels interpolated": ", ".join(recording.missing) or "none",
        "findings": ", ".join(sorted({f.code for f in recording.findings})) or "none",
    }
