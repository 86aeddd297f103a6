"""Writing many asset events of one run in batches.

Dagster's SQLite storage opens three connections for every event, which takes 9 ms. With one
connection for a few hundred events, each takes about 1 ms.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from types import TracebackType

import dagster as dg
from dagster import DagsterEventType

from brainbrr_pipeline.dagster_internals import (
    AssetObservationData,
    SqliteEventLogStorage,
    StepMaterializationData,
)

#: The context of an asset or of an op.
Context = dg.AssetExecutionContext | dg.OpExecutionContext
#: A batch is stored when it has this many events, or when it is this many seconds old.
_BATCH_EVENTS, _BATCH_S = 200, 2.0


class EventWriter:
    """Context manager that stores materializations and observations of one step in batches.

    If a process is killed before it has stored its events, the next run notices that a shard has no
    record, and records it.
    """

    def __init__(self, context: Context) -> None:
        self._instance = context.instance
        self._run_id, self._job_name = context.run.run_id, context.run.job_name
        step = context.get_step_execution_context().step
        self._step, self._kind = step.handle, step.kind.value
        self._batch: list[dg.EventLogEntry] = []
        self._stored_at = time.monotonic()

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.flush()

    def add(self, event: dg.AssetMaterialization | dg.AssetObservation) -> None:
        """Add an event to the batch, and store the batch if it is full or old."""
        timestamp = time.time()
        materialization = isinstance(event, dg.AssetMaterialization)
        dagster_event = dg.DagsterEvent(
            event_type_value=(
                DagsterEventType.ASSET_MATERIALIZATION
                if materialization
                else DagsterEventType.ASSET_OBSERVATION
            ).value,
            job_name=self._job_name,
            step_handle=self._step,
            node_handle=self._step.node_handle,
            step_kind_value=self._kind,
            event_specific_data=(
                StepMaterializationData(event)
                if isinstance(event, dg.AssetMaterialization)
                else AssetObservationData(event)
            ),
            message="Materialized value." if materialization else None,
        )
        # Arguments by position, because the constructor has no type annotations.
        self._batch.append(
            dg.EventLogEntry._make(
                (
                    None,
                    logging.DEBUG,
                    "",
                    self._run_id,
                    timestamp,
                    self._step.to_key(),
                    self._job_name,
                    dagster_event,
                )
            )
        )
        if len(self._batch) >= _BATCH_EVENTS or time.monotonic() - self._stored_at > _BATCH_S:
            self.flush()

    def flush(self) -> None:
        """Store the events that are still in the batch."""
        batch, self._batch = self._batch, []
        self._stored_at = time.monotonic()
        if not batch:
            return
        storage = self._instance.event_log_storage
        if isinstance(storage, SqliteEventLogStorage):
            _store_on_sqlite(storage, batch)
        else:
            storage.store_event_batch(batch)


def _store_on_sqlite(storage: SqliteEventLogStorage, entries: Sequence[dg.EventLogEntry]) -> None:
    """Do what ``SqliteEventLogStorage.store_event`` does, for many events of one run at once."""
    statements = [storage.prepare_insert_event(entry) for entry in entries]
    with storage.run_connection(entries[0].run_id) as connection:
        for statement in statements:
            connection.execute(statement)
    with storage.index_transaction() as connection:
        ids = [int(connection.execute(statement).lastrowid) for statement in statements]
    storage.store_asset_event_tags(entries, ids)
    # The row of an asset refers to its newest event only.
    newest = {
        entry.get_dagster_event().asset_key: (entry, number)
        for entry, number in zip(entries, ids, strict=True)
    }
    for entry, number in newest.values():
        storage.store_asset_event(entry, number)
