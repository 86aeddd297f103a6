"""Verification of a store: every byte of every shard is checked, and damaged shards are moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.shard import SUFFIX, DamagedShard, Shard, UnreadableShard, verify_shard
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.unfinished import exclusive_partial
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import WorkRemains
from brainbrr_core.files.state import combined_hash, content_hash
from brainbrr_core.machine.pools import thread_pool
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.progress import progress


@dataclass(frozen=True)
class Verification:
    """Outcome of a verification; problems are described by partition key.

    Shards in ``damaged`` were moved to quarantine, except those in ``not_moved``, with the reason.
    Shards in ``unreadable`` could not be read and stay in the store. ``changed_sources`` are EDFs
    whose content differs from the index; ``sources`` is the number of EDFs that were hashed, 0
    without a deep check.
    """

    checked: int
    damaged: dict[str, str]
    sources: int
    changed_sources: tuple[str, ...]
    unreadable: dict[str, str] = field(default_factory=dict)
    not_moved: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Finding:
    """Outcome of checking one shard: its damage, or why it could not be read, or neither."""

    damage: str = ""
    unreadable: str = ""
    gone: bool = False


@dataclass(frozen=True)
class Checked:
    """Problems of some shards by partition key; shards of ``not_moved`` are among the damaged."""

    damaged: dict[str, str]
    unreadable: dict[str, str]
    not_moved: dict[str, str]
    checked: int


def verify(store: Store, sources: Iterable[Recording] = ()) -> Verification:
    """Check every byte of every shard of a version, and move damaged shards to quarantine.

    A damaged shard is moved to ``<root>/quarantine``; the plan then reports it as missing, and the
    next build builds it again. A shard that cannot be read (memory, open files, permission, disk)
    is not damaged: it stays, and is reported. The EDFs of ``sources`` are hashed again, which
    finds a file whose content changed while its size and time did not.
    """
    keys = sorted(store.shard_keys())
    recordings = list(sources)
    with (
        hold(store, "cache verify"),
        progress("verify", len(keys) + len(recordings), "files") as bar,
    ):
        checked = check_shards(store, keys, bar.advance)
        changed, unread = [], {}
        # Hashing releases Python's lock, so threads use all cores.
        with _threads_or_a_line(), thread_pool(usable_cores()) as pool:
            for recording, state in zip(recordings, pool.map(_compared, recordings), strict=True):
                if state == _CHANGED:
                    changed.append(recording.partition_key)
                elif state:
                    unread[recording.partition_key] = f"the EDF: {state}"
                bar.advance()
    return Verification(
        checked.checked,
        checked.damaged,
        len(recordings),
        tuple(changed),
        checked.unreadable | unread,
        checked.not_moved,
    )


def check_shards(
    store: Store,
    keys: Sequence[str],
    advance: Callable[[], None] = lambda: None,
    *,
    whose: bool = True,
) -> Checked:
    """Check every byte of some shards, and move damaged ones to quarantine.

    A shard that no longer exists is skipped: another process moved or removed it. With ``whose``,
    a shard with another recording's key counts as damaged.
    """
    result = Checked({}, {}, {}, 0)
    gone = 0
    with _threads_or_a_line(), thread_pool(usable_cores()) as pool:
        for key, finding in zip(
            keys, pool.map(partial(_look, store, whose=whose), keys), strict=True
        ):
            gone += finding.gone
            if finding.damage:
                result.damaged[key] = finding.damage
                try:
                    if not quarantine(store, key):
                        del result.damaged[key]
                except OSError as error:
                    result.not_moved[key] = error.strerror or str(error)
                except UnreadableShard as error:
                    result.not_moved[key] = error.reason
            elif finding.unreadable:
                result.unreadable[key] = finding.unreadable
            advance()
    return replace(result, checked=len(keys) - gone)


@contextmanager
def _threads_or_a_line() -> Iterator[None]:
    """Raise a one-line error if no thread can be started, as under a limit of memory."""
    try:
        yield
    except RuntimeError as error:
        raise WorkRemains(
            f"the check did not come to its end ({error}): raise the limit of memory or of "
            "processes (`ulimit -a`) and run the same command again"
        ) from None


def _look(store: Store, key: str, *, whose: bool = True) -> _Finding:
    path = store.shard_path(key)
    try:
        if whose:
            verify_shard(path, key)
        else:
            Shard(path).verify()
    except FileNotFoundError:
        return _Finding(gone=True)
    except DamagedShard as error:
        return _Finding(damage=str(error))
    except UnreadableShard as error:
        return _Finding(unreadable=error.reason)
    return _Finding()


_CHANGED = "changed"


def _hash_now(recording: Recording) -> str:
    """The present content hash of the files of a recording."""
    return combined_hash(content_hash(Path(path)) for path, _ in recording.file_states)


def _compared(recording: Recording) -> str:
    """What is wrong with an EDF; empty if it has the indexed content or is not on this machine."""
    try:
        is_here = all(Path(path).is_file() for path, _ in recording.file_states)
        same = not is_here or _hash_now(recording) == recording.content_hash
    except OSError as error:
        return error.strerror or str(error)
    except WorkRemains:
        return "it is being written"
    return "" if same else _CHANGED


def quarantine(store: Store, key: str) -> bool:
    """Move a damaged shard to quarantine, which the plan reports until it is built again.

    The shard is checked again under its lock. Returns False if it is whole by then, because a
    builder replaced it, and True if it was moved, even by another process. Raises ``OSError`` if
    it cannot be moved, and :class:`UnreadableShard`.
    """
    path = store.shard_path(key)
    with exclusive_partial(path):
        finding = _look(store, key)
        if finding.unreadable:
            raise UnreadableShard(path, finding.unreadable)
        if finding.damage:
            target = store.quarantine / f"{key}{SUFFIX}"
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        return bool(finding.damage) or finding.gone
