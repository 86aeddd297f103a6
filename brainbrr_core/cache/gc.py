"""What nothing selects any more: other versions, orphans, leftovers. Listed first, then removed."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.status import QUARANTINE, folder_bytes
from brainbrr_core.cache.version import is_imported
from brainbrr_core.corpus.index import VANISHED_LIMIT
from brainbrr_core.errors import BrainbrrError


@dataclass(frozen=True)
class Garbage:
    """One thing that can go: a folder or a file, why, and its bytes."""

    path: Path
    why: str
    bytes: int


def find(
    plan: Plan,
    trained_on: Iterable[str] = (),
    drop: Iterable[str] = (),
    *,
    force: bool = False,
) -> list[Garbage]:
    """Everything below the root that nothing selects.

    ``plan`` is that of every recording, in the version that is built. Versions in ``trained_on``
    and imported ones, which cannot be built again, stay unless they are named in ``drop``.
    Raises :class:`BrainbrrError` for a version to drop that is not there or is the plan's own,
    and, unless ``force``, when more than 5 % of the shards are orphans: then an unmounted drive
    is likelier than a smaller corpus.
    """
    store = plan.store
    others = {other.version: other for other in store.other_versions()}
    dropped = set(drop)
    for version in sorted(dropped - others.keys()):
        raise BrainbrrError(
            f"{version} is not another version below {store.root}: there are "
            f"{', '.join(others) or 'none'}"
        )
    kept = {*trained_on, *filter(is_imported, others)} - dropped
    shards = len(store.shard_keys())
    if len(plan.orphans) > VANISHED_LIMIT * shards and not force:
        raise BrainbrrError(
            f"{len(plan.orphans)} of {shards} shards belong to no recording of the index (is the "
            "corpus whole?): nothing was removed; if it is meant, add --force"
        )
    garbage = [
        Garbage(other.folder, "another version", folder_bytes(other.folder))
        for other in others.values()
        if other.version not in kept
    ]
    for key in plan.orphans:
        path = store.shard_path(key)
        garbage.append(Garbage(path, "orphan: no recording of the index", path.stat().st_size))
    for path in sorted(store.folder.rglob(".*.partial")):
        if not _is_locked(path):
            garbage.append(Garbage(path, "left by a killed build", path.stat().st_size))
    quarantine = store.root / QUARANTINE
    if quarantine.is_dir():
        garbage.append(Garbage(quarantine, "damaged shards", folder_bytes(quarantine)))
    return garbage


def remove(garbage: Iterable[Garbage]) -> None:
    """Remove what :func:`find` found; a folder that becomes empty goes too."""
    for item in garbage:
        if item.path.is_dir():
            shutil.rmtree(item.path)
            continue
        item.path.unlink(missing_ok=True)
        folder = item.path.parent
        while not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _is_locked(path: Path) -> bool:
    """Whether a builder is at work on this file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
