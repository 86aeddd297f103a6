"""Garbage collection: other versions, orphaned shards and leftovers are listed, then removed.

What a process holds (:mod:`brainbrr_core.cache.lease`), another version that a run was or is
trained on, and what was used since it was listed is not removed, nor is anything that the store did
not write, in the root or in a folder of the store. No link is followed.
"""

from __future__ import annotations

import os
import re
import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from pathlib import Path

from brainbrr_core.cache.lease import holders
from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.shard import SUFFIX
from brainbrr_core.cache.store import (
    LATEST,
    LEASES,
    MANIFESTS,
    MARKER,
    QUARANTINE,
    RECORDS,
    RUNS,
    Store,
    folder_bytes,
    lock_of,
)
from brainbrr_core.cache.unfinished import exclusive_partial, is_partial
from brainbrr_core.cache.version import is_imported, is_version_name, montage_of
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.corpus.same_corpus import is_vanished
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError, not_writable
from brainbrr_core.files.atomic import is_leftover, is_same_file, target_name
from brainbrr_core.locking import locked, open_to_lock

_PROBE = re.compile(r"\.(clock|speed|writable|latest)-[0-9a-f]+|\.writable")


class Kind(StrEnum):
    """Kinds of garbage, which are removed in different ways."""

    VERSION = "version"
    ORPHAN = "orphan"
    PARTIAL = "partial"
    LEFTOVER = "leftover"
    QUARANTINE = "quarantine"
    REMOVAL = "removal"


@dataclass(frozen=True)
class Garbage:
    """A folder or file that can be removed, the reason, and its size in bytes.

    ``last_use`` is the time at which a use of the version last began or ended, in seconds since the
    epoch.
    """

    path: Path
    why: str
    bytes: int
    kind: Kind
    store: Store
    last_use: float = 0.0


@dataclass(frozen=True)
class Kept:
    """Something that is kept although nothing selects it, and the reason."""

    path: Path
    why: str


def find(
    plan: Plan,
    trained_on: Iterable[str] = (),
    drop: Iterable[str] = (),
    *,
    force: bool = False,
) -> list[Garbage]:
    """Find everything below the root that nothing selects and no process holds.

    Versions are ordered by last use. ``plan`` must include every recording, in the version that is
    built. Versions in ``trained_on`` and imported ones, which cannot be built again, are kept
    unless ``drop`` names them. Raises :class:`BrainbrrError` if a version to drop does not exist or
    is the plan's own, and, unless ``force``, if more than 5 % of the shards are orphans: an
    unmounted drive is then more likely than a smaller corpus.
    """
    store = plan.store
    others = {other.version: other for other in store.other_versions()}
    dropped = set(drop)
    for version in sorted(dropped - others.keys()):
        raise BrainbrrError(
            f"{version} is not another version below {store.root}: there are "
            f"{', '.join(others) or 'none'}"
        )
    shards = len(store.shard_keys())
    if is_vanished(len(plan.orphans), shards) and not force:
        raise BrainbrrError(
            f"{len(plan.orphans)} of {shards} shards belong to no recording of the index (is the "
            "corpus whole?): nothing was removed; if it is meant, add --force"
        )
    stays = {item.path for item in kept(plan, trained_on, dropped)}
    unused = [other for other in others.values() if other.folder not in stays]
    return [
        *sorted(map(_version, unused), key=lambda item: item.last_use),
        *(_orphan(store, key) for key in plan.orphans if store.folder not in stays),
        *_leftovers(store),
        *_quarantined(store),
    ]


def kept(plan: Plan, trained_on: Iterable[str] = (), drop: Iterable[str] = ()) -> list[Kept]:
    """What is kept although the plan does not select it, and who uses or used it."""
    trained = dict.fromkeys(trained_on, "a run of the runs folder was or is trained on it")
    items = []
    for other in plan.store.other_versions():
        why = _why_kept(other, trained, dropped=other.version in set(drop))
        if why:
            items.append(Kept(other.folder, f"{why} (last used {_when(other.last_use())})"))
    users = holders(plan.store.folder)
    if plan.orphans and users:
        orphans = count(len(plan.orphans), "orphan")
        items.append(Kept(plan.store.folder, f"{orphans} held by {_listed(users)}"))
    return items


