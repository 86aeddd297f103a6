"""Pulling: from a remote copy, what the plan finds missing here, verified before it is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from brainbrr_core.cache.build import link_latest
from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.plan import Item, Plan, State, plan_selection
from brainbrr_core.cache.shard import DamagedShard
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import is_imported
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.room import check_room
from brainbrr_core.remote.interface import Remote
from brainbrr_core.transfer.catalog import NAME, Catalog, ShardBlob, parse_catalog
from brainbrr_core.transfer.parallel import TRANSFERS, pieces, run_parallel
from brainbrr_core.transfer.portable_index import adopt_index
from brainbrr_core.transfer.receive import Transfer, flush_folders, receive

#: Bytes asked for at once: what a transfer holds in memory, and what a cut connection loses.
PIECE_BYTES = 8 * 2**20
#: How often an object whose bytes are wrong is fetched before it is given up.
FETCHES = 3


@dataclass(frozen=True)
class ShardsToFetch:
    """What of a plan another place can give, and what it cannot, each with the reason."""

    shards: dict[str, ShardBlob]
    absent: dict[str, str]


def shards_to_fetch(plan: Plan, catalog: Catalog) -> ShardsToFetch:
    """What the plan lacks, looked up in a catalog."""
    shards: dict[str, ShardBlob] = {}
    absent: dict[str, str] = {}
    imported = is_imported(plan.store.version)
    for item in plan.items:
        key = item.recording.partition_key
        if item.state is State.UNREADABLE:
            absent[key] = f"the shard here could not be read: {item.reason}"
        if not _lacks(item, imported=imported):
            continue
        blob = catalog.shards.get(key)
        if blob is None:
            # An imported version need not have every recording.
            if not imported:
                absent[key] = "not pushed yet"
        elif not imported and blob.fingerprint != item.fingerprint:
            absent[key] = "pushed from another EDF than the index has"
        else:
            shards[key] = blob
    return ShardsToFetch(shards, absent)


def _lacks(item: Item, *, imported: bool) -> bool:
    if imported:
        return item.state is State.CORRUPT or item.reason == "not imported"
    return item.needs_building


def read_catalog(remote: Remote, version: str) -> Catalog | None:
    """The catalog of a version, or None. Raises :class:`BrainbrrError` where it is damaged."""
    document = remote.document(f"{version}/{NAME}")
    if document is None:
        return None
    return parse_catalog(document.content, version, f"{remote.address}/{version}/{NAME}")


def pull(
    configuration: Configuration,
    remote: Remote,
    *,
    transfers: int = TRANSFERS,
    force: bool = False,
    log: Callable[[str], None] = print,
) -> Transfer:
    """Fetch what the profile of a configuration lacks, and the index.

    A shard appears when its every byte is verified; one that is damaged is fetched again, then
    refused and named. Raises :class:`WorkRemains` when the remote holds nothing of this version,
    or fails in spite of repetition; then what was fetched stays.
    """
    started = time.monotonic()
    store = Store.of(configuration)
    catalog = read_catalog(remote, store.version)
    if catalog is None:
        raise WorkRemains(
            f"{remote.address} holds nothing of version {store.version}: run `brainbrr cache push "
            f"{remote.address} --profile {configuration.profile}` where it is built, or build it "
            f"here with `brainbrr cache build{configuration.options}`"
        )
    store.check_writable()
    outcome = Transfer(remote.address, store.version)
    blob, base = catalog.index, store.version
    adopted = adopt_index(
        store.root,
        blob,
        lambda: b"".join(
            pieces(lambda a, b: _read(remote, f"{base}/{blob.name}", a, b), blob.size, PIECE_BYTES)
        ),
        remote.address,
        force=force,
    )
    outcome.index = adopted.what
    log(f"index: {adopted.what}")
    plan = plan_selection(
        store, configuration.preprocessing, configuration.selection, adopted.index
    )
    needed = shards_to_fetch(plan, catalog)
    outcome.absent = needed.absent
    outcome.skipped = plan.count(State.FRESH)
    check_room(
        store.root,
        sum(blob.size for blob in needed.shards.values()),
        "the transfer needs",
        "make room, choose another BRAINBRR_CACHE_ROOT or a smaller --profile",
    )

    def fetch(job: tuple[str, ShardBlob]) -> tuple[bool, str]:
        return _fetch(remote, store, *job, log=log)

    jobs = list(needed.shards.items())
    with hold(store, "cache pull", create=True):
        for (key, blob_), (moved, error) in run_parallel(
            "pull", jobs, fetch, lambda job: job[1].size, transfers, remote.stopping
        ):
            if error:
                outcome.failed[key] = error
            elif moved:
                outcome.moved += 1
                outcome.verified += 1
                outcome.bytes += blob_.size
            else:
                outcome.skipped += 1
    if outcome.moved:
        flush_folders(store, needed.shards.keys() - outcome.failed.keys())
        link_latest(plan, configuration.preprocessing)
    outcome.seconds = time.monotonic() - started
    return outcome


def _fetch(
    remote: Remote, store: Store, key: str, blob: ShardBlob, log: Callable[[str], None]
) -> tuple[bool, str]:
    """Whether the shard was fetched (or made by another meanwhile), and what was wrong with it."""
    name = f"{store.version}/{blob.name}"
    for number in range(1, FETCHES + 1):
        try:
            read = pieces(
                lambda start, stop: remote.read(name, start, stop), blob.size, PIECE_BYTES
            )
            return receive(store, key, blob, read), ""
        except FileNotFoundError:
            return False, f"{remote.address}/{name} is gone: push it again with --repair"
        except DamagedShard as error:
            if number == FETCHES:
                return False, (
                    f"refused, {remote.address}/{name} is damaged or foreign ({error}): run "
                    "`brainbrr cache push --repair` where the cache is whole"
                )
            log(f"{key}: {error}: fetched again")
    raise AssertionError("unreachable")


def _read(remote: Remote, name: str, start: int, stop: int) -> bytes:
    try:
        return remote.read(name, start, stop)
    except FileNotFoundError:
        raise BrainbrrError(
            f"{remote.address}/{name}, the index, is gone: run `brainbrr cache push "
            "--repair` where the cache is whole"
        ) from None
