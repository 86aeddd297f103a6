"""Whether two scans, or two indexes, are of the same corpus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from brainbrr_core.corpus.layouts.folder import FolderLayout
from brainbrr_core.corpus.layouts.known import detect_layout, fits
from brainbrr_core.corpus.recording import UNREADABLE_NOW, Recording
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError

#: Fraction of the recordings that may vanish, or become unreadable, from one time to the next.
VANISHED_LIMIT = 0.05


def is_vanished(gone: int, before: int) -> bool:
    """Whether so many of ``before`` recordings are ``gone`` that something is wrong."""
    return gone > VANISHED_LIMIT * before


def is_replaced(changed: int, common: int) -> bool:
    """Whether so many of ``common`` recordings have other content that it is another corpus."""
    return common > 1 and changed > common / 2


def layout_now(folder: Path, layout: str, recordings: Iterable[Recording], root: str) -> str:
    """Name of the layout of a corpus whose last index has this ``layout`` and ``recordings``.

    It is that layout if it fits the ``folder``, else the one that is detected. ``root`` is the name
    of the folder in messages.

    Raises :class:`BrainbrrError` where none fits and the folder has other EDFs than the index.
    """
    if not folder.is_dir() or fits(layout, folder):
        return layout
    now = detect_layout(folder)
    if now is not None:
        return now.name
    paths = [(r.partition_key.rpartition("/")[0], r.file_name) for r in recordings]
    has_edfs = next(FolderLayout(folder).recordings(), None) is not None
    if has_edfs and paths and not any((folder / below / name).exists() for below, name in paths):
        raise _other_corpus({r.partition_key: r for r in recordings}, root)
    return layout


def check_vanished(
    before: dict[str, Recording],
    gone: set[str],
    unreadable: Iterable[Recording],
    root: str,
    sizes: Mapping[str, int] | None = None,
) -> None:
    """Raise :class:`BrainbrrError` where too many recordings are gone or cannot be read any more.

    ``before`` are the recordings of the last index by partition key. ``unreadable`` are those that
    cannot be read now, including those that could not be read then. ``sizes`` are those of the EDFs
    that are not gone, as far as they are known: where most differ, it is another corpus.
    """
    unreadable = list(unreadable)
    if not gone and not unreadable:
        return
    if before and len(gone) == len(before):
        raise _other_corpus(before, root)
    readable = {key for key, recording in before.items() if not recording.is_unreadable_now}
    lost = [r for r in unreadable if r.partition_key in readable]
    # A recording that was unreadable before and is gone now counts as gone only.
    if not is_vanished(len(gone), len(before)) and not is_vanished(
        len(gone & readable) + len(lost), len(readable)
    ):
        return
    other = sum(size != before[key].state.size for key, size in (sizes or {}).items())
    if gone and sizes and other > len(sizes) / 2:
        raise _other_corpus(before, root)
    what = [f"{len(gone)} of {len(before)} indexed recordings are gone from {root}"] if gone else []
    if lost:
        why = next(f.detail for f in lost[0].findings if f.code == UNREADABLE_NOW)
        what.append(
            f"{len(lost)} of {len(readable)} indexed recordings cannot be read any more, such as "
            f"{lost[0].path}: {why}"
        )
    raise BrainbrrError(
        f"{'; '.join(what)} (is the drive mounted?): nothing was changed; if this is intended, run "
        "`brainbrr index --force`, which keeps the rows of recordings that cannot be read"
    )


def check_same_corpus(before: dict[str, Recording], after: Iterable[Recording], root: str) -> None:
    """Raise :class:`BrainbrrError` where most recordings have other bytes than in ``before``."""
    common = [(before[r.partition_key], r) for r in after if r.partition_key in before]
    changed = sum(one is not other and not _same_bytes(one, other) for one, other in common)
    if is_replaced(changed, len(common)):
        raise _other_corpus(before, root)


def _same_bytes(before: Recording, after: Recording) -> bool:
    # The hash of a remote EDF is unknown until it is downloaded.
    return before.content_hash == after.content_hash or before.state.is_of_same_file(after.state)


def _other_corpus(before: dict[str, Recording], root: str) -> BrainbrrError:
    return BrainbrrError(
        f"this cache root belongs to another corpus than {root} "
        f"({count(len(before), 'recording')}, such as {min(before)}): set BRAINBRR_CACHE_ROOT to "
        "another folder, or, if the corpus itself "
        "was replaced, run `brainbrr index --force`"
    )
