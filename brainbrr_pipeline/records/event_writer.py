"""Writing many asset events of one run at little cost.

Dagster's SQLite storage opens three connections for every event, each with an engine of its own:
9 ms for each. One connection for a few hundred events makes that about one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from types import TracebackType

import dagster as dg
from dagster import DagsterEventType
from dagster._core.events import AssetObservationData, DagsterEvent, StepMaterializationData
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage

#: What an asset or an op is run with.
Context = dg.AssetExecutionContext | dg.OpExecutionContext
#: Events that are kept back at most, and for how many seconds at most.
_EVENTS, _SECONDS = 200, 2.0


class EventWriter:
    """Materializations and observations of one step, stored in batches; a context manager.

    What a killed process had not yet stored is found again by the plan: the shard is there, its
    record is not.
    """

    def __init__(self, context: Context) -> None:
        self._instance = context.instance
        self._run_id, self._job_name = context.run.run_id, context.run.job_name
        step = context.get_step_execution_context().step
        self._step, self._kind = step.handle, step.kind.value
        self._waiting: list[dg.EventLogEntry] = []
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
        """Store an event, soon."""
        timestamp = time.time()
        materialization = isinstance(event, dg.AssetMaterialization)
        dagster_event = DagsterEvent(
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
        # In the order of its fields; its constructor has no types.
        self._waiting.append(
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
        if len(self._waiting) >= _EVENTS or time.monotonic() - self._stored_at > _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Store what is waiting."""
        waiting, self._waiting = self._waiting, []
        self._stored_at = time.monotonic()
        if not waiting:
            return
        storage = self._instance.event_log_storage
        if isinstance(storage, SqliteEventLogStorage):
            _store_on_sqlite(storage, waiting)
        else:
            storage.store_event_batch(waiting)


def _store_on_sqlite(storage: SqliteEventLogStorage, entries: Sequence[dg.EventLogEntry]) -> None:
    """What ``SqliteEventLogStorage.store_event`` does, for many events of one run at once."""
    statements = [storage.prepare_insert_event(entry) for entry in entries]
    with storage.run_connection(entries[0].run_id) as connection:
        for statement in statements:
            connection.execute(statement)
    with storage.index_transaction() as connection:
        ids = [int(connection.execute(statement).lastrowid) for statement in statements]
    storage.store_asset_event_tags(entries, ids)
    # An asset's own row points at its newest event only.
    newest = {
        entry.get_dagster_event().asset_key: (entry, number)
        for entry, number in zip(entries, ids, strict=True)
    }
    for entry, number in newest.values():
        storage.store_asset_event(entry, number)
