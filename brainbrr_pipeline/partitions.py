"""One dynamic partition per recording of the index. The key is the recording's identity."""

from __future__ import annotations

import dagster as dg

from brainbrr_core.corpus.index import Index

NAME = "recordings"
recordings = dg.DynamicPartitionsDefinition(name=NAME)


def out_of_step(instance: dg.DagsterInstance, index: Index) -> tuple[list[str], list[str]]:
    """Recordings without a partition, and partitions without a recording."""
    known = set(instance.get_dynamic_partitions(NAME))
    wanted = [recording.partition_key for recording in index]
    return [key for key in wanted if key not in known], sorted(known - set(wanted))


def keep_in_step(instance: dg.DagsterInstance, index: Index) -> tuple[int, int]:
    """Add partitions of new recordings and drop those of removed ones; how many of each."""
    new, gone = out_of_step(instance, index)
    if new:
        instance.add_dynamic_partitions(NAME, new)
    for key in gone:
        instance.delete_dynamic_partition(NAME, key)
    return len(new), len(gone)
