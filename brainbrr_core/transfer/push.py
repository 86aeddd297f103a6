"""Pushing: send the index and a profile's fresh shards; objects first, the catalog last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext

from blake3 import blake3

from brainbrr_core.cache.plan import Item, State
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.shard import DamagedShard, verify_shard
from brainbrr_core.cache.store import Store
from brainbrr_core.corpus.index import Index
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.state import content_hash
from brainbrr_core.remote.interface import Remote, RemoteUnavailable
from brainbrr_core.transfer.catalog import Catalog, ShardBlob, check_keys
from brainbrr_core.transfer.parallel import TRANSFERS, run_parallel
from brainbrr_core.transfer.portable_index import (
    PortableIndex,
    check_same_corpus,
    fill_in_hashes,
    make_portable,
    parse_index,
)
from brainbrr_core.transfer.public_access import AGREEMENT, check_private, probe_object
from brainbrr_core.transfer.push_lock import STALE_S, exclusive_push
from brainbrr_core.transfer.receive import Transfer
from brainbrr_core.transfer.remote_copy import RemoteCopy

#: How often to write the catalog while other machines are faster, and to send objects that vanish.
ROUNDS = 20


def push(
    cache: ProfileCache,
    remote: Remote,
    *,
    transfers: int = TRANSFERS,
    force: bool = False,
    repair: bool = False,
    log: Callable[[str], None] = print,
) -> Transfer:
    """Send the index, and the fresh shards of a profile that the remote copy lacks.

    Shards that are not fresh are named in the outcome. ``repair`` reads every object of the
    profile back and replaces damaged ones. Raises :class:`BrainbrrError` for an index that could
    not be pulled, and, unless ``force``, for a bucket that anyone can read and for a remote copy
    of another corpus.
    """
    started = time.monotonic()
    with cache.hold("cache push"):
        log(AGREEMENT)
        plan = cache.plan()
        store = cache.store
        check_keys(
            (recording.partition_key for recording in plan.index), f"the index of {store.root}"
        )
        copy = RemoteCopy(remote, store.version)
        _check_location(copy, force=force, log=log)
        catalog = copy.catalog()
        index = _index_to_send(copy, catalog, plan.index, store, force=force)
        outcome = Transfer(remote.address, store.version)
        fresh = []
        for item in plan.items:
            if item.state is State.FRESH:
                fresh.append(item)
            elif item.state is not State.EXCLUDED:
                outcome.absent[item.recording.partition_key] = f"{item.state} here: {item.reason}"
        if not fresh:
            raise WorkRemains(
                f"profile {cache.profile} has no fresh shard in {store.root}: run "
                f"`{cache.build_command}`"
            )
        pushed = {} if catalog is None else _find_pushed(fresh, catalog)
        outcome.skipped = len(pushed)
        new = [item for item in fresh if item.recording.partition_key not in pushed]
        blobs = _send(copy, store, new, transfers, outcome)
        if repair and catalog is not None:
            copy.put_bytes(index.blob, index.content)
            old = [item for item in fresh if item.recording.partition_key in pushed]
            blobs |= _repair(copy, store, old, pushed, transfers, outcome, log)
        lock = (
            nullcontext(lambda: True)
            if remote.has_conditional_writes
            else exclusive_push(remote, store.version, log)
        )
        with lock as is_still_held:
            outcome.index = _publish(copy, index, blobs, is_still_held)
        log(f"index: {outcome.index}")
        outcome.seconds = time.monotonic() - started
        return outcome


def _check_location(copy: RemoteCopy, *, force: bool, log: Callable[[str], None]) -> None:
    """Find out who can read the remote location, and whether it has conditional writes."""
    remote = copy.remote
    with probe_object(remote, copy.version, log) as probe:
        for remark in check_private(remote, (probe, copy.catalog_name), force=force):
            log(remark)
        remote.try_conditional_writes(probe)
    if not remote.has_conditional_writes:
        log(
            f"{remote.address} has no conditional writes: pushes write its catalog one after the "
            f"other, and the lock of a push that died expires after {STALE_S:.0f} s"
        )


def _index_to_send(
    copy: RemoteCopy, catalog: Catalog | None, index: Index, store: Store, *, force: bool
) -> PortableIndex:
    """The index of this machine, with the content hashes that only the remote one has.

    Raises :class:`BrainbrrError` if the remote index is damaged or, unless ``force``, of another
    corpus.
    """
    portable = make_portable(index)
    if catalog is None or catalog.index == portable.blob:
        return portable
    remote_index = _remote_index(copy, catalog)
    check_same_corpus(remote_index, index, copy.remote.address, store.root, force=force)
    return make_portable(fill_in_hashes(index, remote_index))


def _remote_index(copy: RemoteCopy, catalog: Catalog) -> Index:
    """The index of the remote copy. Raises :class:`BrainbrrError` if it is damaged."""
    try:
        content = b"".join(copy.pieces(catalog.index))
    except FileNotFoundError:
        content = b""
    if blake3(content).hexdigest() != catalog.index.hash:
        address = copy.remote.address
        raise BrainbrrError(
            f"{copy.address(catalog.index)}, the index, is damaged or missing: if the corpus of "
            f"this machine is that of {address}, remove {address}/{copy.catalog_name} and run the "
            "same command again"
        )
    return parse_index(content, copy.remote.address)


def _find_pushed(items: list[Item], catalog: Catalog) -> dict[str, ShardBlob]:
    """Those of the items whose shards are in a catalog, by partition key."""
    pushed = {}
    for item in items:
        blob = catalog.shards.get(item.recording.partition_key)
        if blob is not None and blob.fingerprint == item.fingerprint:
            pushed[item.recording.partition_key] = blob
    return pushed


def shard_blob(store: Store, item: Item) -> ShardBlob:
    """The object that a fresh shard is sent as, its payload checked on the way.

    Raises :class:`WorkRemains` when the shard is damaged or cannot be read.
    """
    key = item.recording.partition_key
    path = store.shard_path(key)
    try:
        verify_shard(path, key, item.fingerprint)
    except (DamagedShard, FileNotFoundError) as error:
        raise WorkRemains(
            f"the shard of {key} is damaged ({error}): run `brainbrr cache verify`, then "
            "`brainbrr cache build`, and try again"
        ) from None
    return ShardBlob(content_hash(path), path.stat().st_size, item.fingerprint)


def _send(
    copy: RemoteCopy, store: Store, items: list[Item], transfers: int, outcome: Transfer
) -> dict[str, ShardBlob]:
    """Send shards as objects, except those that an interrupted push has sent already."""
    blobs: dict[str, ShardBlob] = {}
    if not items:
        return blobs
    sizes = copy.sizes()

    def exists(blob: ShardBlob) -> bool:
        return sizes.get(copy.name(blob)) == blob.size

    def send(item: Item) -> tuple[ShardBlob, bool]:
        blob = shard_blob(store, item)
        if exists(blob):
            return blob, False
        copy.put(blob, store.shard_path(item.recording.partition_key))
        return blob, True

    remaining = items
    for _ in range(ROUNDS):
        for item, (blob, moved) in run_parallel(
            "push", remaining, send, lambda item: item.bytes, transfers, copy.remote.stopping
        ):
            blobs[item.recording.partition_key] = blob
            outcome.count(blob.size, moved=moved)
        # The catalog must not promise an object that was removed in the meantime.
        sizes = copy.sizes()
        remaining = [item for item in items if not exists(blobs[item.recording.partition_key])]
        if not remaining:
            return blobs
    raise RemoteUnavailable(
        f"objects at {copy.remote.address} disappear while they are pushed: find out what else "
        "removes files there, then run the same command again"
    )


def _repair(
    copy: RemoteCopy,
    store: Store,
    items: list[Item],
    pushed: Mapping[str, ShardBlob],
    transfers: int,
    outcome: Transfer,
    log: Callable[[str], None],
) -> dict[str, ShardBlob]:
    """Read objects back, and send those again that are damaged or missing.

    The shard of this machine may differ in its bytes from the one that was pushed (it may be built
    with other library versions); the catalog then names this one.
    """

    def replace(item: Item) -> ShardBlob | None:
        key = item.recording.partition_key
        if copy.is_whole(pushed[key]):
            return None
        log(f"{key}: damaged or missing at {copy.remote.address}, sending it again")
        blob = shard_blob(store, item)
        copy.put(blob, store.shard_path(key))
        return blob

    blobs: dict[str, ShardBlob] = {}
    for item, blob in run_parallel(
        "verify", items, replace, lambda item: item.bytes, transfers, copy.remote.stopping
    ):
        outcome.verified += 1
        if blob is None:
            continue
        blobs[item.recording.partition_key] = blob
        outcome.moved += 1
        outcome.bytes += blob.size
        outcome.skipped -= 1
    return blobs


def _publish(
    copy: RemoteCopy,
    index: PortableIndex,
    blobs: Mapping[str, ShardBlob],
    may_write: Callable[[], bool],
) -> str:
    """Add the index and ``blobs`` to the catalog, even if others do so at the same time.

    Returns whether the index was ``sent`` or is ``unchanged``.
    """
    remote = copy.remote
    for _ in range(ROUNDS):
        document = remote.document(copy.catalog_name)
        current = None if document is None else copy.parse_catalog(document.content)
        is_same_index = current is not None and current.index == index.blob
        if not is_same_index:
            copy.put_bytes(index.blob, index.content)
        shards = {**(current.shards if current is not None else {}), **blobs}
        content = Catalog(copy.version, index.blob, shards).content()
        if document is not None and content == document.content:
            return "unchanged"
        if not may_write():
            raise RemoteUnavailable(
                f"another push to {remote.address} removed the lock of this one, which had not "
                f"renewed it for {STALE_S:.0f} s; every object is stored: run the same command "
                "again"
            )
        if remote.replace(copy.catalog_name, content, document):
            return "unchanged" if is_same_index else "sent"
    raise RemoteUnavailable(
        f"other machines replaced the catalog at {remote.address} {ROUNDS} times before this one "
        "could; every object is stored: run the same command again"
    )
