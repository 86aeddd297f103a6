"""One profile's shards and the index in a single ``.tar.zst`` file, written and read as a stream.

Its first member is a catalog. Nothing that the catalog does not promise is read, written or loaded
into memory, so reading a hostile archive ends where it departs from its catalog.
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
from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.shard import DamagedShard
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError, WorkRemains, cannot_write
from brainbrr_core.files.atomic import replacing
from brainbrr_core.progress import progress
from brainbrr_core.remote.address import one_line
from brainbrr_core.transfer.catalog import (
    CATALOG_LIMIT,
    NAME,
    Blob,
    Catalog,
    ShardBlob,
    check_keys,
    parse_catalog,
)
from brainbrr_core.transfer.parallel import run_parallel
from brainbrr_core.transfer.portable_index import adopt_index, make_portable
from brainbrr_core.transfer.pull import shards_to_fetch
from brainbrr_core.transfer.push import shard_blob
from brainbrr_core.transfer.receive import Transfer, check_room_for, flush_folders, receive_shard
from brainbrr_core.transfer.tar_members import Members, RefusedMember

INDEX = "index.parquet"


def export_archive(cache: ProfileCache, path: Path) -> Transfer:
    """Write the index and the shards of a profile to one archive, whole or not at all.

    The same store gives the same bytes. Raises :class:`WorkRemains` if a shard is not fresh, and
    :class:`BrainbrrError` if the archive cannot be written.
    """
    started = time.monotonic()
    _check_target(path)
    with cache.hold("cache export"):
        store = cache.store
        plan = cache.plan()
        if plan.unfit:
            raise WorkRemains(
                f"{len(plan.unfit)} of {len(plan.items)} recordings have no fresh shard in "
                f"{store.root}: run `{cache.build_command}` first"
            )
        keys = (recording.partition_key for recording in plan.index)
        check_keys(keys, f"the index of {store.root}")
        index = make_portable(plan.index)
        catalog = Catalog(store.version, index.blob, _shard_blobs(plan))
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
                    outcome.count(blob.size, moved=True)
                    note = f"{outcome.moved} of {count(len(catalog.shards), 'shard')}"
                    bar.advance(blob.size / 1e6, note)
        except OSError as error:
            raise cannot_write(path, error) from None
    outcome.seconds = time.monotonic() - started
    return outcome


def _check_target(path: Path) -> None:
    """Raise :class:`BrainbrrError` where a file would be replaced that is no archive of a cache."""
    if path.is_dir():
        raise BrainbrrError(
            f"{path} is a folder: name a file in it, such as {path / 'cache.tar.zst'}"
        )
    if path.is_file() and not _has_catalog(path):
        raise BrainbrrError(
            f"{path} exists and is not an archive that `brainbrr cache export` wrote: name another "
            "file, or remove it"
        )


def _has_catalog(path: Path) -> bool:
    """Whether a file begins as every archive of a cache does."""
    try:
        with _Unpacked(path) as stream:
            content = _Archive(path, Members(stream.read)).content(NAME, None)
        parse_catalog(content, None, str(path))
    except (BrainbrrError, RefusedMember, tarfile.TarError, EOFError, pa.ArrowException):
        # Other bytes, compressed or not, another archive, or one that ends within its catalog.
        return False
    return True


def _shard_blobs(plan: Plan) -> dict[str, ShardBlob]:
    """Hash and check every fresh shard; the objects in the order of their partition keys."""
    fresh = [item for item in plan.items if item.state is State.FRESH]
    hashed = run_parallel(
        "hash", fresh, lambda item: shard_blob(plan.store, item), lambda item: item.bytes, 4
    )
    blobs = {item.recording.partition_key: blob for item, blob in hashed}
    return dict(sorted(blobs.items()))


def _member(name: str, size: int) -> tarfile.TarInfo:
    # Owner, time and mode stay at tarfile's defaults, so the same store gives the same bytes.
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_member(name, len(content)), io.BytesIO(content))


def _shard_name(version: str, key: str) -> str:
    return f"{version}/{key}.arrow"


def import_archive(
    cache: ProfileCache,
    path: Path,
    *,
    force: bool = False,
    log: Callable[[str], None] = print,
) -> Transfer:
    """Take the index from an archive, and the shards that a cache lacks of its profile.

    ``force`` replaces the index of another corpus. Raises :class:`BrainbrrError` for an archive of
    another version or corpus, for a damaged one, and for one with a member that its catalog does
    not promise (a path outside the cache, a link, a device, too many bytes), which is named.
    """
    started = time.monotonic()
    try:
        with _Unpacked(path) as stream:
            outcome = _import(_Archive(path, Members(stream.read)), cache, force=force, log=log)
    except RefusedMember as error:
        raise _refused(path, error.name, error.why) from None
    except (tarfile.TarError, EOFError, pa.ArrowException) as error:
        raise _damaged(path, error) from None
    except FileNotFoundError:
        raise BrainbrrError(f"{path} does not exist: check the path of the archive") from None
    outcome.seconds = time.monotonic() - started
    return outcome


def _import(
    archive: _Archive, cache: ProfileCache, *, force: bool, log: Callable[[str], None]
) -> Transfer:
    store, path = cache.store, archive.path
    catalog = parse_catalog(archive.content(NAME, None), None, f"{path}: {NAME}")
    if catalog.version != store.version:
        raise BrainbrrError(
            f"{path} contains version {catalog.version} and the configuration is for "
            f"{store.version}: use the preprocessing settings with which it was built"
        )
    store.check_writable()
    index = archive.content(INDEX, catalog.index)
    adopted = adopt_index(store.root, catalog.index, lambda: index, str(path), force=force)
    log(f"index: {adopted.outcome}")
    plan = cache.plan(adopted.index)
    needed = shards_to_fetch(plan, catalog)
    check_room_for(cache.store, needed.total_bytes)
    outcome = Transfer(
        str(path),
        store.version,
        skipped=plan.count(State.FRESH),
        absent=needed.absent,
        index=adopted.outcome,
    )
    with (
        cache.hold("cache import", create=True),
        progress("import", needed.total_bytes / 1e6, "MB") as bar,
    ):
        for key, blob in catalog.shards.items():
            archive.next_member(_shard_name(store.version, key), blob)
            if key not in needed.shards:
                continue
            try:
                moved = receive_shard(store, key, blob, archive.members.pieces())
            except DamagedShard as error:
                outcome.failed[key] = f"refused: damaged or another file ({error})"
                continue
            outcome.count(blob.size, moved=moved)
            bar.advance(blob.size / 1e6, f"{outcome.moved} of {count(len(needed.shards), 'shard')}")
    archive.check_end()
    if outcome.moved:
        flush_folders(store, needed.shards.keys() - outcome.failed.keys())
        link_latest(plan, cache.preprocessing)
    return outcome


class _Archive:
    """The members of an archive, each of which must be the next one that its catalog promises."""

    def __init__(self, path: Path, members: Members) -> None:
        self.path, self.members = path, members

    def next_member(self, name: str, blob: Blob | None) -> None:
        """Go to the next member, which must have this name, and the size of ``blob``.

        For the catalog itself, whose size is not known before, ``blob`` is None.
        """
        member = self.members.next()
        if member is None:
            raise BrainbrrError(f"{self.path} ends before {name}: copy the archive again")
        if member.name != name:
            raise _refused(self.path, member.name, f"{name} is expected in its place")
        if member.size > CATALOG_LIMIT if blob is None else member.size != blob.size:
            raise _refused(self.path, member.name, f"it has {member.size:,} bytes")

    def content(self, name: str, blob: Blob | None) -> bytes:
        """Read the next member, as for :meth:`next_member`; its size is bounded."""
        self.next_member(name, blob)
        return b"".join(self.members.pieces())

    def check_end(self) -> None:
        """Raise :class:`BrainbrrError` if there is another member."""
        member = self.members.next()
        if member is not None:
            raise _refused(self.path, member.name, "it is not in the catalog of the archive")


def _refused(path: Path, name: str, why: str) -> BrainbrrError:
    return BrainbrrError(
        f"{path} is refused because of its member {name!r} ({why}): only shards that were verified "
        "before it are in the cache; get an archive that `brainbrr cache export` wrote"
    )


def _damaged(path: Path, error: Exception) -> BrainbrrError:
    return BrainbrrError(
        f"{path} is damaged or not a .tar.zst archive ({one_line(error)}): copy it again"
    )


class _Unpacked:
    """The decompressed bytes of an archive, as far as they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] = path.open("rb")
        self._stream = pa.CompressedInputStream(pa.PythonFile(self._file, mode="r"), "zstd")

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes; none at the end."""
        try:
            return bytes(self._stream.read(size))
        except OSError as error:
            raise _damaged(self._path, error) from None

    def __enter__(self) -> _Unpacked:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
