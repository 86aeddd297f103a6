"""``raw_edf`` and ``raw_edf_index``: what the corpus is, as Dagster sees it."""

import dagster as dg

from brainbrr_core.cache.plan import plan_profile
from brainbrr_core.corpus.index_file import update_index
from brainbrr_core.corpus.index_rows import SCHEMA
from brainbrr_pipeline.records import metadata
from brainbrr_pipeline.records.data_versions import (
    INDEX_DATA_VERSION,
    RAW_EDF,
    SELECTED_RECORDINGS,
    observe,
    observe_selection,
    selection_version,
)
from brainbrr_pipeline.records.partitions import keep_in_step, recordings
from brainbrr_pipeline.resources import Workspace, users_mistakes_as_failures

GROUP = "corpus"
#: Who to ask about an asset, as the UI shows it.
OWNERS = ["team:eeg"]


def raw_edf(*, partitioned: bool) -> dg.AssetsDefinition | dg.SourceAsset:
    """The observable source: one partition for each recording."""

    @dg.observable_source_asset(
        name="raw_edf",
        group_name=GROUP,
        partitions_def=recordings if partitioned else None,
        description="The EDFs, one partition per recording; the version is the file's content.",
        tags={"dagster/kind/edf": ""},
    )
    def _raw_edf(workspace: Workspace) -> dg.DataVersionsByPartition:
        with users_mistakes_as_failures():
            configuration = workspace.load()
            index = update_index(
                configuration.data_dir, configuration.cache_root, configuration.corpus
            )
        return dg.DataVersionsByPartition({r.partition_key: r.source_version for r in index})

    return _raw_edf


@dg.observable_source_asset(
    name=SELECTED_RECORDINGS.to_user_string(),
    group_name=GROUP,
    description="The profile's recordings: a digest of their shards' fingerprints, of their "
    "annotations and of why some are excluded. It tells cache_manifest what changed.",
)
def selected_recordings(workspace: Workspace) -> dg.DataVersion:
    with users_mistakes_as_failures():
        configuration = workspace.load()
        return dg.DataVersion(selection_version(plan_profile(configuration), configuration))


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    deps=[RAW_EDF],
    code_version=INDEX_DATA_VERSION,
    kinds={"parquet"},
    metadata={"dagster/column_schema": metadata.column_schema(SCHEMA)},
)
def raw_edf_index(
    context: dg.AssetExecutionContext, workspace: Workspace
) -> dg.MaterializeResult[None]:
    """Every recording: split, patient, channels, events, and whether it can be used or why not.

    The data version is that of the columns, so a new index makes nothing stale.
    """
    with users_mistakes_as_failures():
        configuration = workspace.load()
        index = update_index(
            configuration.data_dir,
            configuration.cache_root,
            configuration.corpus,
            log=context.log.warning,
        )
        plan = plan_profile(configuration)
    to_build = (item.recording.partition_key for item in plan.to_build)
    added, removed = keep_in_step(context.instance, index, to_build)
    changed = observe(context, index)
    observe_selection(context, plan, configuration)
    usable = sum(recording.reason is None for recording in index)
    context.log.info(
        f"{len(index)} recordings: {usable} usable, {len(index) - usable} excluded; {added} "
        f"partitions added, {removed} removed, {changed} EDFs new or changed"
    )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(INDEX_DATA_VERSION),
        metadata=metadata.of_index(index, plan, configuration),
    )
