"""Building the missing shards of a plan on all cores; a recording that fails stops no other."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import sys
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from brainbrr_core.cache.clipping import clipped_blocks
from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.plan import Item, Plan, State, make_plan
from brainbrr_core.cache.shard import (
    BLOCK_BYTES,
    BLOCK_SAMPLES,
    DamagedShard,
    Shard,
    UnreadableShard,
    stored_samples,
)
from brainbrr_core.cache.shard_build import Built, build_one, build_record, error_line
from brainbrr_core.cache.store import LATEST, Store
from brainbrr_core.cache.unfinished import exclusive_partial
from brainbrr_core.cache.version import is_imported, shard_fingerprint
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.corpus.spool import AHEAD, Spool, sweep
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.room import check_room
from brainbrr_core.machine.pools import process_pool, thread_pool
from brainbrr_core.machine.processors import worker_processes
from brainbrr_core.progress import progress, summarize_when_stopped


@dataclass(frozen=True)
class BuildSummary:
    """Outcome of a build.

    Attributes
    ----------
    results : tuple of Built
        One for each recording that was to be built.
    seconds : float
        Duration of the build.
    """

    results: tuple[Built, ...]
    seconds: float

    @property
    def built(self) -> list[Built]:
        """Recordings whose shard this build made."""
        return [result for result in self.results if not result.error and not result.by_another]

    @property
    def built_by_others(self) -> list[Built]:
        """Recordings whose shard another process made meanwhile."""
        return [result for result in self.results if not result.error and result.by_another]

    @property
    def failed(self) -> list[Built]:
        """Recordings whose shard could not be built, with the error."""
        return [result for result in self.results if result.error]


def build(
    plan: Plan,
    settings: Preprocessing,
    *,
    workers: int | None = None,
    on_result: Callable[[Built], None] | None = None,
) -> BuildSummary:
    """Build every shard that ``plan`` lacks; a recording that fails stops no other.

    Ctrl+C ends the workers too and reports how many recordings are built.

    Parameters
    ----------
    plan : Plan
        What to build.
    settings : Preprocessing
        Settings of the signal chain.
    workers : int, optional
        Number of processes; by default one for each usable core.
    on_result : callable, optional
        Called in this process with the outcome of each recording.

    Returns
    -------
    BuildSummary
        The outcome of each recording and the duration.

    Raises
    ------
    BrainbrrError
        If the version was imported, the cache root is not writable, or the disk is too small;
        nothing is built then.
    """
    if is_imported(plan.store.version):
        raise BrainbrrError(f"{plan.store.version} was imported and cannot be built")
    items = plan.to_build
    start = time.monotonic()
    _record_unrecorded(plan)
    if not items:
        link_latest(plan, settings)
        return BuildSummary((), 0.0)
    plan.store.check_writable()
    sweep(plan.store.root)
    workers = min(worker_processes(workers), len(items)) if _may_have_children() else 1
    _check_space(plan.store.root, items, workers)
    # Long recordings first, so that the last worker is not left alone with one.
    items = sorted(items, key=lambda item: -item.recording.samples / item.recording.rate)
    hours = sum(item.recording.duration_s for item in items) / 3600
    results: list[Built] = []
    failures = 0

    def summary() -> str:
        remaining = len(items) - len(results) + failures
        return (
            f"{len(results) - failures} of {len(items)} recordings are built, {remaining} remain: "
            "the next build goes on from there"
        )

    with (
        hold(plan.store, "cache build", create=True),
        progress("build", hours, "hours") as bar,
        summarize_when_stopped(summary),
        closing(_results(plan.store, settings, items, workers)) as outcomes,
    ):
        for result in outcomes:
            results.append(result)
            failures += bool(result.error)
            bar.advance(result.duration_s / 3600, f"{len(results)} done, {failures} failed")
            if on_result is not None:
                on_result(result)
    # The build has computed the hashes of remote EDFs.
    index = plan.index.with_known_hashes(plan.store.root)
    link_latest(replace(plan, index=index), settings)
    return BuildSummary(tuple(results), time.monotonic() - start)


def _results(
    store: Store, settings: Preprocessing, items: list[Item], workers: int
) -> Generator[Built]:
    remote = any(item.recording.is_remote for item in items)
    if workers == 1 and not remote:
        for item in items:
            yield build_one(store, settings, item.recording, item.fingerprint)
        return
    # Work is handed out in order: what a killed process worked on is among the first items.
    suspects = workers + AHEAD if remote else workers
    waiting = items
    while waiting:
        done: set[str] = set()
        for result in _until_killed(store, settings, waiting, workers):
            done.add(result.partition_key)
            yield result
        waiting = [item for item in waiting if item.recording.partition_key not in done]
        # Each is tried again in a separate process; only a recording that kills its process has
        # failed.
        for item in waiting[:suspects]:
            alone = list(_until_killed(store, settings, [item], 1))
            yield from alone or [
                _failed(item, "its worker process was killed twice (out of memory?)")
            ]
        waiting = waiting[suspects:]


def _may_have_children() -> bool:
    """Whether this process may start others; the slots of a Celery worker may not."""
    return not multiprocessing.current_process().daemon


def _failed(item: Item, error: str) -> Built:
    recording = item.recording
    return Built(
        recording.partition_key,
        item.fingerprint,
        recording.content_hash,
        duration_s=recording.duration_s,
        error=error,
    )


def _until_killed(
    store: Store, settings: Preprocessing, items: list[Item], workers: int
) -> Iterator[Built]:
    """Results from a pool of processes, until one of the processes is killed."""
    with ExitStack() as stack:
        kind = process_pool if _may_have_children() else thread_pool
        pool: Executor = stack.enter_context(kind(workers))
        if any(item.recording.is_remote for item in items):
            spool = Spool(store.root)
            stack.callback(spool.close)
            # A thread takes one recording from the remote corpus to the store, so that a few are
            # being fetched while every process is busy, and the spool stays small.
            threads = stack.enter_context(thread_pool(workers + AHEAD))

            def submit(item: Item) -> Future[Built]:
                return threads.submit(_fetch_and_build, spool, pool, store, settings, item)
        else:

            def submit(item: Item) -> Future[Built]:
                return pool.submit(build_one, store, settings, item.recording, item.fingerprint)

        for future in as_completed([submit(item) for item in items]):
            try:
                yield future.result()
            except BrokenProcessPool:
                continue


def _fetch_and_build(
    spool: Spool, pool: Executor, store: Store, settings: Preprocessing, item: Item
) -> Built:
    if not item.recording.is_remote:
        return pool.submit(build_one, store, settings, item.recording, item.fingerprint).result()
    try:
        with spool.fetched(item.recording) as local:
            fingerprint = shard_fingerprint(
                settings, local.content_hash, local.missing, local.reader
            )
            return pool.submit(build_one, store, settings, local, fingerprint).result()
    except (BrainbrrError, OSError) as error:
        return _failed(item, error_line(error, item.recording))


def _check_space(root: Path, items: list[Item], workers: int) -> None:
    needed = sum(_shard_bytes(item.recording) for item in items)
    # Remote EDFs are stored on this disk, a few at a time.
    passing = sorted((i.recording.state.size for i in items if i.recording.is_remote), reverse=True)
    needed += sum(passing[: workers + AHEAD])
    check_room(
        root,
        needed,
        "the build needs",
        "make room, choose another BRAINBRR_CACHE_ROOT or a smaller --profile",
    )


def link_latest(plan: Plan, settings: Preprocessing) -> None:
    """Link ``<root>/latest`` to this version if it is complete for every recording."""
    link = plan.store.root / LATEST
    if link.is_symlink() and link.readlink() == Path(plan.store.version):
        return
    if link.exists() and not link.is_symlink():
        print(f"{link} was not set: it is somebody's file or folder", file=sys.stderr)
        return
    if plan.store.folder.is_dir() and not _of_corpus(plan, settings).unfit:
        fresh = link.with_name(f".{LATEST}-{secrets.token_hex(8)}")
        try:
            fresh.symlink_to(plan.store.version)
            fresh.replace(link)
        except OSError as error:
            # The link is only a convenience: nothing that was built depends on it.
            fresh.unlink(missing_ok=True)
            print(f"{link} was not set: {error.strerror}", file=sys.stderr)


def _shard_bytes(recording: Recording) -> int:
    """Payload of a recording's shard in bytes, at most."""
    return -(-stored_samples(recording) // BLOCK_SAMPLES) * BLOCK_BYTES


def _of_corpus(plan: Plan, settings: Preprocessing) -> Plan:
    """The plan of every recording of the index, as the store is now."""
    if len(plan.items) == len(plan.index) and not plan.to_build:
        # Nothing was built since it was made.
        return plan
    return make_plan(plan.store, settings, plan.index, plan.index)


def _record_unrecorded(plan: Plan) -> None:
    """Record fresh shards whose builder was killed before it wrote the record."""
    store, recorded = plan.store, plan.store.read_records()
    unrecorded = [
        item
        for item in plan.items
        if item.state is State.FRESH and item.recording.partition_key not in recorded
    ]
    if not unrecorded or not os.access(store.folder, os.W_OK):
        return
    for item in unrecorded:
        with exclusive_partial(store.shard_path(item.recording.partition_key)):
            pass  # A builder that has just made it holds the lock until it has recorded it.
    recorded = store.read_records()
    for item in unrecorded:
        key = item.recording.partition_key
        if key not in recorded:
            built = Built(key, item.fingerprint, item.recording.content_hash)
            with suppress(DamagedShard, UnreadableShard, FileNotFoundError):
                counts = Shard(store.shard_path(key)).clipped()
                built = replace(built, clipped_blocks=clipped_blocks(counts))
            record = build_record(store, built)
            made_at = datetime.fromtimestamp(record.state.mtime_ns / 1e9, UTC)
            store.append_record(record._replace(built_at=made_at.isoformat(timespec="seconds")))
