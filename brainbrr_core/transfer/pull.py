"""Pulling: from a remote copy, fetch the shards that the plan finds missing here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from brainbrr_core.cache.build import link_latest
from brainbrr_core.cache.plan import Item, Plan, State
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.shard import DamagedShard
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import is_imported
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.remote.interface import Remote
from brainbrr_core.transfer.catalog import Catalog, ShardBlob
from brainbrr_core.transfer.parallel import TRANSFERS, run_parallel
from brainbrr_core.transfer.portable_index import adopt_index
from brainbrr_core.transfer.receive import Transfer, check_room_for, flush_folders, receive_shard
from brainbrr_core.transfer.remote_copy import RemoteCopy

#: How often an object with wrong bytes is fetched before it is refused.
FETCHES = 3


@dataclass(frozen=True)
class ShardsToFetch:
    """The shards that a cache lacks, by partition key.

    ``shards`` are in the catalog. ``absent`` are not, or cannot be replaced here; each with the
    reason.
    """

    shards: dict[str, ShardBlob]
    absent: dict[str, str]

    @property
    def total_bytes(self) -> int:
        """Total bytes of the shards that can be fetched."""
        return sum(blob.size for blob in self.shards.values())


def shards_to_fetch(plan: Plan, catalog: Catalog) -> ShardsToFetch:
    """Look up the shards that the plan lacks in a catalog."""
    shards: dict[str, ShardBlob] = {}
    absent: dict[str, str] = {}
    imported = is_imported(plan.store.version)
    for item in plan.items:
        key = item.recording.partition_key
        if item.state is State.UNREADABLE:
            absent[key] = f"the shard here could not be read: {item.reason}"
        if not _is_lacking(item, imported=imported):
            continue
        blob = catalog.shards.get(key)
        if blob is None:
            # An imported version need not have every recording.
            if not imported:
                absent[key] = "not pushed yet"
        elif not imported and blob.fingerprint != item.fingerprint:
            absent[key] = "pushed from a different EDF than the one in the index"
        else:
            shards[key] = blob
    return ShardsToFetch(shards, absent)


def _is_lacking(item: Item, *, imported: bool) -> bool:
    if imported:
        return item.state is State.CORRUPT or item.reason == "not imported"
    return item.needs_building


def pull(
    cache: ProfileCache,
    remote: Remote,
    *,
    transfers: int = TRANSFERS,
    force: bool = False,
    log: Callable[[str], None] = print,
) -> Transfer:
    """Fetch the index, and the shards that a cache lacks of its profile.

    A shard enters the store once every byte is verified. A damaged one is fetched again, then
    refused and named in the outcome. ``force`` replaces the index of another corpus. Raises
    :class:`WorkRemains` if nothing of this version was pushed, or if the remote location still
    fails after all retries; what was fetched until then is kept.
    """
    started = time.monotonic()
    store = cache.store
    copy = RemoteCopy(remote, store.version)
    catalog = copy.catalog()
    if catalog is None:
        raise WorkRemains(
            f"{remote.address} has nothing of version {store.version}: run `brainbrr cache push "
            f"{remote.address} --profile {cache.profile}` on the machine that built it, or build "
            f"it here with `{cache.build_command}`"
        )
    store.check_writable()
    outcome = Transfer(remote.address, store.version)
    adopted = adopt_index(
        store.root, catalog.index, lambda: _read_index(copy, catalog), remote.address, force=force
    )
    outcome.index = adopted.outcome
    log(f"index: {adopted.outcome}")
    plan = cache.plan(adopted.index)
    needed = shards_to_fetch(plan, catalog)
    outcome.absent = needed.absent
    outcome.skipped = plan.count(State.FRESH)
    check_room_for(cache.store, needed.total_bytes)

    def fetch(job: tuple[str, ShardBlob]) -> tuple[bool, str]:
        return _fetch(copy, store, *job, log=log)

    jobs = list(needed.shards.items())
    with cache.hold("cache pull", create=True):
        for (key, blob), (moved, error) in run_parallel(
            "pull", jobs, fetch, lambda job: job[1].size, transfers, remote.stopping
        ):
            if error:
                outcome.failed[key] = error
            else:
                outcome.count(blob.size, moved=moved)
    if outcome.moved:
        flush_folders(store, needed.shards.keys() - outcome.failed.keys())
        link_latest(plan, cache.preprocessing)
    outcome.seconds = time.monotonic() - started
    return outcome


def _fetch(
    copy: RemoteCopy, store: Store, key: str, blob: ShardBlob, log: Callable[[str], None]
) -> tuple[bool, str]:
    """Fetch one shard.

    Returns whether it was written (another process may have done so in the meantime), and why it
    was refused, or an empty text.
    """
    for number in range(1, FETCHES + 1):
        try:
            return receive_shard(store, key, blob, copy.pieces(blob)), ""
        except FileNotFoundError:
            return False, (
                f"{copy.address(blob)} does not exist: run `brainbrr cache push --repair` on a "
                "machine with the complete cache"
            )
        except DamagedShard as error:
            if number == FETCHES:
                return False, (
                    f"refused: {copy.address(blob)} is damaged or another file ({error}): run "
                    "`brainbrr cache push --repair` on a machine with the complete cache"
                )
            log(f"{key}: damaged during the transfer ({error}), fetching it again")
    raise AssertionError("unreachable")


def _read_index(copy: RemoteCopy, catalog: Catalog) -> bytes:
    """Fetch the index. Raises :class:`BrainbrrError` if it does not exist."""
    try:
        return b"".join(copy.pieces(catalog.index))
    except FileNotFoundError:
        raise BrainbrrError(
            f"{copy.address(catalog.index)}, the index, does not exist: run `brainbrr cache push "
            "--repair` on a machine with the complete cache"
        ) from None
