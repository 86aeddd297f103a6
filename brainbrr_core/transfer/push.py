"""Pushing: the fresh shards of a profile and the index; objects first, the catalog last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from blake3 import blake3

from brainbrr_core.cache.lease import holding
from brainbrr_core.cache.plan import Item, State, plan_profile
from brainbrr_core.cache.shard import DamagedShard, verify_shard
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index import Index
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.remote.connect import put_bytes
from brainbrr_core.remote.interface import ObjectState, Remote, RemoteUnavailable
from brainbrr_core.transfer.catalog import (
    NAME,
    Blob,
    Catalog,
    ShardBlob,
    check_keys,
    parse_catalog,
)
from brainbrr_core.transfer.parallel import TRANSFERS, pieces, run_parallel
from brainbrr_core.transfer.portable_index import (
    PortableIndex,
    check_same_corpus,
    fill_in_hashes,
    make_portable,
    parse_index,
)
from brainbrr_core.transfer.public_access import AGREEMENT, check_private, probe_object
from brainbrr_core.transfer.pull import PIECE_BYTES, read_catalog
from brainbrr_core.transfer.push_lock import STALE_S, pushing_alone
from brainbrr_core.transfer.receive import Transfer, hash_file

#: How often the catalog is tried when other pushers are faster, and objects that vanish.
ROUNDS = 20


@holding("cache push")
def push(
    configuration: Configuration,
    remote: Remote,
    *,
    transfers: int = TRANSFERS,
    force: bool = False,
    repair: bool = False,
    log: Callable[[str], None] = print,
) -> Transfer:
    """Send what the remote lacks of a profile's fresh shards, and the index.

    What is not fresh here is not sent, and named. ``repair`` reads every object of the profile
    back and replaces those that are damaged. Raises :class:`BrainbrrError`, unless ``force``, for
    a bucket that anyone can read or one that holds another corpus, and for an index that could
    not be pulled.
    """
    started = time.monotonic()
    log(AGREEMENT)
    plan = plan_profile(configuration)
    store = plan.store
    check_keys((recording.partition_key for recording in plan.index), f"the index of {store.root}")
    with probe_object(remote, store.version, log) as probe:
        for remark in check_private(remote, (probe, f"{store.version}/{NAME}"), force=force):
            log(remark)
        remote.try_conditional_writes(probe)
    if not remote.has_conditional_writes:
        log(
            f"{remote.address} heeds no condition of a write: pushes write its catalog one "
            f"after the other, and one that died meanwhile is waited for {STALE_S:.0f} s"
        )
    outcome = Transfer(remote.address, store.version)
    held = read_catalog(remote, store.version)
    index = make_portable(plan.index)
    if held is not None and held.index != index.blob:
        there = _remote_index(remote, held)
        check_same_corpus(there, plan.index, remote.address, store.root, force=force)
        index = make_portable(fill_in_hashes(plan.index, there))
    fresh = []
    for item in plan.items:
        key = item.recording.partition_key
        if item.state is State.FRESH:
            fresh.append(item)
        elif item.state is not State.EXCLUDED:
            outcome.absent[key] = f"{item.state} here: {item.reason}"
    if not fresh:
        raise WorkRemains(
            f"nothing of profile {configuration.profile} is fresh in {store.root}: run `brainbrr "
            f"cache build{configuration.options}`"
        )
    known = {} if held is None else held.shards
    todo = [item for item in fresh if not _is_held(item, known)]
    outcome.skipped = len(fresh) - len(todo)
    blobs = _send(remote, store, todo, transfers, outcome)
    if repair and held is not None:
        put_bytes(remote, f"{store.version}/{index.blob.name}", index.content)
        blobs |= _repair(remote, store, held, fresh, transfers, outcome, log)
    if remote.has_conditional_writes:
        outcome.index = _publish(remote, store.version, index, blobs, _always)
    else:
        with pushing_alone(remote, store.version, log) as still_alone:
            outcome.index = _publish(remote, store.version, index, blobs, still_alone)
    log(f"index: {outcome.index}")
    outcome.seconds = time.monotonic() - started
    return outcome


def _always() -> bool:
    """A place that heeds conditions needs no lock."""
    return True


def _is_held(item: Item, shards: Mapping[str, ShardBlob]) -> bool:
    blob = shards.get(item.recording.partition_key)
    return blob is not None and blob.fingerprint == item.fingerprint


def _remote_index(remote: Remote, catalog: Catalog) -> Index:
    """The index that the remote holds. Raises :class:`BrainbrrError` when it is damaged."""
    blob, name = catalog.index, f"{catalog.version}/{catalog.index.name}"
    try:
        content = b"".join(
            pieces(lambda start, stop: remote.read(name, start, stop), blob.size, PIECE_BYTES)
        )
    except FileNotFoundError:
        content = b""
    if blake3(content).hexdigest() != blob.hash:
        raise BrainbrrError(
            f"{remote.address}/{name}, the index, is damaged or gone: if this machine's corpus is "
            f"that of the remote, remove {remote.address}/{catalog.version}/{NAME} and push again"
        )
    return parse_index(content, remote.address)


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
    return ShardBlob(*hash_file(path), item.fingerprint)


def _send(
    remote: Remote, store: Store, items: list[Item], transfers: int, outcome: Transfer
) -> dict[str, ShardBlob]:
    """Send shards as objects; those that a killed push left there are not sent again."""
    blobs: dict[str, ShardBlob] = {}
    if not items:
        return blobs
    there = remote.states(f"{store.version}/objects")

    def send(item: Item) -> tuple[ShardBlob, bool]:
        blob = shard_blob(store, item)
        name = f"{store.version}/{blob.name}"
        if _is_there(there, store, blob):
            return blob, False
        remote.put(name, store.shard_path(item.recording.partition_key))
        return blob, True

    remaining = items
    for _ in range(ROUNDS):
        for item, (blob, moved) in run_parallel(
            "push", remaining, send, lambda item: item.bytes, transfers, remote.stopping
        ):
            blobs[item.recording.partition_key] = blob
            if moved:
                outcome.moved += 1
                outcome.verified += 1
                outcome.bytes += blob.size
            else:
                outcome.skipped += 1
        # The catalog must promise nothing that went away meanwhile.
        there = remote.states(f"{store.version}/objects")
        remaining = [
            item
            for item in items
            if not _is_there(there, store, blobs[item.recording.partition_key])
        ]
        if not remaining:
            return blobs
    raise RemoteUnavailable(
        f"{remote.address} loses objects while they are pushed: look who else writes there, and "
        "run the same command again"
    )


def _name(store: Store, blob: Blob) -> str:
    return f"{store.version}/{blob.name}"


def _publish(
    remote: Remote,
    version: str,
    index: PortableIndex,
    blobs: Mapping[str, ShardBlob],
    may_write: Callable[[], bool],
) -> str:
    """Add ``blobs`` and ``index`` to the catalog, whoever else does so at the same time."""
    name = f"{version}/{NAME}"
    for _ in range(ROUNDS):
        known = remote.document(name)
        shards: dict[str, ShardBlob] = {}
        held_index: Blob | None = None
        if known is not None:
            held = parse_catalog(known.content, version, f"{remote.address}/{name}")
            shards, held_index = dict(held.shards), held.index
        if held_index != index.blob:
            put_bytes(remote, f"{version}/{index.blob.name}", index.content)
        content = Catalog(version, index.blob, {**shards, **blobs}).content()
        if known is not None and content == known.content:
            return "unchanged"
        if not may_write():
            raise RemoteUnavailable(
                f"{remote.address}: another push took this one for dead, which had not been heard "
                f"of for {STALE_S:.0f} s: every object is there; run the same command again"
            )
        if remote.replace(name, content, known):
            return "unchanged" if held_index == index.blob else "sent"
    raise RemoteUnavailable(
        f"{remote.address}: other machines replaced the catalog {ROUNDS} times while this one "
        "tried: every object is there; run the same command again"
    )


def _repair(
    remote: Remote,
    store: Store,
    held: Catalog,
    fresh: list[Item],
    transfers: int,
    outcome: Transfer,
    log: Callable[[str], None],
) -> dict[str, ShardBlob]:
    """Read every held object of the profile back, and send anew what is damaged or gone.

    The shard here need not be the same bytes (other libraries): the catalog then follows it.
    """

    def replaced(item: Item) -> ShardBlob | None:
        key = item.recording.partition_key
        if is_whole(held.shards[key]):
            return None
        log(f"damaged in {remote.address}, sent again: {key}")
        blob = shard_blob(store, item)
        remote.put(_name(store, blob), store.shard_path(key))
        return blob

    def is_whole(blob: ShardBlob) -> bool:
        name, hasher = _name(store, blob), blake3()
        try:
            for piece in pieces(
                lambda start, stop: remote.read(name, start, stop), blob.size, PIECE_BYTES
            ):
                hasher.update(piece)
        except FileNotFoundError:
            return False
        return hasher.hexdigest() == blob.hash

    there = [item for item in fresh if _is_held(item, held.shards)]
    blobs: dict[str, ShardBlob] = {}
    for item, blob in run_parallel(
        "verify", there, replaced, lambda item: item.bytes, transfers, remote.stopping
    ):
        outcome.verified += 1
        if blob is None:
            continue
        blobs[item.recording.partition_key] = blob
        outcome.moved += 1
        outcome.bytes += blob.size
        outcome.skipped -= 1
    return blobs


def _is_there(there: Mapping[str, ObjectState], store: Store, blob: ShardBlob) -> bool:
    state = there.get(_name(store, blob))
    return state is not None and state.size == blob.size
