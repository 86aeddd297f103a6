"""One profile's shards and the index in one file, ``.tar.zst``: written and read as a stream.

Its first member is a catalog. Nothing that the catalog does not promise is read, written or
held in memory, so a hostile archive ends where it departs from what it said.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pyarrow as pa

from brainbrr_core.cache.build import link_latest
from brainbrr_core.cache.lease import hold, holding
from brainbrr_core.cache.plan import State, plan_profile, plan_selection
from brainbrr_core.cache.shard import DamagedShard
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.room import check_room
from brainbrr_core.progress import progress
from brainbrr_core.remote.address import one_line
from brainbrr_core.transfer.catalog import (
    CATALOG_LIMIT,
    NAME,
    Blob,
    Catalog,
    check_keys,
    parse_catalog,
)
from brainbrr_core.transfer.parallel import run_parallel
from brainbrr_core.transfer.portable_index import adopt_index, make_portable
from brainbrr_core.transfer.pull import shards_to_fetch
from brainbrr_core.transfer.push import shard_blob
from brainbrr_core.transfer.receive import Transfer, flush_folders, receive
from brainbrr_core.transfer.tar_members import Members, RefusedMember

INDEX = "index.parquet"
_HOSTILE = "is refused and nothing of it stays that was not promised and verified"


@holding("cache export")
def export_archive(configuration: Configuration, path: Path) -> Transfer:
    """Write the shards of a profile and the index to one archive, whole or not at all.

    The same store gives the same bytes. Raises :class:`WorkRemains` when a shard is not fresh.
    """
    started = time.monotonic()
    plan = plan_profile(configuration)
    store = plan.store
    if plan.unfit:
        raise WorkRemains(
            f"{len(plan.unfit)} of {len(plan.items)} recordings are not fresh in {store.root}: "
            f"run `brainbrr cache build{configuration.options}` first"
        )
    check_keys((recording.partition_key for recording in plan.index), f"the index of {store.root}")
    index = make_portable(plan.index)
    fresh = [item for item in plan.items if item.state is State.FRESH]
    hashed = run_parallel("hash", fresh, lambda item: shard_blob(store, item), lambda i: i.bytes, 4)
    blobs = {item.recording.partition_key: blob for item, blob in hashed}
    catalog = Catalog(store.version, index.blob, dict(sorted(blobs.items())))
    outcome = Transfer(str(path), store.version, index="written")
    try:
        with (
            replacing(path) as temporary,
            pa.CompressedOutputStream(str(temporary), "zstd") as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
            progress("export", catalog.shard_bytes / 1e6, "MB") as bar,
        ):
            _add(archive, NAME, catalog.content())
            _add(archive, INDEX, index.content)
            for key, blob in catalog.shards.items():
                with store.shard_path(key).open("rb") as file:
                    archive.addfile(_member(_shard_name(store.version, key), blob.size), file)
                outcome.moved += 1
                outcome.verified += 1
                outcome.bytes += blob.size
                bar.advance(blob.size / 1e6, f"{outcome.moved} of {len(blobs)} shards")
    except OSError as error:
        raise BrainbrrError(f"{path} cannot be written: {error.strerror or error}") from None
    outcome.seconds = time.monotonic() - started
    return outcome


def _member(name: str, size: int) -> tarfile.TarInfo:
    # Owner, time and mode stay at tarfile's constants: the same store, the same bytes.
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_member(name, len(content)), io.BytesIO(content))


def _shard_name(version: str, key: str) -> str:
    return f"{version}/{key}.arrow"


def import_archive(
    configuration: Configuration,
    path: Path,
    *,
    force: bool = False,
    log: Callable[[str], None] = print,
) -> Transfer:
    """Take in what an archive holds of a profile and this cache lacks, and its index.

    Raises :class:`BrainbrrError` for an archive of another version or corpus, a damaged one, and
    one that holds anything but what its catalog promises (a member outside its folder, a link,
    a device, more bytes than said): such a member is named.
    """
    started = time.monotonic()
    store = Store.of(configuration)
    try:
        with _Unpacked(path) as stream:
            members = Members(stream.read)
            outcome = _import(members, configuration, store, path, force=force, log=log)
    except RefusedMember as error:
        raise BrainbrrError(f"{path}: {error.name!r} {_HOSTILE}: {error.why}") from None
    except (tarfile.TarError, EOFError, pa.ArrowException) as error:
        raise _damaged(path, error) from None
    except FileNotFoundError:
        raise BrainbrrError(f"{path}: there is no such file") from None
    outcome.seconds = time.monotonic() - started
    return outcome


def _import(
    members: Members,
    configuration: Configuration,
    store: Store,
    path: Path,
    *,
    force: bool,
    log: Callable[[str], None],
) -> Transfer:
    catalog = parse_catalog(_content(members, path, NAME, None), None, f"{path}: {NAME}")
    if catalog.version != store.version:
        raise BrainbrrError(
            f"{path} holds version {catalog.version} and the configuration is for "
            f"{store.version}: use the preprocessing settings it was built with"
        )
    store.check_writable()
    held = _content(members, path, INDEX, catalog.index)
    adopted = adopt_index(store.root, catalog.index, lambda: held, str(path), force=force)
    log(f"index: {adopted.what}")
    plan = plan_selection(
        store, configuration.preprocessing, configuration.selection, adopted.index
    )
    needed = shards_to_fetch(plan, catalog)
    check_room(
        store.root,
        sum(blob.size for blob in needed.shards.values()),
        "the transfer needs",
        "make room, choose another BRAINBRR_CACHE_ROOT or a smaller --profile",
    )
    outcome = Transfer(
        str(path),
        store.version,
        skipped=plan.count(State.FRESH),
        absent=needed.absent,
        index=adopted.what,
    )
    total = sum(blob.size for blob in needed.shards.values()) / 1e6
    with hold(store, "cache import", create=True), progress("import", total, "MB") as bar:
        for key, blob in catalog.shards.items():
            _next(members, path, _shard_name(store.version, key), blob)
            if key not in needed.shards:
                continue
            try:
                moved = receive(store, key, blob, members.pieces())
            except DamagedShard as error:
                outcome.failed[key] = f"refused: damaged or foreign ({error})"
                continue
            outcome.moved += moved
            outcome.verified += moved
            outcome.bytes += blob.size * moved
            outcome.skipped += not moved
            bar.advance(blob.size / 1e6, f"{outcome.moved} of {len(needed.shards)} shards")
    extra = members.next()
    if extra is not None:
        raise BrainbrrError(f"{path}: {extra.name!r} {_HOSTILE}: its catalog does not name it")
    if outcome.moved:
        flush_folders(store, needed.shards.keys() - outcome.failed.keys())
        link_latest(plan, configuration.preprocessing)
    return outcome


def _next(members: Members, path: Path, name: str, blob: Blob | None) -> None:
    """Go on to the next member, which must be this file and of this size."""
    member = members.next()
    if member is None:
        raise BrainbrrError(f"{path} ends before {name}: copy it again")
    if member.name != name:
        raise BrainbrrError(f"{path}: {member.name!r} {_HOSTILE}: {name} must stand there")
    if member.size > CATALOG_LIMIT if blob is None else member.size != blob.size:
        raise BrainbrrError(f"{path}: {member.name!r} {_HOSTILE}: it has {member.size} bytes")


def _content(members: Members, path: Path, name: str, blob: Blob | None) -> bytes:
    """The bytes of the next member, which must be this file; its size is bounded by then."""
    _next(members, path, name, blob)
    return b"".join(members.pieces())


def _damaged(path: Path, error: Exception) -> BrainbrrError:
    return BrainbrrError(f"{path} is damaged or no .tar.zst ({one_line(error)}): copy it again")


class _Unpacked:
    """The decompressed stream: as much of it as is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] = path.open("rb")
        self._stream = pa.CompressedInputStream(pa.PythonFile(self._file, mode="r"), "zstd")

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        try:
            return bytes(self._stream.read(size))
        except OSError as error:
            raise _damaged(self._path, error) from None

    def __enter__(self) -> _Unpacked:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
