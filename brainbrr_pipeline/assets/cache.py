"""``windowed_cache`` and ``cache_manifest``: the store, as Dagster sees it."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from brainbrr_core.cache.build import Built, build
from brainbrr_core.cache.manifest import counts, settings_digest, update_manifest, window_count
from brainbrr_core.cache.plan import Item, Plan, State, plan_corpus, plan_profile
from brainbrr_core.cache.version import preprocessing_version
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.layout import SPLITS
from brainbrr_pipeline.partitions import keep_in_step, recordings
from brainbrr_pipeline.provenance import (
    RAW_EDF,
    RAW_EDF_INDEX,
    WINDOWED_CACHE,
    ShardRecorder,
    observe,
)
from brainbrr_pipeline.resources import Workspace, users_mistakes_as_failures

GROUP = "cache"


def windowed_cache(configuration: Configuration, *, partitioned: bool) -> dg.AssetsDefinition:
    """The store. With partitions it builds those of the run, else all that the profile needs.

    A recording that fails fails its own partition, and the run when the others are done.
    """

    @dg.asset(
        name=WINDOWED_CACHE.to_user_string(),
        group_name=GROUP,
        deps=[RAW_EDF, RAW_EDF_INDEX],
        partitions_def=recordings if partitioned else None,
        backfill_policy=dg.BackfillPolicy.single_run() if partitioned else None,
        code_version=preprocessing_version(configuration.preprocessing),
        output_required=False,
        kinds={"arrow"},
        description="Each recording once, preprocessed, in 10 s blocks of 16-bit samples. The "
        "code version is the preprocessing version.",
    )
    def _windowed_cache(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> Iterator[dg.MaterializeResult[None]]:
        configuration = workspace.load()
        with users_mistakes_as_failures():
            plan = plan_corpus(configuration, context.log.info)
            if partitioned:
                plan = _only(plan, set(context.partition_keys), configuration)
            keep_in_step(context.instance, plan.index)
            observe(context, [item.recording for item in plan.items])
            failed = _build(context, plan, configuration, record_all=partitioned)
        if failed:
            raise dg.Failure(
                f"{len(failed)} of {len(plan.items)} recordings failed: "
                + "; ".join(f"{result.partition_key}: {result.error}" for result in failed[:10]),
                allow_retries=False,
            )
        if not partitioned:
            # Without an output, Dagster would skip the steps downstream of this one.
            yield dg.MaterializeResult()

    return _windowed_cache


def _only(plan: Plan, keys: set[str], configuration: Configuration) -> Plan:
    """The plan for the partitions of a run, whether or not the profile selects them."""
    missing = keys - {item.recording.partition_key for item in plan.items}
    if missing:
        plan = plan_profile(
            configuration.model_copy(update={"selection": type(configuration.selection)()})
        )
    items = tuple(item for item in plan.items if item.recording.partition_key in keys)
    return replace(plan, items=items)


def _build(
    context: dg.AssetExecutionContext,
    plan: Plan,
    configuration: Configuration,
    *,
    record_all: bool,
) -> list[Built]:
    """Build the plan and record each shard as it is made, then fresh ones without a record."""
    recorder = ShardRecorder(context, preprocessing_version(configuration.preprocessing))
    items = {item.recording.partition_key: item for item in plan.items}

    def on_result(result: Built) -> None:
        if result.error:
            context.log.error(f"{result.partition_key}: {result.error}")
            return
        item = items[result.partition_key]
        recorder.record(
            result.partition_key,
            result.fingerprint,
            result.source_hash,
            {
                **_facts(item, configuration),
                "bytes": result.bytes,
                "seconds": round(result.seconds, 3),
                "clipped samples": result.clipped,
            },
        )

    summary = build(plan, configuration.preprocessing, on_result=on_result)
    known = 0
    for item in plan.items:
        key = item.recording.partition_key
        if item.state is not State.FRESH:
            continue
        if record_all or not recorder.is_recorded(key, item.fingerprint):
            known += 1
            recorder.record(
                key,
                item.fingerprint,
                item.recording.source_version,
                {**_facts(item, configuration), "bytes": item.bytes},
            )
    context.log.info(
        f"version {plan.store.version}: built {len(summary.built)}, failed "
        f"{len(summary.failed)}, fresh already {plan.count(State.FRESH)} ({known} of them "
        f"recorded), excluded {plan.count(State.EXCLUDED)}"
    )
    return summary.failed


def _facts(item: Item, configuration: Configuration) -> dict[str, object]:
    recording = item.recording
    return {
        "hours": round(recording.duration_s / 3600, 4),
        "windows": window_count(recording, configuration.windows),
        "seizures": len(recording.seizures(configuration.labels.seizure)),
        "interpolated": ", ".join(recording.missing) or "none",
        "findings": len(recording.findings),
    }


def cache_manifest(configuration: Configuration) -> dg.AssetsDefinition:
    """The profile's windows; its data version is a digest of what it is made of."""

    @dg.asset(
        name="cache_manifest",
        group_name=GROUP,
        deps=[WINDOWED_CACHE],
        code_version=settings_digest(configuration)[:12],
        kinds={"parquet"},
        description="One row per window of the profile, made without touching a signal.",
    )
    def _cache_manifest(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> dg.MaterializeResult[None]:
        configuration = workspace.load()
        with users_mistakes_as_failures():
            made = update_manifest(plan_profile(configuration), configuration)
        context.log.info(
            f"{len(made.manifest)} windows, "
            + ("written" if made.rewritten else "current already, nothing written")
        )
        columns = ("recordings", "patients", "hours", "seizures", "none", "partial", "full")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(made.manifest.source),
            metadata={
                "dagster/row_count": len(made.manifest),
                "path": dg.MetadataValue.path(made.path),
                "splits": dg.MetadataValue.table(
                    [
                        dg.TableRecord({"split": split, **{name: row[name] for name in columns}})
                        for split, row in counts(made.manifest, SPLITS).items()
                    ]
                ),
                "without windows": dg.MetadataValue.json(made.manifest.without_windows),
            },
        )

    return _cache_manifest
