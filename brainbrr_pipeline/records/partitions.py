"""One dynamic partition per recording of the index. The key is the recording's identity."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_START_TAG

from brainbrr_core.corpus.index import Index

NAME = "recordings"
#: So many ranges of a backfill, and runs, are borne.
_SCATTERED = 8
recordings = dg.DynamicPartitionsDefinition(name=NAME)


def out_of_step(instance: dg.DagsterInstance, index: Index) -> tuple[list[str], list[str]]:
    """Recordings without a partition, and partitions without a recording."""
    known = set(instance.get_dynamic_partitions(NAME))
    wanted = [recording.partition_key for recording in index]
    return [key for key in wanted if key not in known], sorted(known - set(wanted))


def keep_in_step(
    instance: dg.DagsterInstance, index: Index, to_build: Iterable[str] = ()
) -> tuple[int, int]:
    """Add partitions of new recordings and drop those of removed ones; how many of each.

    Those ``to_build`` are put side by side where they are scattered.
    """
    new, gone = out_of_step(instance, index)
    if new:
        instance.add_dynamic_partitions(NAME, new)
    for key in gone:
        instance.delete_dynamic_partition(NAME, key)
    _gather(instance, set(to_build))
    return len(new), len(gone)


def _gather(instance: dg.DagsterInstance, wanted: set[str]) -> None:
    """Move scattered partitions to the end of Dagster's order.

    A run of a backfill takes a range in that order, so a backfill of thousands of stale partitions
    among fresh ones would be thousands of runs; of neighbours it is one. What Dagster knows of a
    partition goes by its key and stays.
    """
    keys = instance.get_dynamic_partitions(NAME)
    inside = [False, *(key in wanted for key in keys)]
    stretches = sum(now and not before for before, now in pairwise(inside))
    # Ranges that are on their way must keep their meaning.
    if stretches <= _SCATTERED or _ranges_in_flight(instance):
        return
    moved = [key for key in keys if key in wanted]
    for key in moved:
        instance.delete_dynamic_partition(NAME, key)
    instance.add_dynamic_partitions(NAME, moved)


def _ranges_in_flight(instance: dg.DagsterInstance) -> bool:
    if instance.get_backfills(
        filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED]), limit=1
    ):
        return True
    unfinished = dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)
    return any(ASSET_PARTITION_RANGE_START_TAG in run.tags for run in instance.get_runs(unfinished))