def _why_kept(store: Store, trained: Mapping[str, str], *, dropped: bool) -> str:
    users = holders(store.folder)
    if users:
        return f"held by {_listed(users)}"
    if dropped:
        return ""
    if store.version in trained:
        return trained[store.version]
    runs = store.noted_runs()
    if runs:
        return f"run {_listed(runs)} was or is trained on it"
    return "it was imported and cannot be built again" if is_imported(store.version) else ""


def _listed(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _version(store: Store) -> Garbage:
    used = store.last_use()
    why = f"another version, last used {_when(used)}"
    return Garbage(store.folder, why, folder_bytes(store.folder), Kind.VERSION, store, used)


def _orphan(store: Store, key: str) -> Garbage:
    path = store.shard_path(key)
    why = "orphan: no recording of the index"
    return Garbage(path, why, _size(path), Kind.ORPHAN, store)


def _leftovers(store: Store) -> Iterator[Garbage]:
    """Files that killed processes left in the root and in the version that is built."""
    for path in sorted(_files(store.folder)):
        if is_partial(path.name):
            if not _is_locked(path):
                yield Garbage(path, "left by a killed build", _size(path), Kind.PARTIAL, store)
        elif _is_passing(path) and is_leftover(path):
            yield Garbage(path, "left by a killed process", _size(path), Kind.LEFTOVER, store)
    foreign = set(store.foreign())
    for path in _entries(store.root):
        if path in foreign:
            continue
        if store.removed_version(path) is not None and path.is_dir():
            why = "left by a killed gc"
            yield Garbage(path, why, folder_bytes(path), Kind.REMOVAL, store)
        elif _is_passing(path) and is_leftover(path):
            yield Garbage(path, "left by a killed process", _size(path), Kind.LEFTOVER, store)


def _is_passing(path: Path) -> bool:
    """Whether this is a temporary file, which its process removes itself."""
    return target_name(path) is not None or _PROBE.fullmatch(path.name) is not None


def _quarantined(store: Store) -> Iterator[Garbage]:
    quarantine = store.root / QUARANTINE
    if any(_own_files(quarantine)):
        size = folder_bytes(quarantine)
        yield Garbage(quarantine, "damaged shards", size, Kind.QUARANTINE, store)


def remove(
    garbage: Iterable[Garbage], is_used: Callable[[str], bool] = lambda _version: False
) -> list[Kept]:
    """Remove the results of :func:`find`, each after a second check; return what is kept, and why.

    ``is_used`` tells whether a run was or is trained on a version by now. Folders that become empty
    are removed. Raises :class:`BrainbrrError` if something cannot be removed.
    """
    stayed = []
    for item in garbage:
        try:
            why = _remove(item, is_used)
        except OSError as error:
            raise not_writable(str(item.path), item.store.root, error) from None
        if why:
            stayed.append(Kept(item.path, why))
    return stayed


def _remove(item: Garbage, is_used: Callable[[str], bool]) -> str:
    """Remove one item; return why it is kept, or an empty text."""
    match item.kind:
        case Kind.VERSION:
            return _remove_version(Store(item.store.root, item.path.name), item.last_use, is_used)
        case Kind.ORPHAN:
            return _remove_orphan(item)
        case Kind.PARTIAL:
            return _remove_partial(item)
        case Kind.LEFTOVER:
            if not is_leftover(item.path):
                return "it is in use"
            item.path.unlink(missing_ok=True)
            return ""
        case Kind.QUARANTINE | Kind.REMOVAL:  # pragma: no branch - there is no other kind
            users = holders(item.path)
            return f"held by {_listed(users)}" if users else _remove_own(item.path)


def _remove_version(store: Store, last_use: float, is_used: Callable[[str], bool]) -> str:
    """Rename a version under its lock, so that no process can begin to use it, then remove it."""
    if not store.is_here():
        return "" if not store.folder.exists() else "it is no version of the store"
    aside = store.root / f".removed-{store.version}-{secrets.token_hex(8)}"
    had_marker = store.marker.exists()
    with store.exclusive():
        users = holders(store.folder)
        if users:
            return f"held by {_listed(users)}"
        if is_used(store.version) or (had_marker and store.last_use() != last_use):
            return "it was used since it was listed"
        link = store.root / LATEST
        if link.is_symlink() and link.readlink() == Path(store.version):
            link.unlink(missing_ok=True)
        store.folder.rename(aside)
    # A lease that was taken where the lock is not visible.
    users = holders(aside)
    if users:
        _move_back(aside, store.folder)
        return f"held by {_listed(users)}"
    why = _remove_own(aside)
    if why:
        _move_back(aside, store.folder)
    return why


def _move_back(aside: Path, folder: Path) -> None:
    # A version that was built again meanwhile stays; the rest keeps the name of its version.
    with suppress(OSError):
        aside.rename(folder)


def _remove_orphan(item: Garbage) -> str:
    store, path = item.store, item.path
    key = path.relative_to(store.folder).as_posix().removesuffix(SUFFIX)
    # Sorted by key: a search for each of thousands of orphans instead of a scan.
    recordings = read_index(store.root).recordings
    position = bisect_left(recordings, key, key=attrgetter("partition_key"))
    for recording in recordings[position : position + 1]:
        if recording.partition_key != key:
            continue
        if recording.in_montage(montage_of(store.version)).signal_reason is None:
            return "the index has this recording again"
    with store.exclusive():
        users = holders(store.folder)
        if users:
            return f"held by {_listed(users)}"
        try:
            with exclusive_partial(path, wait=False):
                path.unlink(missing_ok=True)
        except BlockingIOError:
            return "it is being built"
    _remove_empty(path.parent, store.folder)
    return ""


def _remove_partial(item: Garbage) -> str:
    path = item.path
    try:
        with (
            os.fdopen(open_to_lock(path), "rb") as file,
            locked(file.fileno(), path, wait=False),
        ):
            if is_same_file(path, file):
                path.unlink()
    except FileNotFoundError:
        return ""
    except BlockingIOError:
        return "it is being built"
    _remove_empty(path.parent, item.store.folder)
    return ""


def _remove_own(folder: Path) -> str:
    """Remove the store's own files from a folder; return what is left, if anything."""
    marker = folder / MARKER
    for path in [path for path in _own_files(folder) if path != marker] + [marker]:
        path.unlink(missing_ok=True)
    for subfolder, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(subfolder).rmdir()
    others = sorted(_files(folder))
    if not others:
        return ""
    return f"it has {count(len(others), 'file')} that the store did not write, such as {others[0]}"


def _own_files(folder: Path) -> Iterator[Path]:
    """Files that the store wrote into a version, a removed one or the quarantine."""
    quarantine = folder.name == QUARANTINE
    if folder.is_symlink():
        return
    for path in _files(folder):
        relative = path.relative_to(folder)
        if quarantine:
            if is_version_name(relative.parts[0]) and path.suffix == SUFFIX:
                yield path
        elif _is_own_file(relative):
            yield path


def _is_own_file(relative: Path) -> bool:
    """Whether a path relative to a version's folder is that of a file that the store writes."""
    name, within = relative.name, relative.parts[:-1]
    inner = lock_of(name)
    if inner is not None:
        return _is_own_file(relative.with_name(inner))
    replaced = target_name(relative)
    if replaced is not None:
        return _is_own_file(relative.with_name(replaced))
    return (
        relative.suffix == SUFFIX
        or is_partial(name)
        or _PROBE.fullmatch(name) is not None
        or (not within and name in (MARKER, RECORDS, RUNS))
        or (within == (MANIFESTS,) and relative.suffix == ".parquet")
        or (within == (LEASES,) and relative.suffix == ".json")
    )


def _files(folder: Path) -> Iterator[Path]:
    """Files and links below a folder; no link is followed."""
    if folder.is_symlink():
        return
    for subfolder, folders, names in os.walk(folder):
        paths = [Path(subfolder, name) for name in names]
        yield from paths
        # os.walk lists links to folders among the folders.
        yield from (path for name in folders if (path := Path(subfolder, name)).is_symlink())


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder that became empty, and those above it below ``top``."""
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _is_locked(path: Path) -> bool:
    """Whether a builder may be writing this file."""
    try:
        with (
            os.fdopen(open_to_lock(path), "rb") as file,
            locked(file.fileno(), path, wait=False),
        ):
            return False
    except FileNotFoundError:
        return False
    except OSError:
        return True
