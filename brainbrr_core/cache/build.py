"""Building the missing shards of a plan on all cores; a recording that fails stops no other."""

from __future__ import annotations

import errno
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
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from brainbrr_core.cache.clipping import clipped_blocks
from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.plan import Item, Plan, State, make_plan
from brainbrr_core.cache.records import BuildRecord
from brainbrr_core.cache.shard import (
    BLOCK_BYTES,
    BLOCK_SAMPLES,
    Chunk,
    DamagedShard,
    Shard,
    ShardHeader,
    UnreadableShard,
    commit_shard,
    exclusive_partial,
    stored_samples,
    write_shard,
)
from brainbrr_core.cache.store import LATEST, Store
from brainbrr_core.cache.version import (
    FORMAT_VERSION,
    chain_parameters,
    is_imported,
    shard_fingerprint,
)
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.corpus.hash_memo import with_known_hashes
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.corpus.spool import AHEAD, Spool, sweep
from brainbrr_core.edf.channels import aliases_of
from brainbrr_core.edf.formats import reader_of
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.room import check_room
from brainbrr_core.files.state import file_state
from brainbrr_core.machine.memory import keep_freed_memory
from brainbrr_core.machine.pools import process_pool, thread_pool
from brainbrr_core.machine.processors import worker_processes
from brainbrr_core.progress import progress, summarize_when_stopped
from brainbrr_core.signal.chain import Chain

_LIBRARIES = ("brainbrr", "edfio", "numpy", "pyarrow", "scipy")
#: Errors that a bad recording may raise; any other error is a defect of the program.
_RECORDING_ERRORS = (
    OSError,
    ValueError,
    ArithmeticError,
    LookupError,
    MemoryError,
    BrainbrrError,
    UnusableEdf,
    pa.ArrowException,
)


@dataclass(frozen=True, slots=True)
class Built:
    """Outcome of building the shard of one recording.

    Attributes
    ----------
    partition_key : str
        Key of the recording.
    fingerprint : str
        Fingerprint of the shard.
    source_hash : str
        Hash of the EDF.
    seconds : float
        Time that building took.
    bytes : int
        Size of the shard.
    clipped : int
        Stored samples at the limit of their range, over all channels.
    clipped_blocks : tuple of (int, int), optional
        The blocks with clipped samples and their number in each; None if it is not known.
    duration_s : float
        Length of the recording in seconds.
    interpolated : tuple of str
        Electrodes that were interpolated.
    error : str
        Why there is no shard. Empty if the shard is fresh.
    by_another : bool
        Whether another process had built the shard since the plan was made.
    """

    partition_key: str
    fingerprint: str
    source_hash: str
    seconds: float = 0.0
    bytes: int = 0
    clipped: int = 0
    clipped_blocks: tuple[tuple[int, int], ...] | None = None
    duration_s: float = 0.0
    interpolated: tuple[str, ...] = ()
    error: str = ""
    by_another: bool = False


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
    index = with_known_hashes(plan.index, plan.store.root)
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
        return _failed(item, _one_line(error, item.recording))


def _check_space(root: Path, items: list[Item], workers: int) -> None:
    needed = sum(shard_bytes(item.recording) for item in items)
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


def _of_corpus(plan: Plan, settings: Preprocessing) -> Plan:
    """The plan of every recording of the index, as the store is now."""
    if len(plan.items) == len(plan.index) and not plan.to_build:
        # Nothing was built since it was made.
        return plan
    return make_plan(plan.store, settings, plan.index, plan.index)


def shard_bytes(recording: Recording) -> int:
    """Payload of a recording's shard in bytes, at most."""
    return -(-stored_samples(recording) // BLOCK_SAMPLES) * BLOCK_BYTES


def build_one(
    store: Store, settings: Preprocessing, recording: Recording, fingerprint: str
) -> Built:
    """Build one shard, unless another process has just finished it."""
    keep_freed_memory()
    started = time.monotonic()
    outcome = Built(
        recording.partition_key,
        fingerprint,
        recording.content_hash,
        duration_s=recording.duration_s,
        interpolated=recording.missing,
    )
    target = store.shard_path(recording.partition_key)
    try:
        with exclusive_partial(target) as file:
            if store.has_whole_shard(recording.partition_key, fingerprint):
                size = file_state(target).size
                outcome = replace(outcome, bytes=size, by_another=True)
            else:
                header, chunks = _process(settings, recording, fingerprint)
                size, clipped = write_shard(file, header, chunks)
                _check_unchanged(recording)
                commit_shard(target)
                outcome = replace(
                    outcome,
                    bytes=size,
                    clipped=int(clipped.sum()),
                    clipped_blocks=clipped_blocks(clipped),
                    seconds=time.monotonic() - started,
                )
                store.append_record(_record(store, outcome))
    except _RECORDING_ERRORS as error:
        outcome = replace(outcome, error=_one_line(error, recording))
    return outcome


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
            record = _record(store, built)
            made_at = datetime.fromtimestamp(record.state.mtime_ns / 1e9, UTC)
            store.append_record(record._replace(built_at=made_at.isoformat(timespec="seconds")))


def _process(
    settings: Preprocessing, recording: Recording, fingerprint: str
) -> tuple[ShardHeader, Iterator[Chunk]]:
    _check_unchanged(recording)
    # The index has decided whether the file is accepted.
    accepted = ChannelRules(references="any", interpolate_at_most=len(recording.missing))
    source = open_edf(
        Path(recording.path),
        recording.missing,
        accepted,
        settings.montage,
        aliases_of(recording.matched),
    )
    chain = Chain(source, settings)
    header = ShardHeader(
        format_version=FORMAT_VERSION,
        partition_key=recording.partition_key,
        fingerprint=fingerprint,
        parameters=chain_parameters(settings),
        source_hash=recording.content_hash,
        source_size=recording.state.size,
        channels=settings.channels,
        rate=settings.rate_hz,
        samples=chain.samples,
        mean=tuple(chain.statistics.mean.tolist()),
        deviation=tuple(chain.statistics.deviation.tolist()),
        interpolated=source.interpolated,
        libraries=_libraries() | ({"reader": recording.reader} if recording.reader else {}),
    )
    return header, chain.quantized()


@cache
def _libraries() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}


def _check_unchanged(recording: Recording) -> None:
    """Raise an error unless the EDF has the indexed hash before and after it is read."""
    if any(not state.is_of_same_file(file_state(path)) for path, state in recording.file_states):
        raise WorkRemains("the EDF changed since it was indexed: run `brainbrr index` and build")
    if recording.reader and recording.reader != (reader := reader_of(recording.path)):
        raise WorkRemains(
            f"indexed with {recording.reader}, and {reader} is installed: run `brainbrr index` and "
            "build"
        )


def _record(store: Store, outcome: Built) -> BuildRecord:
    return BuildRecord(
        partition_key=outcome.partition_key,
        fingerprint=outcome.fingerprint,
        source_hash=outcome.source_hash,
        state=file_state(store.shard_path(outcome.partition_key)),
        built_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(outcome.seconds, 3),
        program=_libraries()["brainbrr"],
        clipped=outcome.clipped_blocks,
    )


def _one_line(error: BaseException, recording: Recording) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full: make room and build again"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text} [{Path(recording.path).name}]"
