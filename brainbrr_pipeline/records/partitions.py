"""The partitions: one per recording of the index, and one per fold of the cross-validation.

The key of a recording's partition identifies the recording; that of a fold is its number.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import dagster as dg

from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.configuration import Split
from brainbrr_core.corpus.index import Index
from brainbrr_pipeline.dagster_internals import (
    ASSET_PARTITION_RANGE_START_TAG,
    NOT_FINISHED_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
)

NAME = "recordings"
#: With more ranges of partitions to build, the partitions are reordered: each range is a run.
_MAX_RANGES = 8
recordings = dg.DynamicPartitionsDefinition(name=NAME)
#: Name of the dynamic partitions of folds, whose number follows from the patients.
FOLDS = "folds"


def fold_partitions(split: Split) -> dg.PartitionsDefinition[str] | None:
    """The partitions of the folds; None if the scheme of the splits has no folds.

    With a fold for each patient they are dynamic, because the index decides how many there are.
    """
    if not split.has_folds:
        return None
    if split.scheme == "kfold":
        return dg.StaticPartitionsDefinition([str(n + 1) for n in range(split.folds)])
    return dg.DynamicPartitionsDefinition(name=FOLDS)


def fold_changes(
    instance: dg.DagsterInstance, cache: ProfileCache, plan: Plan
) -> tuple[list[str], list[str]]:
    """Keys of folds to add and to drop; none if the number of folds is a setting.

    Raises :class:`BrainbrrError` where the plan has too few patients for folds.
    """
    if not isinstance(fold_partitions(cache.split), dg.DynamicPartitionsDefinition):
        return [], []
    existing = instance.get_dynamic_partitions(FOLDS)
    wanted = fold_keys(cache, plan)
    return [key for key in wanted if key not in existing], [
        key for key in existing if key not in wanted
    ]


def fold_keys(cache: ProfileCache, plan: Plan) -> list[str]:
    """Keys of the folds of a plan; none without a cross-validation.

    Raises :class:`BrainbrrError` where the plan has too few patients for folds.
    """
    if not cache.split.has_folds:
        return []
    return [str(n + 1) for n in range(len(cache.folds(plan)))]


def synchronize_folds(instance: dg.DagsterInstance, cache: ProfileCache, plan: Plan) -> None:
    """Add and drop partitions of folds. Raises as :func:`fold_changes` does."""
    new, gone = fold_changes(instance, cache, plan)
    if new:
        instance.add_dynamic_partitions(FOLDS, new)
    for key in gone:
        instance.delete_dynamic_partition(FOLDS, key)


def partition_changes(instance: dg.DagsterInstance, index: Index) -> tuple[list[str], list[str]]:
    """Keys to add (recordings without a partition) and to drop (partitions without a recording)."""
    existing = set(instance.get_dynamic_partitions(NAME))
    wanted = [recording.partition_key for recording in index]
    return [key for key in wanted if key not in existing], sorted(existing - set(wanted))


def synchronize_partitions(
    instance: dg.DagsterInstance, index: Index, to_build: Iterable[str] = ()
) -> tuple[int, int]:
    """Add partitions of new recordings and drop those of removed ones.

    The partitions ``to_build`` are made adjacent if they are scattered. Returns the numbers of
    added and dropped partitions.
    """
    new, gone = partition_changes(instance, index)
    if new:
        instance.add_dynamic_partitions(NAME, new)
    for key in gone:
        instance.delete_dynamic_partition(NAME, key)
    _make_adjacent(instance, set(to_build))
    return len(new), len(gone)


def _make_adjacent(instance: dg.DagsterInstance, wanted: set[str]) -> None:
    """Move scattered partitions to the end of Dagster's order.

    A run of a backfill takes a range in that order, so that a backfill of thousands of stale
    partitions that are scattered among fresh ones would take thousands of runs; if they are
    adjacent, it takes one. Events are stored by partition key, so moving a partition loses nothing.
    """
    keys = instance.get_dynamic_partitions(NAME)
    is_wanted = [False, *(key in wanted for key in keys)]
    ranges = sum(now and not before for before, now in pairwise(is_wanted))
    # The range of a waiting or running run must not change its meaning.
    if ranges <= _MAX_RANGES or _has_unfinished_range(instance):
        return
    moved = [key for key in keys if key in wanted]
    for key in moved:
        instance.delete_dynamic_partition(NAME, key)
    instance.add_dynamic_partitions(NAME, moved)


def _has_unfinished_range(instance: dg.DagsterInstance) -> bool:
    if instance.get_backfills(
        filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED]), limit=1
    ):
        return True
    unfinished = dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)
    return any(ASSET_PARTITION_RANGE_START_TAG in run.tags for run in instance.get_runs(unfinished))
