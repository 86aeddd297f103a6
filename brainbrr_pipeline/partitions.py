"""One dynamic partition per recording of the index. The key is the recording's identity."""

from __future__ import annotations

import dagster as dg

from brainbrr_core.corpus.index import Index

NAME = "recordings"
recordings = dg.DynamicPartitionsDefinition(name=NAME)


def keep_in_step(instance: dg.DagsterInstance, index: Index) -> tuple[int, int]:
    """Add partitions of new recordings and drop those of removed ones; how many of each."""
    known = set(instance.get_dynamic_partitions(NAME))
    wanted = [recording.partition_key for recording in index]
    new = [key for key in wanted if key not in known]
    if new:
        instance.add_dynamic_partitions(NAME, new)
    gone = sorted(known - set(wanted))
    for key in gone:
        instance.delete_dynamic_partition(NAME, key)
    return len(new), len(gone)
