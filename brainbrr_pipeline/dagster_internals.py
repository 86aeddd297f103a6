"""All names that this graph uses from Dagster's private modules, and why.

Dagster's public API cannot express the exact staleness of thousands of partitions at little cost.
The private names that are needed for it are imported here and nowhere else. They may move or change
in any release, so ``dagster`` is pinned to one release in ``pyproject.toml``: go through this list
when raising it.

Staleness of partitions
    Tags of an asset event, from which Dagster works out whether a partition is stale. There is no
    public way to record a materialization with its data version, code version and inputs for many
    partitions of one step. Without them every partition is always stale, or none ever is.

    - ``DATA_VERSION_TAG``, ``DATA_VERSION_IS_USER_PROVIDED_TAG``: the shard's fingerprint
    - ``CODE_VERSION_TAG``: the preprocessing version
    - ``INPUT_DATA_VERSION_TAG_PREFIX``, ``INPUT_EVENT_POINTER_TAG_PREFIX``,
      ``NULL_EVENT_POINTER``: which version of the EDF, and which observation of it, was used
    - ``extract_data_version_from_entry``: the data version of an observation; without it the
      sensor cannot tell whether ``selected_recordings`` is up to date

Events in batches
    The public ``log_event`` costs 9 ms for each partition on SQLite, which is a minute for the
    7,364 recordings of TUSZ. Without these names, recording works but takes that minute.

    - ``AssetObservationData``, ``StepMaterializationData``: the content of an event
    - ``SqliteEventLogStorage``: to write many events with one connection

Runs and backfills
    - ``BACKFILL_ID_TAG``: whether a run belongs to a backfill, in which each partition without a
      materialization by this run counts as failed; without it, a backfill of fresh shards fails
    - ``ASSET_PARTITION_RANGE_START_TAG``, ``BulkActionsFilter``, ``BulkActionStatus``: whether a
      range of partitions is waiting or running; without them, reordering the partitions could
      change what a range means
    - ``ASSET_PARTITION_RANGE_END_TAG``, ``WILL_RETRY_TAG``: the partitions of a failed run, and
      whether Dagster retries it; without them, a notice of the failure does not say so
    - ``PARTITION_NAME_TAG``: the fold to which a check of a model or of its scores applies; without
      it, the check applies to the fold that was trained last
    - ``NOT_FINISHED_STATUSES``: statuses of runs that are queued or running; without it, the
      sensor asks for work that is already in progress
    - ``DagsterPipesExecutionError``: a training process that failed; without it, its last output
      and the checkpoint to resume from are missing from the error

Commands in a shell without variables, and their output
    - ``get_env_var_dict``: the variables that a file ``.env`` sets; without it, storage and
      configuration might not match
    - ``CheckError``: raised by Dagster's commands for a wrong combination of options and assets;
      without it, they end with a traceback
    - ``DagsterAssetCheckFailedError``: a step that a failed check ended; without it, the stack
      trace of that step is printed above the reason

Deployment on several machines
    - ``CheckRunHealthResult``, ``WorkerStatus``: the answer of a run launcher that checks its
      workers; without them, the run of a killed worker stays in progress forever

Types, for annotations only
    - ``RawMetadataValue``: what Dagster accepts as a value of metadata
    - ``UnresolvedAssetJobDefinition``: what ``dagster.define_asset_job`` returns
"""

from dagster._check import CheckError
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    INPUT_DATA_VERSION_TAG_PREFIX,
    INPUT_EVENT_POINTER_TAG_PREFIX,
    NULL_EVENT_POINTER,
    extract_data_version_from_entry,
)
from dagster._core.definitions.metadata import RawMetadataValue
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.errors import DagsterAssetCheckFailedError, DagsterPipesExecutionError
from dagster._core.events import AssetObservationData, StepMaterializationData
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.secrets.env_file import get_env_var_dict
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
    WILL_RETRY_TAG,
)

__all__ = [
    "ASSET_PARTITION_RANGE_END_TAG",
    "ASSET_PARTITION_RANGE_START_TAG",
    "BACKFILL_ID_TAG",
    "CODE_VERSION_TAG",
    "DATA_VERSION_IS_USER_PROVIDED_TAG",
    "DATA_VERSION_TAG",
    "INPUT_DATA_VERSION_TAG_PREFIX",
    "INPUT_EVENT_POINTER_TAG_PREFIX",
    "NOT_FINISHED_STATUSES",
    "NULL_EVENT_POINTER",
    "PARTITION_NAME_TAG",
    "WILL_RETRY_TAG",
    "AssetObservationData",
    "BulkActionStatus",
    "BulkActionsFilter",
    "CheckError",
    "CheckRunHealthResult",
    "DagsterAssetCheckFailedError",
    "DagsterPipesExecutionError",
    "RawMetadataValue",
    "SqliteEventLogStorage",
    "StepMaterializationData",
    "UnresolvedAssetJobDefinition",
    "WorkerStatus",
    "extract_data_version_from_entry",
    "get_env_var_dict",
]
