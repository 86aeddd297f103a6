"""``raw_edf``, ``raw_edf_index`` and ``selected_recordings``."""

import dagster as dg

from brainbrr_core.cache.plan import plan_profile
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.corpus.index_file import index_corpora
from brainbrr_core.corpus.index_rows import SCHEMA
from brainbrr_core.display.counts import count
from brainbrr_pipeline.records import columns, metadata
from brainbrr_pipeline.records.data_versions import (
    INDEX_DATA_VERSION,
    RAW_EDF,
    SELECTED_RECORDINGS,
    observe,
    observe_selection,
    selection_version,
)
from brainbrr_pipeline.records.partitions import (
    recordings,
    synchronize_folds,
    synchronize_partitions,
)
from brainbrr_pipeline.resources import Workspace, user_errors_as_failures

GROUP = "corpus"
#: Owner of every asset, as the UI shows it.
OWNERS = ["team:eeg"]


def raw_edf(*, partitioned: bool) -> dg.AssetsDefinition | dg.SourceAsset:
    """The observable source asset of the EDF files."""

    @dg.observable_source_asset(
        name="raw_edf",
        group_name=GROUP,
        partitions_def=recordings if partitioned else None,
        description="The EDF files, one partition per recording. The data version is a hash of the "
        "file's content.",
        tags={"dagster/kind/edf": ""},
    )
    def _raw_edf(workspace: Workspace) -> dg.DataVersionsByPartition:
        with user_errors_as_failures():
            configuration = workspace.load()
            index = index_corpora(configuration.corpus_sources, configuration.cache_root)
        return dg.DataVersionsByPartition({r.partition_key: r.source_version for r in index})

    return _raw_edf


@dg.observable_source_asset(
    name=SELECTED_RECORDINGS.to_user_string(),
    group_name=GROUP,
    description="The profile's recordings. The data version is a hash of their shards' "
    "fingerprints, their annotations and the reasons of exclusion; when it changes, cache_manifest "
    "is stale.",
)
def selected_recordings(workspace: Workspace) -> dg.DataVersion:
    """Observe which recordings the profile selects, and what their shards and labels are."""
    with user_errors_as_failures():
        configuration = workspace.load()
        plan = plan_profile(configuration)
        return dg.DataVersion(selection_version(plan, configuration.manifest_settings))


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    deps=[RAW_EDF],
    code_version=INDEX_DATA_VERSION,
    kinds={"parquet"},
    metadata={"dagster/column_schema": columns.column_schema(SCHEMA, columns.INDEX)},
)
def raw_edf_index(
    context: dg.AssetExecutionContext, workspace: Workspace
) -> dg.MaterializeResult[None]:
    """A table of every recording: split, patient, channels, events, and any reason of exclusion.

    The data version is that of the table's columns. A new index therefore makes no partition of
    windowed_cache stale; only a changed EDF does.
    """
    with user_errors_as_failures():
        configuration = workspace.load_for(context)
        index = index_corpora(
            configuration.corpus_sources, configuration.cache_root, log=context.log.warning
        )
        plan = plan_profile(configuration)
        synchronize_folds(context.instance, ProfileCache.of(configuration), plan)
    to_build = (item.recording.partition_key for item in plan.to_build)
    added, removed = synchronize_partitions(context.instance, index, to_build)
    changed = observe(context, index)
    observe_selection(context, plan, configuration.manifest_settings)
    judged = index.in_montage(configuration.preprocessing.montage)
    usable = sum(recording.reason is None for recording in judged)
    excluded = sum(recording.signal_reason is not None for recording in judged)
    context.log.info(
        f"{count(len(index), 'recording')}: {usable} usable, {excluded} excluded, "
        f"{len(index) - usable - excluded} without usable annotations; {added} partitions added, "
        f"{removed} removed, {changed} EDFs new or changed"
    )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(INDEX_DATA_VERSION),
        metadata=metadata.of_index(
            judged, plan, configuration.labels.seizure, configuration.preprocessing.notch_hz
        ),
    )
